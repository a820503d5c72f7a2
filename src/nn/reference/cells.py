"""Reference values of every cell, computed with PyTorch for the tests of src/nn. Writes cells.json beside this file.

    python3 -m venv .cache/torch-venv
    .cache/torch-venv/bin/pip install torch numpy
    .cache/torch-venv/bin/python src/nn/reference/cells.py

Each entry has its sizes, its `tensors` in the layout of src/nn, `inputs` [steps, rows, inputs], `outputs` [steps, rows,
outputs] from a zero state, and the `gradients` of `sum(outputs * weight)` by the inputs and by every tensor. A value is
`{"shape": [...], "values": [...]}`, row-major. Inputs are multiples of 1/64, which every format represents exactly;
results are computed in float64 and written with nine significant digits.

Where PyTorch has the cell, its own module computes the entry. Otherwise the formula of the paper does, and a second
implementation checks it: a scan, no stabiliser, a convolution, PyTorch's attention, a gate that stays open.
"""

import json
import math
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional

STEPS, ROWS, INPUTS, HIDDEN = 9, 2, 3, 5
WINDOW, KERNEL, DILATION = 4, 3, 2
CONTEXT, HEADS, ROPE_BASE = 4, 4, 10000.0
EPSILON = 1e-5

torch.set_default_dtype(torch.float64)


class Source:
    """Random numbers from a seed: multiples of 1/64."""

    def __init__(self, seed):
        self.generator = numpy.random.default_rng(seed)

    def __call__(self, *shape, scale=0.5, mean=0.0):
        values = numpy.clip(self.generator.normal(mean, scale, shape), -3.9, 3.9)
        return torch.tensor(numpy.round(values * 64) / 64)


def same(left, right):
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def smooth(sums):
    """Rejects sums so close to the kink at zero that rounding could decide the gradient."""
    assert sums.abs().min() > 1e-4, "choose another seed"
    return sums


def relu(sums):
    return torch.relu(smooth(sums))


def parts(tensor, count):
    return tensor.chunk(count, 0)


def reordered(tensor, order):
    """Rows of gates, taken in another order."""
    gates = parts(tensor, max(order) + 1)
    return torch.cat([gates[gate] for gate in order])


# The cells. Each takes the tensors and inputs [steps, rows, inputs], and gives outputs [steps, rows, hidden].


def module(kind, weights, x, **options):
    """Runs a module of torch.nn with weights (input, recurrent, input's bias, recurrent's bias) for each direction."""
    hidden = weights[0][1].shape[1]
    layer = kind(x.shape[2], hidden, **options)
    names = [name for name, _ in layer.named_parameters()]
    flat = [tensor for direction in weights for tensor in direction]
    return torch.func.functional_call(layer, dict(zip(names, flat, strict=True)), (x,))[0]


def elman_weights(t):
    return t["input"], t["recurrent"], t["bias"], torch.zeros_like(t["bias"])


def elman(t, x):
    return module(nn.RNN, [elman_weights(t)], x)


def elman_relu(t, x):
    h, outputs = torch.zeros(ROWS, HIDDEN), []
    for step in x:
        h = relu(step @ t["input"].T + h @ t["recurrent"].T + t["bias"])
        outputs.append(h)
    outputs = torch.stack(outputs)
    same(outputs, module(nn.RNN, [elman_weights(t)], x, nonlinearity="relu"))
    return outputs


def lstm(t, x):
    return module(nn.LSTM, [elman_weights(t)], x)


def gru_weights(t):
    """Ours are n's input part, r, z, n's recurrent part; PyTorch's r, z, n with two biases."""
    n, r, z, c = parts(t["bias"], 4)
    none = torch.zeros_like(n)
    return reordered(t["input"], [1, 2, 0]), t["recurrent"], torch.cat([r, z, n]), torch.cat([none, none, c])


def gru(t, x):
    return module(nn.GRU, [gru_weights(t)], x)


