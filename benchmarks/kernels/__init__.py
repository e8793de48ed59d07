"""Resources and compile times of the GPU kernels, without a GPU."""
