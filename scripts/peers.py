"""What scripts/compare-peers runs: one protocol for Foretide, statsforecast and River.

A file is laid on its grid as Foretide does: of doubled stamps the first counts, what is missing is a gap. At most --series
series are taken, spread evenly over the columns, and everyone sees these alone. The first 20 % of the slots are training
rows: they scale the errors (the seasonal naive error one day ahead, of exchange_rate one step) and, for ETTh1 and
exchange_rate, give the unit of the squared errors. --origins of the slots after 25 % that hold a value are forecast from,
spread evenly, the same for all; targets are the values 1 and 1 to a day ahead that exist.

Foretide runs over all rows as `foretide backtest` does, with its own defaults; its forecasts are those of --emit. AutoETS
and AutoTheta are fitted at the start of the origin's day on the newest 28 days (at least 500 steps, at most 2016), and carried
forward to the origin without a new fit; their time is a day's share of the fit, and the way forward. (AutoETS knows no
season longer than 24 steps.) SNARIMAX and Holt-Winters take in every value in order. Peers see gaps filled with the value
before, and their values scaled by mean and deviation of the training rows. A forecast that is no number, or that fails,
counts as the last value, and is counted."""

import argparse
import copy
import gzip
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

HOUR = 3_600_000
MINUTE = 60_000

# Of each set: its files, its step in milliseconds, the steps of a season, the longest horizon, and how it is read.
SETS = {
    "vic_elec": dict(step=30 * MINUTE, season=48, time="Time", columns=["Demand", "Temperature"]),
    "azure_vm100_cpu": dict(step=5 * MINUTE, season=288, time="t5min", counted=True),
    "pedestrian": dict(step=HOUR, season=24, time="Date_Time", key="Sensor", value="Count"),
    "metro_traffic_volume": dict(step=HOUR, season=24, time="date_time", columns=["traffic_volume"]),
    "bank_calls": dict(step=5 * MINUTE, season=288, time="DateTime", columns=["Calls"]),
    "weather": dict(step=10 * MINUTE, season=144, time="date", missing=-9999.0),
    "asd": dict(step=5 * MINUTE, season=288, files=[f"asd/omi-{server}_train" for server in (1, 2, 3)]),
    "ETTh1": dict(step=HOUR, season=24, time="date", train=2880, score=(3600, 14400), scaled=True),
    "exchange_rate": dict(step=24 * HOUR, season=1, horizon=24, time="date", scaled=True),
}
PEERS = ["autoets", "autotheta", "snarimax", "holt_winters"]


def say(text):
    print(f"scripts/compare-peers: {text}", file=sys.stderr, flush=True)


