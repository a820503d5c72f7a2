// Runs one kernel of sequence.cu with inputs from standard input and writes its outputs to standard output.
//
// In:  kernel's name (32 bytes); grid, width, groups, bytes of shared memory, number of inputs, of outputs, steps, rows,
//      resident (u32 each); the inputs, each a length in floats (u32) and its floats; the outputs' lengths (u32).
// Out: the outputs' floats. A length of zero is a null pointer. Outputs and shared memory are NaN initially, so a value
// that a kernel does not write shows.

#include "device.h"

#include <cstring>

Dim threadIdx, blockIdx, blockDim, gridDim;
// The most shared memory that a block of any current GPU can have.
float4 shared[228 * 1024 / sizeof(float4)];

#include "../sequence.cu"

namespace {

typedef float* Pointer;

// ---- threads of a block --------------------------------------------------------------------------------------------

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    unsigned barriers = 0;
    bool done = false;
};

std::vector<Fiber> fibers;
ucontext_t scheduler;
Fiber* running = nullptr;
void (*kernel)();

void body() {
    kernel();
    running->done = true;
    swapcontext(&running->context, &scheduler);
}

void fail(const char* what) {
    std::fprintf(stderr, "emulation: %s\n", what);
    std::exit(1);
}

void run_block() {
    for (Fiber& fiber : fibers) {
        fiber.stack.resize(64 * 1024);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        fiber.barriers = 0;
        fiber.done = false;
        makecontext(&fiber.context, body, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (unsigned at = 0; at < fibers.size(); ++at) {
            running = &fibers[at];
            if (running->done) continue;
            threadIdx = {at % blockDim.x, at / blockDim.x};
            swapcontext(&scheduler, &running->context);
            any = any || !running->done;
        }
        for (const Fiber& fiber : fibers)
            if (fiber.done != fibers[0].done || fiber.barriers != fibers[0].barriers)
                fail("the threads of a block do not meet at the same barriers");
    }
}

// ---- the problem ---------------------------------------------------------------------------------------------------

template <class Number>
Number read() {
    Number number;
    if (std::fread(&number, sizeof number, 1, stdin) != 1) fail("the input ends early");
    return number;
}

std::vector<Pointer> pointers;
int steps, rows, resident;

template <class Call>
bool is(const char* name, const char* other, Call* call) {
    if (std::strcmp(name, other) != 0) return false;
    kernel = call;
    return true;
}

const float4* wide(int at) { return reinterpret_cast<const float4*>(pointers[at]); }

#define FORWARD(CALL)                                                                                             \
    is(name, #CALL, +[] {                                                                                         \
        const auto& p = pointers;                                                                                 \
        CALL(p[0], wide(1), p[2], p[3], p[4], p[5], p[6], p[7], steps, rows, resident);                           \
    })
#define BACKWARD(CALL)                                                                                            \
    is(name, #CALL, +[] {                                                                                         \
        const auto& p = pointers;                                                                                 \
        CALL(wide(0), p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], steps, rows, resident); \
    })
#define PAIR(CELL, ROWS) FORWARD(CELL##_forward_##ROWS) || BACKWARD(CELL##_backward_##ROWS)

bool choose(const char* name) {
    return PAIR(gru, 2) || PAIR(gru, 4) || PAIR(gru, 8) || PAIR(gru, 16) || PAIR(lstm, 2) || PAIR(lstm, 4) ||
           PAIR(lstm, 8) || PAIR(lstm, 16);
}

}  // namespace

void __syncthreads() {
    Fiber* const here = running;
    ++here->barriers;
    swapcontext(&here->context, &scheduler);
}

int main() {
    char name[33] = {};
    if (std::fread(name, 1, 32, stdin) != 32) fail("no kernel's name");
    if (!choose(name)) fail("no such kernel");
    gridDim = {read<std::uint32_t>(), 1};
    blockDim.x = read<std::uint32_t>();
    blockDim.y = read<std::uint32_t>();
    const auto bytes = read<std::uint32_t>();
    if (bytes > sizeof shared) fail("more shared memory than a block can have");
    const auto inputs = read<std::uint32_t>(), outputs = read<std::uint32_t>();
    steps = read<std::uint32_t>();
    rows = read<std::uint32_t>();
    resident = read<std::uint32_t>();

    // Buffers of quads have the alignment that they have on a GPU.
    std::vector<std::vector<float4>> buffers;
    std::vector<std::size_t> lengths;
    for (unsigned at = 0; at < inputs + outputs; ++at) {
        const std::size_t length = read<std::uint32_t>();
        buffers.emplace_back((length + 3) / 4, float4{NAN, NAN, NAN, NAN});
        lengths.push_back(length);
        float* const begin = reinterpret_cast<float*>(buffers.back().data());
        if (at < inputs && std::fread(begin, sizeof(float), length, stdin) != length) fail("the input ends early");
    }
    for (auto& buffer : buffers) pointers.push_back(buffer.empty() ? nullptr : reinterpret_cast<float*>(buffer.data()));

    fibers.resize(blockDim.x * blockDim.y);
    for (blockIdx = {0, 0}; blockIdx.x < gridDim.x; ++blockIdx.x) {
        for (float4& quad : shared) quad = {NAN, NAN, NAN, NAN};
        run_block();
        for (std::size_t at = bytes / sizeof(float4) + 1; at < sizeof shared / sizeof(float4); ++at)
            if (shared[at].x == shared[at].x) fail("a kernel wrote beyond its shared memory");
    }
    for (unsigned at = inputs; at < inputs + outputs; ++at) std::fwrite(pointers[at], sizeof(float), lengths[at], stdout);
}
