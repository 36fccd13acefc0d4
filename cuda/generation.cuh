#pragma once
// What the kernels of the including file were compiled for, as the GPU at hand runs them.

#include "cuda/launch.cuh"
#include "cuda/ptx/base.cuh"

namespace lowrank::cuda {
namespace {

__global__ void write_generation(int* to) { *to = ptx::generation(); }

// ptx::generation() of this file's code on the current device. The stream is waited for.
int generation_on(cudaStream_t stream) {
  int* memory = nullptr;
  int found = 0;
  check_cuda(cudaMalloc(&memory, sizeof found), "cudaMalloc");
  launch_on(stream, write_generation, {dim3(1), dim3(1)}, memory);
  const cudaError_t error = cudaMemcpyAsync(&found, memory, sizeof found, cudaMemcpyDeviceToHost, stream);
  const cudaError_t waited = cudaStreamSynchronize(stream);
  cudaFree(memory);
  check_cuda(error, "cudaMemcpyAsync");
  check_cuda(waited, "cudaStreamSynchronize");
  return found;
}

}  // namespace
}  // namespace lowrank::cuda
