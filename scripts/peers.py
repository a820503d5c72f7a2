"""What scripts/compare-peers --prequential runs: one protocol for Foretide, statsforecast and River.

A file is laid on its grid as Foretide does: of doubled stamps the first counts, what is missing is a gap. (Of asd, a server's
test part follows its training part.) At most --series series are taken, spread evenly over the columns, and everyone sees
these alone. The first 20 % of the slots are training rows: they scale the errors (mean absolute error of the seasonal naive
forecast one day ahead, of exchange_rate one step, between the values that exist) and, for ETTh1 and exchange_rate, give the
unit of the squared errors. Series that repeat themselves exactly there have no scale; they are left out, and counted.
--origins of the slots after 25 % that hold a value are forecast from: --a-day of them at random in each of as many days,
which are spread evenly; the same for all. Targets are the values 1 and 1 to a day ahead that exist.

Foretide runs over all rows as `foretide backtest` does (absolute errors are those of its medians, squared ones of its means), with its own defaults, untrained (--no-training) and with --train
trained as well; its forecasts are those of --emit. The seasonal naive forecast goes back by whole days to the newest that
holds a value, at most a week, else it is the last value.

AutoETS and AutoTheta are fitted at the start of the origin's day on the newest --window days (at least 500 steps), in the
values' own unit, and carried forward to the origin without a new fit; their time is a day's share of the fit, and the way
forward. AutoETS knows no season longer than 24 steps: there it goes without. autoets_seasonal must take a season (ZZA), which
AutoETS often chooses not to; autotheta removes the season by itself. SNARIMAX (12 lags and one seasonal; and the same 12 on
differences to the day before) and Holt-Winters take in every value in order, scaled by mean and deviation of the training
rows; some run away, so that their forecasts are clamped to the range of the values so far.

Peers see gaps filled with the value one day before, else the value before; and times of the week at which no training row
holds a value (a bank's night) are not there for them, so that a day is as long as its opening hours.

A forecast that is no number, or that fails, counts as the last value, and is counted."""

import argparse
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
import zlib
from concurrent.futures import ProcessPoolExecutor

# One process is one core: --jobs says how many there are.
os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")})

import numpy as np
import pandas as pd

HOUR = 3_600_000
MINUTE = 60_000

# Of each set: its files (parts of one are read as one), its step in milliseconds, the steps of a season, the longest horizon,
# and how it is read.
SETS = {
    "vic_elec": dict(step=30 * MINUTE, season=48, time="Time", columns=["Demand", "Temperature"]),
    "azure_vm100_cpu": dict(step=5 * MINUTE, season=288, time="t5min", counted=True),
    "pedestrian": dict(step=HOUR, season=24, time="Date_Time", key="Sensor", value="Count"),
    "metro_traffic_volume": dict(step=HOUR, season=24, time="date_time", columns=["traffic_volume"]),
    "bank_calls": dict(step=5 * MINUTE, season=288, time="DateTime", columns=["Calls"]),
    "weather": dict(step=10 * MINUTE, season=144, time="date", missing=-9999.0),
    "asd": dict(step=5 * MINUTE, season=288, files=[[f"asd/omi-{at}_train", f"asd/omi-{at}_test"] for at in (1, 2, 3)]),
    "ETTh1": dict(step=HOUR, season=24, time="date", train=2880, score=(3600, 14400), scaled=True),
    "exchange_rate": dict(step=24 * HOUR, season=1, horizon=24, time="date", scaled=True),
}
PEERS = ["autoets", "autoets_seasonal", "autotheta", "snarimax", "snarimax_difference", "holt_winters"]
# Steps of the longest season that AutoETS can take.
LONGEST_OF_ETS = 24
# Foretide's own share of the table: its name there, and what makes it so.
OURS = {"foretide_untrained": ["--no-training"], "foretide": []}


def say(text):
    print(f"scripts/compare-peers: {text}", file=sys.stderr, flush=True)


