// A layer's whole sequence in one launch, forward and backward, for GRU and LSTM.
//
// Rows are independent, so a block runs a tile of rows through all time steps. A thread owns one unit of ROWS of the
// rows: it reads each of its unit's weights once for all its rows. Vectors that threads exchange (the previous outputs,
// the gradients by the gates' sums) are in shared memory, and so are the first `resident` quads of recurrent weights;
// the other weights stream from L2 at every step. Each output is one chain of fused multiply-adds in a fixed order, so
// the results of a row depend neither on the tile nor on the resident weights.
//
// `width` = blockDim.x is the number of units padded to a multiple of 16; padded units have zero weights and stay zero.
// src/nn/cells/gru.rs and src/nn/cells/lstm.rs document the formulas and the order of the gates.
// `scripts/build-ptx` compiles this file to sequence.ptx; src/nn/cuda/emulate runs it on a CPU.

const int GATES = 4;

// ---- the gates -----------------------------------------------------------------------------------------------------

// The rational approximation of Eigen and XLA, as on the CPU (src/nn/kernel/activation.rs). NaN stays NaN.
__device__ __forceinline__ float tanh_of(float value) {
    const float saturated = 7.905311f;
    value = value > saturated ? saturated : value < -saturated ? -saturated : value;
    const float square = value * value;
    float above = -2.7607685e-16f;
    above = fmaf(above, square, 2.000188e-13f);
    above = fmaf(above, square, -8.604672e-11f);
    above = fmaf(above, square, 5.1222971e-8f);
    above = fmaf(above, square, 1.4857224e-5f);
    above = fmaf(above, square, 6.3726193e-4f);
    above = fmaf(above, square, 4.8935246e-3f);
    float below = 1.1982584e-6f;
    below = fmaf(below, square, 1.1853471e-4f);
    below = fmaf(below, square, 2.2684346e-3f);
    below = fmaf(below, square, 4.893525e-3f);
    return __fdividef(value * above, below);
}

__device__ __forceinline__ float sigmoid_of(float value) { return fmaf(0.5f, tanh_of(0.5f * value), 0.5f); }
__device__ __forceinline__ float tanh_slope(float value) { return 1.0f - value * value; }
__device__ __forceinline__ float sigmoid_slope(float value) { return value * (1.0f - value); }

// The state of one unit of one row, or its gradient. `memory` is the cell state of an LSTM; a GRU has none.
struct State {
    float output;
    float memory;
};

// Gates: candidate's input part, reset, update, candidate's recurrent part.
struct Gru {
    static const int INPUT = 3;            // gates 0..3 read the inputs
    static const int RECURRENT = 3;        // gates 1..4 read the previous outputs
    static const int FIRST_RECURRENT = 1;
    static const bool HAS_MEMORY = false;

    // Replaces the gates' sums by what `reverse` needs; returns the state after the step.
    static __device__ __forceinline__ State combine(float (&gate)[GATES], State before) {
        gate[1] = sigmoid_of(gate[1]);
        gate[2] = sigmoid_of(gate[2]);
        gate[0] = tanh_of(fmaf(gate[1], gate[3], gate[0]));
        return {fmaf(gate[2], before.output - gate[0], gate[0]), 0.0f};
    }

    // Replaces what `combine` saved by the gradients by the gates' sums; returns the gradient by the state before the
    // step, without the part that passes through the gates.
    static __device__ __forceinline__ State reverse(float (&gate)[GATES], State before, float, State gradient) {
        const float candidate = gate[0], reset = gate[1], update = gate[2], part = gate[3];
        gate[0] = gradient.output * (1.0f - update) * tanh_slope(candidate);
        gate[1] = gate[0] * part * sigmoid_slope(reset);
        gate[2] = gradient.output * (before.output - candidate) * sigmoid_slope(update);
        gate[3] = gate[0] * reset;
        return {gradient.output * update, 0.0f};
    }
};

// Gates: input, forget, candidate, output.
struct Lstm {
    static const int INPUT = 4;
    static const int RECURRENT = 4;
    static const int FIRST_RECURRENT = 0;
    static const bool HAS_MEMORY = true;