def spread(items, most):
    """At most `most` of the items, evenly from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / max(most - 1, 1))] for at in range(most)]


class Series:
    """Values on the grid, NaN for a gap, from the slot `first` on; with everything that scores a forecast."""

    def __init__(self, name, values, first, spec, origins):
        slots = len(values)
        self.name, self.values, self.first = name, values, first
        self.season, self.horizon = spec["season"], spec.get("horizon", spec["season"])
        train = spec.get("train", slots // 5)
        start, end = spec.get("score", (slots // 4, slots))
        history = values[:train]
        self.scale = np.nanmean(np.abs(history[self.season :] - history[: -self.season]))
        self.mean, self.deviation = np.nanmean(history), np.nanstd(history) or 1.0
        filled = pd.Series(values).ffill().bfill().to_numpy()
        self.scaled = (filled - self.mean) / self.deviation
        possible = [at for at in range(start - 1, end - self.horizon) if not math.isnan(values[at])]
        self.origins = spread(possible, origins)

    def targets(self, origin):
        return self.values[origin + 1 : origin + 1 + self.horizon]


def load(folder, name, most_series, origins):
    """The set's files: of each its path and its series."""
    spec = SETS[name]
    files = [f"{folder}/{file}.csv.gz" for file in spec.get("files", [name])]
    return [(file, load_file(file, spec, max(1, most_series // len(files)), origins)) for file in files]


def load_file(file, spec, most_series, origins):
    with gzip.open(file, "rt", encoding="latin1") as text:
        table = pd.read_csv(text, low_memory=False)
    if "time" not in spec:
        slots = pd.Series(range(len(table)))
    elif spec.get("counted"):
        slots = table[spec["time"]]
    else:
        stamps = pd.to_datetime(table[spec["time"]], utc=True)
        slots = (stamps - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(spec["step"], "ms")
    if "key" in spec:
        groups = [(key, slots[rows.index], rows[spec["value"]]) for key, rows in table.groupby(spec["key"], sort=False)]
    else:
        plain = [name for name in table.columns if name.isascii() and name != spec.get("time")]
        groups = [(name, slots, table[name]) for name in spec.get("columns", plain)]
    series = []
    for key, slots, values in spread(groups, most_series):
        values = values.astype(float)
        if "missing" in spec:
            values = values.where(values != spec["missing"])
        known = pd.Series(values.to_numpy(), index=slots.to_numpy()).dropna()
        known = known[~known.index.duplicated()]
        known = known[known.index >= known.index.to_series().cummax()]
        first = int(known.index.min())
        values = known.reindex(range(first, int(known.index.max()) + 1)).to_numpy()
        series.append(Series(str(key), values, first, spec, origins))
    return series


def foretide(binary, file, series, spec):
    """Foretide's forecasts `{(series, origin): [horizon]}` and the time of one in microseconds."""
    options = ["--horizon", str(series[0].horizon), "--season", str(spec["season"] if spec["season"] > 1 else 0)]
    options += ["--interval", f"{spec['step']}ms", "--json"]
    if "key" in spec:
        options += ["--long", "--key", spec["key"], "--value", spec["value"]]
    else:
        options += ["--columns", ",".join(one.name for one in series)]
    options += ["--time", spec["time"]] if "time" in spec else ["--no-time"]
    options += ["--missing", str(spec["missing"])] if "missing" in spec else []
    options += ["--scale-rows", f"0..{spec['train']}"] if "train" in spec else []
    wanted = {(one.name, one.first + origin): (one.name, origin) for one in series for origin in one.origins}
    found = {}
    head = re.compile(r'"series":"([^"]*)".*?"step":(-?\d+)')
    with tempfile.TemporaryDirectory() as folder:
        pipe = f"{folder}/forecasts"
        os.mkfifo(pipe)

        def take():
            with open(pipe) as lines:
                for line in lines:
                    match = head.search(line)
                    place = match and wanted.get((match[1], int(match[2])))
                    if place:
                        found[place] = np.array(json.loads(line)["point"], dtype=float)

        reader = threading.Thread(target=take, daemon=True)
        reader.start()
        command = [binary, "backtest", file, *options, "--emit", pipe]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"scripts/compare-peers: {' '.join(command)}: {done.stderr}")
        reader.join()
    return found, json.loads(done.stdout).get("microseconds")


def statistical(kind, one):
    """Forecasts of AutoETS or AutoTheta in the series' unit, and the seconds of one."""
    from statsforecast.models import AutoETS, AutoTheta

    make = AutoETS if kind == "autoets" else AutoTheta
    day = one.season
    window = min(max(28 * day, 500), 2016)
    seconds, forecasts, failed = 0.0, {}, 0
    for origin in one.origins:
        refit = (origin + 1) // day * day
        # Both begin at the same slot: the states that were fitted belong to it.
        history = lambda end: one.scaled[max(0, refit - window) : end].copy()
        try:
            begun = time.perf_counter()
            model = make(season_length=day)
            model.fit(history(refit))
            seconds += (time.perf_counter() - begun) / day
            begun = time.perf_counter()
            forecasts[origin] = np.asarray(model.forward(history(origin + 1), h=one.horizon)["mean"], dtype=float)
            seconds += time.perf_counter() - begun
        except Exception:  # what a peer refuses is counted, not hidden
            failed += 1
    return forecasts, seconds / max(len(one.origins) - failed, 1)


def online(kind, one):
    """Forecasts of River's SNARIMAX or Holt-Winters, and the seconds of one step and its forecast."""
    from river import linear_model, optim, preprocessing, time_series

    seasonal = one.season > 1
    if kind == "snarimax":
        season = dict(m=one.season, sp=1) if seasonal else {}
        # River's own rate, 0.01, runs away on lags as alike as these.
        linear = preprocessing.StandardScaler() | linear_model.LinearRegression(optimizer=optim.SGD(0.001))
        model = time_series.SNARIMAX(p=12, d=0, q=0, regressor=linear, **season)
    else:
        # With the faster trend and season of River's own example it runs away on vic_elec.
        season = dict(gamma=0.2, seasonality=one.season) if seasonal else {}
        model = time_series.HoltWinters(alpha=0.3, beta=0.01, **season)
    wanted, forecasts = set(one.origins), {}
    last = max(wanted)
    begun, asked = time.perf_counter(), 0.0
    for at, value in enumerate(one.scaled[: last + 1]):
        model.learn_one(float(value))
        if at in wanted:
            ask = time.perf_counter()
            try:
                forecasts[at] = np.array(model.forecast(one.horizon), dtype=float)
            except Exception:  # counted as a failure below
                pass
            asked += time.perf_counter() - ask
    learning = time.perf_counter() - begun - asked
    return forecasts, learning / (last + 1) + asked / len(wanted)


def peer(task):
    """One peer on one series: forecasts in the values' own unit and the seconds of one."""
    warnings.simplefilter("ignore")
    kind, one = task
    with np.errstate(all="ignore"):
        forecasts, seconds = (statistical if kind.startswith("auto") else online)(kind, one)
        return {origin: one.mean + one.deviation * path for origin, path in forecasts.items()}, seconds


def last_value(one, origin):
    return np.full(one.horizon, one.values[origin])


def seasonal_naive(one, origin):
    """The value as many whole seasons back as the lead needs; the last value where that is a gap or there is no season."""
    if one.season < 2:
        return last_value(one, origin)
    back = [origin + lead - math.ceil(lead / one.season) * one.season for lead in range(1, one.horizon + 1)]
    path = np.array([one.values[at] if at >= 0 else math.nan for at in back])
    return np.where(np.isnan(path), one.values[origin], path)


def score(all_series, forecasts, horizon):
    """Mean over series of the scaled error, and of the squared error in the training rows' deviations; failures."""
    scaled, squared, failed = [], [], 0
    for one, of_series in zip(all_series, forecasts):
        absolute, squares = [], []
        for origin in one.origins:
            target = one.targets(origin)[:horizon]
            path = of_series.get(origin)
            if path is None or not np.all(np.isfinite(path[:horizon])):
                failed += 1
                path = last_value(one, origin)
            error = (path[:horizon] - target)[~np.isnan(target)]
            absolute.extend(np.abs(error))
            squares.extend((error / one.deviation) ** 2)
        if one.scale > 0 and absolute:
            scaled.append(np.mean(absolute) / one.scale)
            squared.append(np.mean(squares))
    return float(np.mean(scaled)), float(np.mean(squared)), failed


def compare(name, arguments, pool):
    spec = SETS[name]
    files = load(arguments.folder, name, arguments.series, arguments.origins)
    everyone = [one for _, series in files for one in series]
    say(f"{name}: {len(everyone)} series, up to {len(everyone[0].origins)} origins each")
    ours, micros = [], []
    for file, series in files:
        found, of_file = foretide(arguments.foretide, file, series, spec)
        missing = sum(len(one.origins) for one in series) - len(found)
        if missing:
            say(f"{name}: Foretide has no forecast at {missing} origins")
        ours += [{origin: found[one.name, origin] for origin in one.origins if (one.name, origin) in found} for one in series]
        micros.append(of_file)
    methods = {"foretide": (ours, None if None in micros else float(np.mean(micros)))}
    for title, rule in (("last_value", last_value), ("seasonal_naive", seasonal_naive)):
        methods[title] = ([{origin: rule(one, origin) for origin in one.origins} for one in everyone], None)
    seconds = seconds_of_one(everyone[0]) * sum(len(one.origins) for one in everyone) / arguments.jobs
    say(f"{name}: AutoETS and AutoTheta take about {seconds / 60:.1f} minutes")
    for kind in PEERS:
        done = list(pool.map(peer, [(kind, one) for one in everyone]))
        methods[kind] = ([forecasts for forecasts, _ in done], 1e6 * float(np.mean([seconds for _, seconds in done])))
    results = []
    for horizon in sorted({1, everyone[0].horizon}):
        for method, (forecasts, microseconds) in methods.items():
            mase, mse, failed = score(everyone, forecasts, horizon)
            row = dict(method=method, horizon=horizon, mase=mase, mse=mse if spec.get("scaled") else None)
            results.append({**row, "microseconds": microseconds, "failed": failed})
    origins = sum(len(one.origins) for one in everyone)
    return dict(series=len(everyone), forecasts=origins, results=results)


def seconds_of_one(one):
    """How long AutoETS and AutoTheta take for one origin, once what they compile at first use is there."""
    last = copy.copy(one)
    last.origins = one.origins[-1:]
    for _ in range(2):
        begun = time.perf_counter()
        for kind in ("autoets", "autotheta"):
            peer((kind, last))
    return time.perf_counter() - begun


def table(name, compared):
    lines = [f"{name}: {compared['series']} series, {compared['forecasts']} forecasts", "",
             "| leads | method | MASE | MSE | µs a forecast | failed |", "|---|---|---|---|---|---|"]
    for row in compared["results"]:
        mse = "" if row["mse"] is None else f"{row['mse']:.4f}"
        micros = "" if row["microseconds"] is None else f"{row['microseconds']:.1f}"
        lines.append(f"| 1..{row['horizon']} | {row['method']} | {row['mase']:.3f} | {mse} | {micros} | {row['failed']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare-peers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--foretide", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS), metavar="NAME", help=", ".join(SETS))
    parser.add_argument("--series", type=int, default=8, help="series of a data set, at most (default: 8)")
    parser.add_argument("--origins", type=int, default=100, help="forecasts of a series, at most (default: 100)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    arguments = parser.parse_args()
    compared = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name in arguments.data:
            compared[name] = compare(name, arguments, pool)
            if not arguments.json:
                print(table(name, compared[name]), flush=True)
    if arguments.json:
        print(json.dumps(compared))


if __name__ == "__main__":
    main()
