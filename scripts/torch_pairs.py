"""Foretide and PyTorch take turns: called by scripts/bench-torch, which says what for.

    torch_pairs.py --ours BENCH [--rounds N] [--json] [NAME...]

BENCH is the built `benches/serving.rs`. In a round each pair has its turn: first ours (`BENCH --json NAME`, a process of
its own), then PyTorch's here; what disturbs the machine disturbs both. The figures are million steps per second, medians
over the rounds, and `ratio` is the ratio of the medians. One thread each.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

HIDDEN, INPUTS, HORIZON = 64, 8, 24
TURNS, TURN = 40, 0.025
STEPS, UPDATES, TRIALS = 64, 30, 6

SERVING = [f"serve_{cell}_{rows}" for cell in ("gru", "lstm") for rows in (1, 64, 256, 1024)]
TRAINING = [f"train_{cell}_{rows}" for cell in ("gru", "lstm") for rows in (64, 256)]
BFLOAT16 = [f"bf16_{cell}_{rows}" for cell in ("gru", "lstm") for rows in (256, 1024)]
LONG = [f"train_{cell}_t1024" for cell in ("gru", "lstm")]
SCAN = ["mingru_scan_1024"]
NAMES = SERVING + BFLOAT16 + TRAINING + LONG + SCAN
NOTES = {
    **dict.fromkeys(BFLOAT16, "peer: our own f32 path"),
    **dict.fromkeys(
        LONG, "peer: our own training at T = 64; ratio: peer/ours, what a step costs at T = 1024 against T = 64"
    ),
    **dict.fromkeys(SCAN, "peer: the same layer stepped, not scanned"),
}


def serving(kind, rows):
    """Million steps per second of a cell, the median of short turns, as in benches/serving.rs."""
    torch.manual_seed(1)
    cell = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](INPUTS, HIDDEN)
    x, speeds = torch.randn(rows, INPUTS), []
    with torch.inference_mode():
        state = torch.zeros(rows, HIDDEN)
        state = (state, state.clone()) if kind == "lstm" else state
        for _ in range(TURNS):
            begin, count = time.perf_counter(), 0
            while time.perf_counter() - begin < TURN:
                for _ in range(1 + 200 // rows):
                    state = cell(x, state)
                    count += rows
            speeds.append(count / (time.perf_counter() - begin) / 1e6)
    return statistics.median(speeds)


# What can be chosen in training: the optimiser's loop, and whether oneDNN runs the layer. Then what was, by name.
CHOICES = list(itertools.product(("foreach", "fused"), (True, False)))
chosen = {}


def updates(kind, rows, choice, count):
    """Million steps per second from the median time of an update: forward, backward, clipping, AdamW."""
    optimiser_loop, onednn = choice
    torch.manual_seed(1)
    layer = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](INPUTS, HIDDEN)
    head = nn.Linear(HIDDEN, HORIZON)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    parameters = [*layer.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-4, **{optimiser_loop: True})
    x, targets = torch.randn(count, STEPS, rows, INPUTS), torch.randn(count, STEPS, rows, HORIZON)
    state, times = None, []
    torch.backends.mkldnn.enabled = onednn
    for features, target in zip(x, targets, strict=True):
        begin = time.perf_counter()
        outputs, state = layer(features, state)
        state = tuple(part.detach() for part in state) if kind == "lstm" else state.detach()
        # Pinball loss of the median.
        loss = 0.5 * nn.functional.l1_loss(head(outputs), target)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimiser.step()
        times.append(time.perf_counter() - begin)
    torch.backends.mkldnn.enabled = True
    return STEPS * rows / statistics.median(times[1:]) / 1e6


def training(name, kind, rows):
    """With the choices that were fastest in a trial before the first round."""
    if name not in chosen:
        chosen[name] = max(CHOICES, key=lambda choice: updates(kind, rows, choice, TRIALS))
    return updates(kind, rows, chosen[name], UPDATES)


def peer(name):
    """PyTorch's figure for a pair; None where the peer is no PyTorch."""
    _, kind, size = name.split("_")
    if name in SERVING:
        return serving(kind, int(size))
    if name in TRAINING:
        return training(name, kind, int(size))
    return None


def ours(bench, name):
    done = subprocess.run([bench, "--json", name], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)[name]


def figures(name, rounds):
    """Medians over the rounds, and their ratios; None where ours is not there."""
    if any(measured is None for measured in rounds):
        return None
    median = {field: statistics.median(measured[field] for measured in rounds) for field in rounds[0]}
    result = {"ours": median["ours"], "peer": median["peer"]}
    up, down = ("peer", "ours") if name in LONG else ("ours", "peer")
    result["ratio"] = median[up] / median[down]
    if "ceiling" in median:
        result["ceiling_share"] = median["ours"] / median["ceiling"]
    if name in NOTES:
        result["note"] = NOTES[name]
    if name in TRAINING:
        optimiser, onednn = chosen[name]
        result["peer_settings"] = f"AdamW {optimiser}, oneDNN {'on' if onednn else 'off'}"
    return result


def answer(*command):
    """What a command prints; empty where it fails."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


def machine(bench):
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "rustc": answer("rustc", "--version"),
        "commit": answer("git", "describe", "--always", "--dirty"),
        **ours(bench, "machine"),
    }


def table(results):
    print(f"{'pair':<18} {'ours':>9} {'peer':>9} {'ratio':>7} {'of gemm':>8}   million steps per second, one thread")
    for name, result in results.items():
        if result is None:
            print(f"{name:<18} {'-':>9} {'-':>9} {'-':>7} {'-':>8}   not on this processor")
            continue
        share = f"{result['ceiling_share']:.0%}" if "ceiling_share" in result else ""
        said = result.get("note") or result.get("peer_settings", "")
        print(
            f"{name:<18} {result['ours']:>9.3f} {result['peer']:>9.3f} {result['ratio']:>7.2f} {share:>8}   {said}".rstrip()
        )


def main():
    parser = argparse.ArgumentParser(description="Foretide against PyTorch, one thread each.")
    parser.add_argument("--ours", required=True, help="the built benches/serving.rs")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in which all pairs take turns (default 5)")
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(NAMES)}")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in NAMES]
    if unknown or asked.rounds < 1:
        parser.error(f"no pair {', '.join(unknown)}" if unknown else "--rounds must be at least 1")

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    measured = {name: [] for name in asked.names or NAMES}
    for number in range(1, asked.rounds + 1):
        for name, rounds in measured.items():
            of_ours, of_peer = ours(asked.ours, name), peer(name)
            rounds.append(of_ours if of_peer is None else {**of_ours, "peer": of_peer})
            said = ", ".join(f"{field} {value:.3f}" for field, value in (rounds[-1] or {}).items())
            print(f"round {number}: {name}: {said or 'nothing'}", file=sys.stderr)
    results = {name: figures(name, rounds) for name, rounds in measured.items()}
    if asked.json:
        print(json.dumps({"machine": machine(asked.ours), **results}, indent=1))
    else:
        print(json.dumps(machine(asked.ours)))
        table(results)


if __name__ == "__main__":
    main()