    static __device__ __forceinline__ State combine(float (&gate)[GATES], State before) {
        gate[0] = sigmoid_of(gate[0]);
        gate[1] = sigmoid_of(gate[1]);
        gate[2] = tanh_of(gate[2]);
        gate[3] = sigmoid_of(gate[3]);
        const float memory = fmaf(gate[1], before.memory, gate[0] * gate[2]);
        return {gate[3] * tanh_of(memory), memory};
    }

    static __device__ __forceinline__ State reverse(float (&gate)[GATES], State before, float memory_after,
                                                    State gradient) {
        const float input = gate[0], forget = gate[1], candidate = gate[2], open = gate[3];
        const float squashed = tanh_of(memory_after);
        const float by_memory = fmaf(gradient.output * open, tanh_slope(squashed), gradient.memory);
        gate[0] = by_memory * candidate * sigmoid_slope(input);
        gate[1] = by_memory * before.memory * sigmoid_slope(forget);
        gate[2] = by_memory * input * tanh_slope(candidate);
        gate[3] = gradient.output * squashed * sigmoid_slope(open);
        return {0.0f, by_memory * forget};
    }
};

// ---- the tile ------------------------------------------------------------------------------------------------------

typedef unsigned long long Index;

// The place of a thread: its unit and its rows.
template <int ROWS>
struct Place {
    int width, unit, in_tile, tile;  // `in_tile`: the first of its rows within the block's tile
    Index first, rows;               // `first`: the same among all rows

    __device__ __forceinline__ explicit Place(int rows)
        : width(blockDim.x), unit(threadIdx.x), in_tile(threadIdx.y * ROWS), tile(blockDim.y * ROWS),
          first((Index)blockIdx.x * tile + in_tile), rows(rows) {}

    // The last tile may extend beyond the rows.
    __device__ __forceinline__ bool live(int row) const { return first + row < rows; }

    // Index of the first row's first vector in `[step][row][vector][unit]`.
    __device__ __forceinline__ Index at(Index step, int vectors) const {
        return (step * rows + first) * vectors * width + unit;
    }

    // Whether a row is reset before a step; `starts` `[step][row]` is 1 where it is, or null.
    __device__ __forceinline__ bool begins(const float* starts, Index step, int row) const {
        return starts != nullptr && starts[step * rows + first + row] != 0.0f;
    }
};

// Reads or writes a unit's values one vector after the other. (Offsets from the beginning need more registers than
// there are, because the compiler keeps all of them over the steps.)
struct Reader {
    const float* at;
    int width;
    __device__ __forceinline__ float take(bool live) {
        const float value = live ? *at : 0.0f;
        at += width;
        return value;
    }
};

struct Writer {
    float* at;
    int width;
    __device__ __forceinline__ void put(bool live, float value) {
        if (live) *at = value;
        at += width;
    }
};

// sums[chain][row] += the chain's weights times the row's vector. Four neighbouring inputs of a chain form a quad:
// `weights` is `[quad][chain][unit]`. A row's vector has `quads` quads, a multiple of four; `stride` is between rows.
template <int CHAINS, int ROWS>
__device__ __forceinline__ void multiply(const float4* __restrict__ weights, int width, int quads,
                                         const float4* vectors, int stride, float (&sums)[CHAINS][ROWS]) {
    // Weights that stream from L2 must be loaded early; there are no registers for more than this.
    const int TOGETHER = CHAINS == 1 && ROWS > 4 ? 4 : 2;
#pragma unroll 1
    for (int begin = 0; begin < quads; begin += TOGETHER) {
#pragma unroll
        for (int quad = begin; quad < begin + TOGETHER; ++quad) {
            float4 weight[CHAINS];
#pragma unroll
            for (int chain = 0; chain < CHAINS; ++chain) weight[chain] = weights[(quad * CHAINS + chain) * width];
#pragma unroll
            for (int row = 0; row < ROWS; ++row) {
                const float4 value = vectors[row * stride + quad];
#pragma unroll
                for (int chain = 0; chain < CHAINS; ++chain) {
                    float sum = sums[chain][row];
                    sum = fmaf(weight[chain].x, value.x, sum);
                    sum = fmaf(weight[chain].y, value.y, sum);
                    sum = fmaf(weight[chain].z, value.z, sum);
                    sums[chain][row] = fmaf(weight[chain].w, value.w, sum);
                }
            }
        }
    }
}