def gru_reset_before(t, x):
    # With the reset gate open it makes no difference where the gate acts.
    r, z, n = parts(t["bias"], 3)
    open_bias = torch.cat([r + 100, z, n])
    weights = t["input"], t["recurrent"], open_bias, torch.zeros_like(open_bias)
    same(reset_before(t | {"bias": open_bias}, x), module(nn.GRU, [weights], x))
    return reset_before(t, x)


def reset_before(t, x):
    h, outputs = torch.zeros(ROWS, HIDDEN), []
    u_r, u_z, u_n = parts(t["recurrent"], 3)
    for step in x:
        r, z, n = (step @ t["input"].T + t["bias"]).chunk(3, 1)
        r, z = torch.sigmoid(r + h @ u_r.T), torch.sigmoid(z + h @ u_z.T)
        n = torch.tanh(n + (r * h) @ u_n.T)
        h = (1 - z) * n + z * h
        outputs.append(h)
    return torch.stack(outputs)


def candidate_of(v):
    return torch.where(smooth(v) >= 0, v + 0.5, torch.sigmoid(v))


def log_candidate_of(v):
    return torch.where(v >= 0, (torch.relu(v) + 0.5).log(), -functional.softplus(-v))


def parallel_scan_log(log_keep, log_added):
    """Feng et al. 2024, appendix B, from a zero state."""
    log_decay = log_keep.cumsum(0)
    return (log_decay + (log_added - log_decay).logcumsumexp(0)).exp()


def sequential(keep, added):
    h, outputs = torch.zeros(ROWS, HIDDEN), []
    for k, a in zip(keep, added, strict=True):
        h = k * h + a
        outputs.append(h)
    return torch.stack(outputs)


def mingru(t, x):
    h, z = (x @ t["input"].T + t["bias"]).chunk(2, 2)
    outputs = sequential(1 - torch.sigmoid(z), torch.sigmoid(z) * candidate_of(h))
    same(outputs, parallel_scan_log(-functional.softplus(z), -functional.softplus(-z) + log_candidate_of(h)))
    return outputs


def minlstm(t, x):
    f, i, h = (x @ t["input"].T + t["bias"]).chunk(3, 2)
    forget, add = torch.sigmoid(f), torch.sigmoid(i)
    outputs = sequential(forget / (forget + add), add / (forget + add) * candidate_of(h))
    difference = functional.softplus(-f) - functional.softplus(-i)
    log_keep, log_add = -functional.softplus(difference), -functional.softplus(-difference)
    same(outputs, parallel_scan_log(log_keep, log_add + log_candidate_of(h)))
    return outputs


def slstm(t, x):
    h = c = n = m = torch.zeros(ROWS, HIDDEN)
    outputs = []
    # The same without the stabiliser, which must not change the output.
    plain_h = plain_c = plain_n = h
    for step in x:
        i, f, z, o = (step @ t["input"].T + h @ t["recurrent"].T + t["bias"]).chunk(4, 1)
        new_m = torch.maximum(f + m, i)
        add, keep = torch.exp(i - new_m), torch.exp(f + m - new_m)
        c, n, m = keep * c + add * torch.tanh(z), keep * n + add, new_m
        h = torch.sigmoid(o) * c / n
        outputs.append(h)
        i, f, z, o = (step @ t["input"].T + plain_h @ t["recurrent"].T + t["bias"]).chunk(4, 1)
        plain_c = f.exp() * plain_c + i.exp() * torch.tanh(z)
        plain_n = f.exp() * plain_n + i.exp()
        plain_h = torch.sigmoid(o) * plain_c / plain_n
        same(h, plain_h)
    return torch.stack(outputs)


def delayed(x, steps):
    """The inputs of so many steps before, zero before the start."""
    return torch.cat([torch.zeros(steps, *x.shape[1:]), x[: len(x) - steps]])


