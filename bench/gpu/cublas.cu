// cuBLAS as a rival, opened at run time: nothing here needs it to compile or to start. LOWRANK_CUBLAS may name the
// library, for example the one that PyTorch brings.

#include <dlfcn.h>

#include <cstdlib>

#include "bench/gpu/bench.cuh"

namespace lowrank::bench {
namespace {

// Of cublas_api.h and library_types.h.
using Handle = void*;
constexpr int NONE = 0, TRANSPOSED = 1, R_32F = 0, R_16BF = 14, COMPUTE_32F = 68, DEFAULT_ALGORITHM = -1;
using Create = int (*)(Handle*);
using SetStream = int (*)(Handle, cudaStream_t);
using SetWorkspace = int (*)(Handle, void*, size_t);
using Gemm = int (*)(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                     const void*, void*, int, int, int, int);

struct Library {
  Library() {
    const char* named = std::getenv("LOWRANK_CUBLAS");
    void* library = nullptr;
    for (const char* name : {named ? named : "libcublas.so", "libcublas.so.13", "libcublas.so.12"})
      if (!library) library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    if (!library) return;
    const auto create = reinterpret_cast<Create>(dlsym(library, "cublasCreate_v2"));
    const auto set_stream = reinterpret_cast<SetStream>(dlsym(library, "cublasSetStream_v2"));
    const auto set_workspace = reinterpret_cast<SetWorkspace>(dlsym(library, "cublasSetWorkspace_v2"));
    if (!create || !set_stream || create(&handle) != 0) return;
    if (set_stream(handle, cuda::stream()) != 0) return;
    constexpr size_t WORKSPACE = size_t(32) << 20;  // what cuBLAS recommends for Hopper
    void* workspace = nullptr;
    if (set_workspace && cudaMalloc(&workspace, WORKSPACE) == cudaSuccess) set_workspace(handle, workspace, WORKSPACE);
    gemm = reinterpret_cast<Gemm>(dlsym(library, "cublasGemmEx"));
  }
  Handle handle = nullptr;
  Gemm gemm = nullptr;
};

const Library& library() {
  static const Library opened;
  return opened;
}

}  // namespace

bool has_cublas() { return library().gemm != nullptr; }

// Column-major, so y^T = w^T x^T.
void cublas_product(View y, View x, View w, bool along_k) {
  const float one = 1, zero = 0;
  const int m = int(y.rows()), n = int(y.cols()), k = int(x.cols());
  const int status =
      library().gemm(library().handle, along_k ? TRANSPOSED : NONE, NONE, n, m, k, &one, w.data, R_16BF,
                     along_k ? k : n, x.data, R_16BF, k, &zero, y.data, R_16BF, n, COMPUTE_32F, DEFAULT_ALGORITHM);
  check(status == 0, Code::Cuda, "cublasGemmEx: status ", status);
}

}  // namespace lowrank::bench