// First the resident weights, then the rest.
template <int CHAINS, int ROWS>
__device__ __forceinline__ void product(const Place<ROWS>& place, const float4* shared, const float4* weights,
                                        int resident, int quads, const float* vectors, float (&sums)[CHAINS][ROWS]) {
    const float4* vector = reinterpret_cast<const float4*>(vectors) + place.in_tile * quads;
    multiply(shared + place.unit, place.width, resident, vector, quads, sums);
    const int next = resident * CHAINS * place.width;
    multiply(weights + next + place.unit, place.width, quads - resident, vector + resident, quads, sums);
}

__device__ __forceinline__ void keep_resident(float4* shared, const float4* weights, int count) {
    const int threads = blockDim.x * blockDim.y;
    for (int at = threadIdx.y * blockDim.x + threadIdx.x; at < count; at += threads) shared[at] = weights[at];
}

// With up to this many rows a thread has registers to load a step's values before the product, which hides latency.
const int EARLY_ROWS = 8;

// ---- forward -------------------------------------------------------------------------------------------------------

// projected [step][row][input gate][unit], the inputs' part of the sums; weights [quad of previous units][recurrent
// gate][unit][4]; bias [gate][unit]; first [row][vector of state][unit]; starts [step][row] or null.
// Writes outputs and memory (LSTM) [step][row][unit], gates [step][row][gate][unit].
template <class Cell, int ROWS>
__device__ __forceinline__ void forward(const float* __restrict__ projected, const float4* __restrict__ weights,
                                        const float* __restrict__ bias, const float* __restrict__ first,
                                        const float* __restrict__ starts, float* __restrict__ outputs,
                                        float* __restrict__ memories, float* __restrict__ gates, int steps, int rows,
                                        int resident) {
    extern __shared__ float4 shared[];
    const Place<ROWS> place(rows);
    const int quads = place.width / 4, vectors = Cell::HAS_MEMORY ? 2 : 1;
    keep_resident(shared, weights, resident * Cell::RECURRENT * place.width);
    float* now = reinterpret_cast<float*>(shared + resident * Cell::RECURRENT * place.width);
    float* next = now + place.tile * place.width;

    const int own = place.in_tile * place.width + place.unit;
    float always[GATES], memory[ROWS];
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) always[gate] = bias[gate * place.width + place.unit];
    Reader states = {first + place.at(0, vectors), place.width};
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
        const bool from = place.live(row) && !place.begins(starts, 0, row);
        now[own + row * place.width] = states.take(from);
        memory[row] = Cell::HAS_MEMORY ? states.take(from) : 0.0f;
    }
    __syncthreads();

    for (int step = 0; step < steps; ++step) {
        float input[Cell::INPUT][ROWS], sums[Cell::RECURRENT][ROWS] = {};
        Reader inputs = {projected + place.at(step, Cell::INPUT), place.width};
        const auto load = [&](int row) {
#pragma unroll
            for (int gate = 0; gate < Cell::INPUT; ++gate) input[gate][row] = inputs.take(place.live(row));
        };
        if (ROWS <= EARLY_ROWS) {
#pragma unroll
            for (int row = 0; row < ROWS; ++row) load(row);
        }
        product<Cell::RECURRENT, ROWS>(place, shared, weights, resident, quads, now, sums);
        Writer to_outputs = {outputs + place.at(step, 1), place.width};
        Writer to_memories = {Cell::HAS_MEMORY ? memories + place.at(step, 1) : nullptr, place.width};
        Writer to_gates = {gates + place.at(step, GATES), place.width};
        int here = own;
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (ROWS > EARLY_ROWS) load(row);
            const bool live = place.live(row);
            float gate[GATES];
#pragma unroll
            for (int index = 0; index < GATES; ++index) {
                const int recurrent = index - Cell::FIRST_RECURRENT;
                gate[index] = always[index];
                if (index < Cell::INPUT) gate[index] += input[index < Cell::INPUT ? index : 0][row];
                if (recurrent >= 0) gate[index] += sums[recurrent >= 0 ? recurrent : 0][row];
            }
            const State after = Cell::combine(gate, {now[here], memory[row]});
            to_outputs.put(live, after.output);
            if (Cell::HAS_MEMORY) to_memories.put(live, after.memory);
#pragma unroll
            for (int index = 0; index < GATES; ++index) to_gates.put(live, gate[index]);
            const bool anew = live && step + 1 < steps && place.begins(starts, step + 1, row);
            next[here] = anew ? 0.0f : after.output;
            memory[row] = anew ? 0.0f : after.memory;
            here += place.width;
        }
        __syncthreads();
        float* const last = now;
        now = next;
        next = last;
    }
}