def spread(items, most):
    """At most `most` of the items, evenly from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / max(most - 1, 1))] for at in range(most)]


class Series:
    """Values on the grid, NaN for a gap, from the slot `first` on; with everything that scores a forecast."""

    def __init__(self, name, values, first, spec, arguments):
        slots = len(values)
        self.name, self.values, self.first = name, values, first
        self.season, self.horizon = spec["season"], spec.get("horizon", spec["season"])
        train = spec.get("train", slots // 5)
        start, end = spec.get("score", (slots // 4, slots))
        history = values[:train]
        naive = np.abs(history[self.season :] - history[: -self.season])
        self.scale = np.nanmean(naive) if np.any(~np.isnan(naive)) else 0.0
        self.mean, self.deviation = np.nanmean(history), np.nanstd(history) or 1.0
        self.see(history)
        possible = [at for at in range(start - 1, end - self.horizon) if not math.isnan(values[at])]
        self.choose(possible, arguments)

    def see(self, history):
        """What peers see: the slots that are ever open, each filled from the past."""
        season, week = self.season, 7 * self.season
        phases = (self.first + np.arange(len(self.values))) % week
        known = np.bincount(phases[: len(history)][~np.isnan(history)], minlength=week).reshape(7, season) > 0
        lengths = {int(count) for count in known.sum(axis=1) if count}
        # Closed is what was closed for two weeks at least, and as long on all days.
        regular = season > 1 and len(history) >= 2 * week and len(lengths) == 1
        self.day = lengths.pop() if regular else season
        self.seen = np.flatnonzero(known.reshape(-1)[phases]) if regular else np.arange(len(self.values))
        filled = self.values[self.seen].copy()
        for at in np.flatnonzero(np.isnan(filled)):
            back = self.day if season > 1 and at >= self.day else 1
            filled[at] = filled[at - back] if at else history[~np.isnan(history)][0]
        self.filled = filled

    def choose(self, possible, arguments):
        """Origins: some at random in each of some days, one day out of each equal part of all."""
        random = np.random.default_rng(zlib.crc32(self.name.encode()))
        days = {}
        for at in possible:
            days.setdefault(at // max(self.season, 1), []).append(at)
        a_day = arguments.a_day if self.season > 1 else 1
        parts = np.array_split(np.array(sorted(days)), min(len(days), math.ceil(arguments.origins / a_day)))
        chosen = [days[int(random.choice(part))] for part in parts if len(part)]
        picked = [random.choice(day, min(a_day, len(day)), replace=False) for day in chosen]
        self.origins = sorted(int(at) for of_day in picked for at in of_day)

    def targets(self, origin):
        return self.values[origin + 1 : origin + 1 + self.horizon]

    def seen_until(self, origin):
        """How many of the slots that peers see lie up to the origin, and how many of the targets they see."""
        until = int(np.searchsorted(self.seen, origin, side="right"))
        ahead = int(np.searchsorted(self.seen, origin + self.horizon, side="right")) - until
        return until, ahead

    def on_grid(self, origin, path):
        """A peer's path for the targets that it sees, laid on the grid; elsewhere the last value."""
        until, ahead = self.seen_until(origin)
        whole = np.full(self.horizon, self.values[origin])
        whole[self.seen[until : until + ahead] - origin - 1] = path
        return whole