def window(t, x, taps, dilation):
    seen = torch.cat([delayed(x, (taps - 1 - at) * dilation) for at in range(taps)], 2)
    outputs = relu(seen @ t["input"].T + t["bias"])
    # A convolution has [rows, channels, steps] and weights [hidden, inputs, taps].
    padded = functional.pad(x.permute(1, 2, 0), ((taps - 1) * dilation, 0))
    weight = t["input"].view(-1, taps, INPUTS).permute(0, 2, 1)
    convolution = functional.conv1d(padded, weight, t["bias"], dilation=dilation)
    same(outputs, torch.relu(convolution).permute(2, 0, 1))
    return outputs


def feedforward(t, x):
    return window(t, x, WINDOW, 1)


def tcn(t, x):
    return window(t, x, KERNEL, DILATION)


def rotated(heads, positions):
    """Rotary positions (Su et al. 2021), pairs (i, i + size / 2); heads [rows, heads, steps, size]."""
    half = heads.shape[-1] // 2
    angle = positions[:, None] * ROPE_BASE ** (-torch.arange(half) / half)
    first, second = heads[..., :half], heads[..., half:]
    return torch.cat(
        [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1
    )


def attention(t, x):
    hidden = t["bias"].shape[0]
    size = hidden // HEADS
    u = x @ t["input"].T + t["bias"]
    heads = (u @ t["attend"].T).view(STEPS, ROWS, 3, HEADS, size).permute(2, 1, 3, 0, 4)
    positions = torch.arange(STEPS).double()
    q, k, v = rotated(heads[0], positions), rotated(heads[1], positions), heads[2]
    mixed = []
    for step in range(STEPS):
        first = max(0, step - CONTEXT + 1)
        keys, values = k[:, :, first : step + 1], v[:, :, first : step + 1]
        share = torch.softmax((keys @ q[:, :, step, :, None]).squeeze(-1) / math.sqrt(size), -1)
        mixed.append((share[..., None] * values).sum(-2))
    mixed = torch.stack(mixed)
    ago = positions[:, None] - positions[None, :]
    seen = (ago >= 0) & (ago < CONTEXT)
    library = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    same(mixed, library.permute(2, 0, 1, 3))
    a = u + mixed.reshape(STEPS, ROWS, hidden) @ t["mix"].T
    wide = relu(a @ t["expand"].T + t["expand_bias"])
    return a + wide @ t["contract"].T + t["contract_bias"]


def named(t, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in t.items() if name.startswith(prefix)}


def stack(t, x):
    """Two GRU layers: o = norm(h), and from the second on with the layer's input added."""
    for layer in range(2):
        own = named(t, f"layer{layer}.")
        normed = functional.layer_norm(gru(own, x), [HIDDEN], own["norm_scale"], own["norm_shift"], EPSILON)
        x = normed + x if layer > 0 else normed
    return x


def bidirectional(kind, weights):
    def run(t, x):
        directions = [weights(named(t, "forward.")), weights(named(t, "backward."))]
        return module(kind, directions, x, bidirectional=True)

    return run


# What each cell takes.


def gated(draw, inputs, hidden, gates, recurrent_gates=None, bias_gates=None):
    tensors = {"input": draw(gates * hidden, inputs)}
    if recurrent_gates is None:
        recurrent_gates = gates
    if recurrent_gates:
        tensors["recurrent"] = draw(recurrent_gates * hidden, hidden)
    tensors["bias"] = draw((bias_gates or gates) * hidden)
    return tensors


def gru_tensors(draw, inputs=INPUTS):
    return gated(draw, inputs, HIDDEN, 3, bias_gates=4)


def attention_tensors(draw, hidden):
    return {
        "input": draw(hidden, INPUTS),
        "bias": draw(hidden),
        "attend": draw(3 * hidden, hidden),
        "mix": draw(hidden, hidden),
        "expand": draw(2 * hidden, hidden),
        "expand_bias": draw(2 * hidden),
        "contract": draw(hidden, 2 * hidden),
        "contract_bias": draw(hidden),
    }


def stack_tensors(draw):
    tensors = {}
    for layer, inputs in enumerate([INPUTS, HIDDEN]):
        own = gru_tensors(draw, inputs)
        own["norm_scale"] = draw(HIDDEN, mean=1.0)
        own["norm_shift"] = draw(HIDDEN)
        tensors |= {f"layer{layer}.{name}": tensor for name, tensor in own.items()}
    return tensors


def both(make):
    def tensors(draw):
        return {f"{way}.{name}": tensor for way in ("forward", "backward") for name, tensor in make(draw).items()}

    return tensors


def plain(gates, **options):
    return lambda draw: gated(draw, INPUTS, HIDDEN, gates, **options)


ENTRIES = {
    "elman": (elman, plain(1), {}),
    "elman_relu": (elman_relu, plain(1), {}),
    "lstm": (lstm, plain(4), {}),
    "gru": (gru, gru_tensors, {}),
    "gru_reset_before": (gru_reset_before, plain(3), {}),
    "mingru": (mingru, plain(2, recurrent_gates=0), {}),
    "minlstm": (minlstm, plain(3, recurrent_gates=0), {}),
    "slstm": (slstm, plain(4), {}),
    "feedforward": (
        feedforward,
        lambda draw: gated(draw, WINDOW * INPUTS, HIDDEN, 1, recurrent_gates=0),
        {"context": WINDOW},
    ),
    "tcn": (
        tcn,
        lambda draw: gated(draw, KERNEL * INPUTS, HIDDEN, 1, recurrent_gates=0),
        {"kernel": KERNEL, "dilation": DILATION},
    ),
    "attention": (
        attention,
        lambda draw: attention_tensors(draw, 8),
        {"context": CONTEXT, "heads": HEADS, "rope_base": ROPE_BASE, "hidden": 8},
    ),
    # Heads of four units: with two, the two ways to pair units for the rotation are the same.
    "attention_16": (
        attention,
        lambda draw: attention_tensors(draw, 16),
        {"context": CONTEXT, "heads": HEADS, "rope_base": ROPE_BASE, "hidden": 16},
    ),
    "norm_residual_gru": (stack, stack_tensors, {"layers": 2, "epsilon": EPSILON}),
    "bidirectional_gru": (bidirectional(nn.GRU, gru_weights), both(gru_tensors), {}),
    "bidirectional_lstm": (bidirectional(nn.LSTM, elman_weights), both(plain(4)), {}),
}


def written(tensor):
    values = [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]
    return {"shape": list(tensor.shape), "values": [int(value) if value == int(value) else value for value in values]}


def entry(seed, run, make, sizes):
    draw = Source(seed)
    tensors = {name: tensor.requires_grad_() for name, tensor in make(draw).items()}
    x = draw(STEPS, ROWS, INPUTS, scale=1.0).requires_grad_()
    outputs = run(tensors, x)
    weight = draw(*outputs.shape, scale=1.0)
    gradients = torch.autograd.grad((outputs * weight).sum(), [x, *tensors.values()])
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    return {
        "sizes": {"steps": STEPS, "rows": ROWS, "inputs": INPUTS, "hidden": HIDDEN} | sizes,
        "tensors": {name: written(tensor) for name, tensor in tensors.items()},
        "inputs": written(x),
        "outputs": written(outputs),
        "weight": written(weight),
        "gradients": {
            name: written(gradient) for name, gradient in zip(["inputs", *tensors], gradients, strict=True)
        },
    }


def main():
    entries = {name: entry(seed, *parts) for seed, (name, parts) in enumerate(ENTRIES.items(), 1)}
    lines = [f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in entries.items()]
    path = Path(__file__).with_name("cells.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path}: {len(entries)} entries, {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
