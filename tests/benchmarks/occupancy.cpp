// Prints the blocks per multiprocessor by NVIDIA's own formula for lines of capability, shared memory of the
// multiprocessor, registers of a thread, warps of a block and shared memory of a block.
#include <climits>
#include <cstddef>
#include <cuda_occupancy.h>
#include <iostream>

int main() {
    int capability, held, registers, warps, shared;
    while (std::cin >> capability >> held >> registers >> warps >> shared) {
        cudaOccDeviceProp device;
        device.computeMajor = capability / 10;
        device.computeMinor = capability % 10;
        device.maxThreadsPerBlock = 1024;
        device.maxThreadsPerMultiprocessor = 2048;
        device.regsPerBlock = device.regsPerMultiprocessor = 65536;
        device.warpSize = 32;
        device.sharedMemPerBlock = 48 * 1024;
        device.sharedMemPerMultiprocessor = held;
        device.sharedMemPerBlockOptin = held - 1024;
        device.reservedSharedMemPerBlock = 1024;
        device.numSms = 1;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = 1024;
        kernel.numRegs = registers;
        kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        kernel.maxDynamicSharedSizeBytes = shared;
        kernel.numBlockBarriers = 1;
        cudaOccDeviceState state;
        cudaOccResult result;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, warps * 32, shared)) return 1;
        std::cout << result.activeBlocksPerMultiprocessor << "\n";
    }
}
