// What the conformance cases themselves were compiled for.

#include "cuda/conformance/case.cuh"
#include "cuda/generation.cuh"

namespace lowrank::conformance {
namespace {

__global__ void all_threads(int* y) { y[threadIdx.x] = ptx::generation(); }

// The same in every thread, never newer than the device, and sm_90a on none but 9.0.
void generation_of_the_code() {
  const int found = code_generation(cuda::stream()), capability = cuda::properties().capability;
  const DeviceArray<int> y(32);
  cuda::launch(all_threads, 1, 32, y.data());
  expect_near("generation", y.read(), std::vector<int>(32, found));
  check(found >= 80 && (found == 909 ? capability == 90 : found <= capability), Code::Cuda, "code of generation ",
        found, " on a device of capability ", capability);
}

}  // namespace

int code_generation(cudaStream_t stream) { return cuda::generation_on(stream); }

Cases generation_cases() { return {{"generation_of_the_code", 80, generation_of_the_code}}; }

}  // namespace lowrank::conformance