def load(folder, name, arguments):
    """The set's files: of each its parts and its series."""
    spec = SETS[name]
    files = [[f"{folder}/{part}.csv.gz" for part in parts] for parts in spec.get("files", [[name]])]
    return [(parts, load_file(parts, spec, max(1, arguments.series // len(files)), arguments)) for parts in files]


def load_file(parts, spec, most_series, arguments):
    tables = []
    for part in parts:
        with gzip.open(part, "rt", encoding="latin1") as text:
            tables.append(pd.read_csv(text, low_memory=False))
    table = pd.concat(tables, ignore_index=True)
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
        series.append(Series(str(key), values, first, spec, arguments))
    return series


def foretide(binary, parts, series, spec, training):
    """Foretide's forecasts `{(series, origin): [medians and means][horizon]}` and the time of one in microseconds."""
    options = ["--horizon", str(series[0].horizon), "--season", str(spec["season"] if spec["season"] > 1 else 0)]
    options += ["--interval", f"{spec['step']}ms", "--json", *training]
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
        file, pipe = parts[0], f"{folder}/forecasts"
        if len(parts) > 1:
            file = f"{folder}/parts.csv"
            with open(file, "wb") as whole:
                for at, part in enumerate(parts):
                    with gzip.open(part) as lines:
                        next(lines) if at else None  # the head stands in the first part
                        whole.writelines(lines)
        os.mkfifo(pipe)

        def take():
            with open(pipe) as lines:
                for line in lines:
                    match = head.search(line)
                    place = match and wanted.get((match[1], int(match[2])))
                    if place:
                        forecast = json.loads(line)
                        found[place] = np.array([forecast["quantiles"]["0.5"], forecast["point"]], dtype=float)

        reader = threading.Thread(target=take, daemon=True)
        reader.start()
        command = [binary, "backtest", file, *options, "--emit", pipe]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"scripts/compare-peers: {' '.join(command)}: {done.stderr}")
        reader.join()
    return found, json.loads(done.stdout).get("microseconds")


def statistical(kind, one, window):
    """Forecasts of AutoETS or AutoTheta in the series' unit, and the seconds of one."""
    from statsforecast.models import AutoETS, AutoTheta

    day = one.day
    window = min(max(window[0] * day, 500), window[1])
    season = day if day <= LONGEST_OF_ETS else 1
    make = {
        "autoets": lambda: AutoETS(season_length=season),
        "autoets_seasonal": lambda: AutoETS(season_length=season, model="ZZA"),
        "autotheta": lambda: AutoTheta(season_length=day),
    }[kind]
    seconds, forecasts, models = 0.0, {}, {}
    for origin in one.origins:
        until, ahead = one.seen_until(origin)
        refit = until // day * day
        # Both begin at the same slot: the states that were fitted belong to it.
        history = lambda end: one.filled[max(0, refit - window) : end].copy()
        try:
            if refit not in models:
                begun = time.perf_counter()
                models[refit] = make().fit(history(refit)), (time.perf_counter() - begun) / day
            begun = time.perf_counter()
            model, share = models[refit]
            forecasts[origin] = np.asarray(model.forward(history(until), h=ahead)["mean"], dtype=float)
            seconds += share + time.perf_counter() - begun
        except Exception:  # what a peer refuses is counted, not hidden
            models.pop(refit, None)
    return forecasts, seconds / max(len(forecasts), 1)


def online(kind, one):
    """Forecasts of River's SNARIMAX or Holt-Winters, and the seconds of one step and its forecast."""
    from river import linear_model, optim, preprocessing, time_series

    seasonal = one.season > 1
    if kind == "holt_winters":
        # With the faster trend and season of River's own example it runs away on vic_elec.
        season = dict(gamma=0.2, seasonality=one.day) if seasonal else {}
        model = time_series.HoltWinters(alpha=0.3, beta=0.01, **season)
    else:
        lag = "sp" if kind == "snarimax" else "sd"
        season = {"m": one.day, lag: 1} if seasonal else {}
        # River's own rate, 0.01, runs away on lags as alike as these.
        linear = preprocessing.StandardScaler() | linear_model.LinearRegression(optimizer=optim.SGD(0.001))
        model = time_series.SNARIMAX(p=12, d=0, q=0, regressor=linear, **season)
    wanted = {one.seen_until(origin)[0]: origin for origin in one.origins}
    forecasts, last = {}, max(wanted)
    begun, asked = time.perf_counter(), 0.0
    scaled = (one.filled[:last] - one.mean) / one.deviation
    least, most = np.minimum.accumulate(scaled), np.maximum.accumulate(scaled)
    for at, value in enumerate(scaled, 1):
        model.learn_one(float(value))
        if at in wanted:
            ask = time.perf_counter()
            origin = wanted[at]
            try:
                path = np.array(model.forecast(one.seen_until(origin)[1]), dtype=float)
                # Some run away; nothing is forecast beyond what was seen so far.
                path = np.clip(path, least[at - 1], most[at - 1])
                forecasts[origin] = one.mean + one.deviation * path
            except Exception:  # counted as a failure below
                pass
            asked += time.perf_counter() - ask
    learning = time.perf_counter() - begun - asked
    return forecasts, learning / last + asked / len(wanted)


def peer(task):
    """One peer on one series: forecasts in the values' own unit and the seconds of one."""
    warnings.simplefilter("ignore")
    kind, one, window = task
    with np.errstate(all="ignore"):
        forecasts, seconds = statistical(kind, one, window) if kind.startswith("auto") else online(kind, one)
    return {origin: one.on_grid(origin, path) for origin, path in forecasts.items()}, seconds


def last_value(one, origin):
    return np.full(one.horizon, one.values[origin])


def seasonal_naive(one, origin):
    """The value as many whole seasons back as the lead needs, or more where that is a gap; else, or without a season, the
    last value."""
    path = np.full(one.horizon, math.nan)
    if one.season > 1:
        back = origin + 1 + np.arange(one.horizon) % one.season - one.season
        for more in range(7):
            places = back - more * one.season
            values = np.where(places >= 0, one.values[np.maximum(places, 0)], math.nan)
            path = np.where(np.isnan(path), values, path)
    return np.where(np.isnan(path), one.values[origin], path)


def score(all_series, forecasts, horizon):
    """Mean over series of the scaled error, and of the squared error in the training rows' deviations; failures. A forecast
    is one path, or two: that of the medians and that of the means."""
    scaled, squared, failed = [], [], 0
    for one, of_series in zip(all_series, forecasts):
        absolute, squares = [], []
        for origin in one.origins:
            target = one.targets(origin)[:horizon]
            path = of_series.get(origin)
            if path is None or not np.all(np.isfinite(path[..., :horizon])):
                failed += 1
                path = last_value(one, origin)
            medians, means = np.broadcast_to(path, (2, one.horizon))[:, :horizon]
            there = ~np.isnan(target)
            absolute.extend(np.abs(medians - target)[there])
            squares.extend((((means - target) / one.deviation) ** 2)[there])
        scaled.append(float(np.mean(absolute) / one.scale) if absolute else None)
        squared.append(float(np.mean(squares)) if squares else None)
    return scaled, squared, failed


def mean(numbers):
    numbers = [number for number in numbers if number is not None]
    return sum(numbers) / len(numbers) if numbers else math.nan


def compare(name, arguments, pool):
    spec = SETS[name]
    files, flat = [], 0
    for parts, series in load(arguments.folder, name, arguments):
        files.append((parts, [one for one in series if one.scale > 0]))
        flat += sum(1 for one in series if one.scale <= 0)
    everyone = [one for _, series in files for one in series]
    origins = sum(len(one.origins) for one in everyone)
    say(f"{name}: {len(everyone)} series, {origins} forecasts" + (f"; {flat} series without a scale left out" if flat else ""))
    for one in everyone:
        if one.day != one.season:
            say(f"{name}, {one.name}: for the peers a day has {one.day} of its {one.season} steps")
    methods = {}
    for title, training in OURS.items():
        if title == "foretide" and not arguments.train:
            say(f"{name}: SKIPPED Foretide trained (--train runs it)")
            continue
        begun, ours, micros = time.perf_counter(), [], []
        for parts, series in files:
            found, of_file = foretide(arguments.foretide, parts, series, spec, training)
            missing = sum(len(one.origins) for one in series) - len(found)
            if missing:
                say(f"{name}: {title} has no forecast at {missing} origins")
            ours += [{at: found[one.name, at] for at in one.origins if (one.name, at) in found} for one in series]
            micros.append(of_file)
        methods[title] = (ours, None if None in micros else float(np.mean(micros)))
        say(f"{name}: {title} {time.perf_counter() - begun:.0f} s")
    for title, rule in (("last_value", last_value), ("seasonal_naive", seasonal_naive)):
        methods[title] = ([{origin: rule(one, origin) for origin in one.origins} for one in everyone], None)
    for kind in PEERS:
        if kind == "autoets_seasonal" and all(one.day > LONGEST_OF_ETS or one.season < 2 for one in everyone):
            say(f"{name}: SKIPPED {kind}: AutoETS takes seasons of 2 to {LONGEST_OF_ETS} steps, this one has {everyone[0].day}")
            continue
        begun = time.perf_counter()
        done = list(pool.map(peer, [(kind, one, arguments.window) for one in everyone]))
        methods[kind] = ([forecasts for forecasts, _ in done], 1e6 * float(np.mean([seconds for _, seconds in done])))
        say(f"{name}: {kind} {time.perf_counter() - begun:.0f} s")
        keep(name, everyone, methods, arguments)
    return outcome(name, everyone, methods, flat)


def outcome(name, everyone, methods, left_out):
    results = []
    for horizon in sorted({1, everyone[0].horizon}):
        for method, (forecasts, microseconds) in methods.items():
            mases, squared, failed = score(everyone, forecasts, horizon)
            mse = mean(squared) if SETS[name].get("scaled") else None
            row = dict(method=method, horizon=horizon, mase=mean(mases), mse=mse, microseconds=microseconds)
            results.append({**row, "failed": failed, "mase_by_series": mases})
    names, origins = [one.name for one in everyone], sum(len(one.origins) for one in everyone)
    return dict(series=len(everyone), names=names, left_out=left_out, forecasts=origins, results=results)


def keep(name, everyone, methods, arguments):
    """All forecasts and targets, one row an origin, after each method: a run that is broken off leaves those before."""
    if not arguments.keep:
        return
    rows = [(at, one, origin) for at, one in enumerate(everyone) for origin in one.origins]
    none = np.full(everyone[0].horizon, math.nan)
    median = lambda path: path if path.ndim == 1 else path[0]
    arrays = {name: np.array([median(made[at].get(origin, none)) for at, _, origin in rows]) for name, (made, _) in methods.items()}
    arrays["target"] = np.array([one.targets(origin) for _, one, origin in rows])
    arrays |= {"series": np.array([at for at, _, _ in rows]), "origin": np.array([origin for _, _, origin in rows])}
    os.makedirs(arguments.keep, exist_ok=True)
    np.savez_compressed(f"{arguments.keep}/{name}.npz", scale=np.array([one.scale for one in everyone]), **arrays)


def table(name, compared):
    left_out = f" ({compared['left_out']} without a scale left out)" if compared["left_out"] else ""
    lines = [f"{name}: {compared['series']} series{left_out}, {compared['forecasts']} forecasts", "",
             "| leads | method | MASE | MSE | µs a forecast | failed |", "|---|---|---|---|---|---|"]
    for row in compared["results"]:
        mse = "" if row["mse"] is None else f"{row['mse']:.4f}"
        micros = "" if row["microseconds"] is None else f"{row['microseconds']:.1f}"
        lines.append(f"| 1..{row['horizon']} | {row['method']} | {row['mase']:.3f} | {mse} | {micros} | {row['failed']} |")
    for horizon in sorted({row["horizon"] for row in compared["results"]}):
        rows = [row for row in compared["results"] if row["horizon"] == horizon]
        best = min((row for row in rows if row["method"] not in OURS), key=lambda row: row["mase"])
        for row in rows:
            if row["method"] in OURS:
                less = 100 * (1 - row["mase"] / best["mase"])
                lines.append(f"{row['method']}, leads 1..{horizon}: {less:+.1f} % less than {best['method']}, the best of the others")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare-peers --prequential", description=__doc__.split("\n\n")[0])
    parser.add_argument("--foretide", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS), metavar="NAME", help=", ".join(SETS))
    parser.add_argument("--series", type=int, default=8, help="series of a data set, at most (default: 8)")
    parser.add_argument("--origins", type=int, default=100, help="forecasts of a series, at most (default: 100)")
    parser.add_argument("--a-day", type=int, default=4, help="forecasts of a day, which share a fit (default: 4)")
    parser.add_argument(
        "--window", type=int, nargs=2, default=(28, 2016), metavar=("DAYS", "STEPS"),
        help="AutoETS and AutoTheta are fitted on so many days, at most so many steps (default: 28 2016)",
    )
    parser.add_argument("--train", action="store_true", help="Foretide trained as well: minutes to hours")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--keep", metavar="FOLDER", help="all forecasts as FOLDER/NAME.npz, results at last as FOLDER/NAME.json")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    arguments = parser.parse_args()
    compared = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name in arguments.data:
            compared[name] = compare(name, arguments, pool)
            if arguments.keep:
                with open(f"{arguments.keep}/{name}.json", "w") as out:
                    json.dump(compared[name], out)
            if not arguments.json:
                print(table(name, compared[name]), flush=True)
    if arguments.json:
        print(json.dumps(compared))


if __name__ == "__main__":
    main()
