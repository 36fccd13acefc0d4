#pragma once
// Every instruction that C++ has no word for, one function each, by kind. In fragment layouts, g = lane / 4 and
// t = lane % 4. A shared address is 32 bits wide, made by shared_address().

#include "cuda/ptx/barrier.cuh"
#include "cuda/ptx/copy.cuh"
#include "cuda/ptx/matrix.cuh"
#include "cuda/ptx/tma.cuh"
#include "cuda/ptx/warp.cuh"
#include "cuda/ptx/wgmma.cuh"