// ---- backward ------------------------------------------------------------------------------------------------------

// weights [quad of recurrent gates' units][previous unit][4]; gates, outputs, memories of `forward`; gradient
// [step][row][unit] by the outputs. Writes the gradients by the sums of the input gates and of the recurrent gates
// [step][row][gate][unit] (for an LSTM they are the same, and only the first is written), the outputs before each step
// [step][row][unit], the gradient by the first states [row][vector][unit], and the gradient by the bias in parts
// [block][thread.y][gate][unit] that the caller adds up.
template <class Cell, int ROWS>
__device__ __forceinline__ void backward(const float4* __restrict__ weights, const float* __restrict__ gates,
                                         const float* __restrict__ outputs, const float* __restrict__ memories,
                                         const float* __restrict__ first, const float* __restrict__ starts,
                                         const float* __restrict__ gradient, float* __restrict__ by_input,
                                         float* __restrict__ by_recurrent, float* __restrict__ outputs_before,
                                         float* __restrict__ by_first, float* __restrict__ by_bias, int steps, int rows,
                                         int resident) {
    extern __shared__ float4 shared[];
    const Place<ROWS> place(rows);
    const bool SEPARATE = Cell::FIRST_RECURRENT > 0;
    const int length = Cell::RECURRENT * place.width, vectors = Cell::HAS_MEMORY ? 2 : 1;
    keep_resident(shared, weights, resident * place.width);
    float* exchanged = reinterpret_cast<float*>(shared + resident * place.width);

    struct Kept {
        float gate[GATES], memory_after, gradient;
        State before;
        bool anew;
    };
    Kept kept[ROWS];
    struct Readers {
        Reader gates, gradient, memories, outputs_before, memories_before;
    };
    const auto readers = [&](int step) {
        const bool begun = step > 0;
        const float* const first_memories = first + place.at(0, vectors) + place.width;
        const int stride = begun ? place.width : vectors * place.width;
        Readers from;
        from.gates = {gates + place.at(step, GATES), place.width};
        from.gradient = {gradient + place.at(step, 1), place.width};
        from.outputs_before = {begun ? outputs + place.at(step - 1, 1) : first + place.at(0, vectors), stride};
        if (Cell::HAS_MEMORY) {
            from.memories = {memories + place.at(step, 1), place.width};
            from.memories_before = {begun ? memories + place.at(step - 1, 1) : first_memories, stride};
        }
        return from;
    };
    const auto load = [&](Readers& from, int step, int row) {
        const bool live = place.live(row);
        const bool anew = live && place.begins(starts, step, row), goes_on = live && !anew;
        kept[row].anew = anew;
#pragma unroll
        for (int gate = 0; gate < GATES; ++gate) kept[row].gate[gate] = from.gates.take(live);
        kept[row].gradient = from.gradient.take(live);
        kept[row].memory_after = Cell::HAS_MEMORY ? from.memories.take(live) : 0.0f;
        kept[row].before.output = from.outputs_before.take(goes_on);
        kept[row].before.memory = Cell::HAS_MEMORY ? from.memories_before.take(goes_on) : 0.0f;
    };
    const auto load_early = [&](int step) {
        Readers from = readers(step);
#pragma unroll
        for (int row = 0; row < ROWS; ++row) load(from, step, row);
    };
    State carried[ROWS] = {};
    float bias[GATES] = {};
    if (ROWS <= EARLY_ROWS) load_early(steps - 1);

    for (int step = steps - 1; step >= 0; --step) {
        unsigned anew = 0;
        Readers from = readers(step);
        Writer to_input = {by_input + place.at(step, Cell::INPUT), place.width};
        Writer to_recurrent = {SEPARATE ? by_recurrent + place.at(step, Cell::RECURRENT) : nullptr, place.width};
        Writer to_before = {outputs_before + place.at(step, 1), place.width};
        Writer to_exchanged = {exchanged + place.in_tile * length + place.unit, place.width};
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (ROWS > EARLY_ROWS) load(from, step, row);
            const bool live = place.live(row);
            Kept& now = kept[row];
            carried[row].output += now.gradient;
            carried[row] = Cell::reverse(now.gate, now.before, now.memory_after, carried[row]);
#pragma unroll
            for (int gate = 0; gate < GATES; ++gate) {
                bias[gate] += now.gate[gate];
                if (gate < Cell::INPUT) to_input.put(live, now.gate[gate]);
                if (gate >= Cell::FIRST_RECURRENT) to_exchanged.put(true, now.gate[gate]);
                if (gate >= Cell::FIRST_RECURRENT && SEPARATE) to_recurrent.put(live, now.gate[gate]);
            }
            to_before.put(live, now.before.output);
            // A row that is reset here passes no gradient on.
            if (now.anew) anew |= 1u << row;
        }
        if (ROWS <= EARLY_ROWS && step > 0) load_early(step - 1);
        __syncthreads();
        float through[1][ROWS] = {};
        product<1, ROWS>(place, shared, weights, resident, length / 4, exchanged, through);
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            carried[row].output += through[0][row];
            if (anew >> row & 1u) carried[row] = {0.0f, 0.0f};
        }
        // Slower threads may still read what the next step overwrites.
        __syncthreads();
    }

    Writer to_first = {by_first + place.at(0, vectors), place.width};
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
        to_first.put(place.live(row), carried[row].output);
        if (Cell::HAS_MEMORY) to_first.put(place.live(row), carried[row].memory);
    }
    const Index part = (Index)blockIdx.x * blockDim.y + threadIdx.y;
