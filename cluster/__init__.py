"""Run a stage's command in many processes, with torchrun or as a SLURM job; knows nothing about what it runs."""
