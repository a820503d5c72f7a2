// The part of CUDA's language that runs sequence.cu on a CPU. The threads of a block are fibers of one thread, which
// switch at `__syncthreads()`. Blocks run one after the other.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
// Kernels declare dynamic shared memory; it is the array of main.cpp.
#define __shared__

struct alignas(16) float4 {
    float x, y, z, w;
};
struct Dim {
    unsigned x, y;
};

extern float4 shared[];
extern Dim threadIdx, blockIdx, blockDim, gridDim;

inline float __fdividef(float above, float below) { return above / below; }
void __syncthreads();