#pragma unroll
    for (int gate = 0; gate < GATES; ++gate) by_bias[(part * GATES + gate) * place.width + place.unit] = bias[gate];
}

// ---- the kernels: gru_forward_8 has eight rows per thread -----------------------------------------------------------

#define KERNELS(NAME, CELL, ROWS, THREADS)                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) NAME##_forward_##ROWS(                                   \
        const float* projected, const float4* weights, const float* bias, const float* first, const float* starts,    \
        float* outputs, float* memories, float* gates, int steps, int rows, int resident) {                           \
        forward<CELL, ROWS>(projected, weights, bias, first, starts, outputs, memories, gates, steps, rows, resident); \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) NAME##_backward_##ROWS(                                  \
        const float4* weights, const float* gates, const float* outputs, const float* memories, const float* first,   \
        const float* starts, const float* gradient, float* by_input, float* by_recurrent, float* outputs_before,      \
        float* by_first, float* by_bias, int steps, int rows, int resident) {                                         \
        backward<CELL, ROWS>(weights, gates, outputs, memories, first, starts, gradient, by_input, by_recurrent,      \
                             outputs_before, by_first, by_bias, steps, rows, resident);                               \
    }

// src/nn/cuda/tile.rs lists the same rows and threads.
KERNELS(gru, Gru, 2, 512)
KERNELS(gru, Gru, 4, 512)
KERNELS(gru, Gru, 8, 256)
KERNELS(gru, Gru, 16, 256)
KERNELS(lstm, Lstm, 2, 512)
KERNELS(lstm, Lstm, 4, 512)
KERNELS(lstm, Lstm, 8, 256)
KERNELS(lstm, Lstm, 16, 256)
