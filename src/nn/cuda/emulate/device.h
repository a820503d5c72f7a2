// Just enough of CUDA's language to run sequence.cu on a processor: the threads of a block are fibers of one thread,
// which take turns at `__syncthreads()`. Blocks run one after the other.
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
// Dynamic shared memory is declared within kernels: it is the one of below.
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
