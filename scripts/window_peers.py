"""What scripts/compare-peers runs: the last windows of each series, forecast by Foretide and by others.

A set is laid on its grid: of doubled stamps the first counts, what is missing is a gap. Of a set at most --series series are
taken, spread evenly. They are written to one CSV file, and `foretide backtest --windows` forecasts the last --windows windows
of each; the lines of --emit-windows say from which origins, which values had to be forecast, and what Foretide forecast. The
others get the values of that file up to the same origins. One piece of code (`Scores`) scores all of them: MASE in units of the
seasonal naive error of all values before the origin, the weighted quantile loss over the levels .1 to .9, coverage and mean
width of the 80 % interval. Foretide's own figures are compared with these, and the script fails where they differ.

fracast takes the values as they are, gaps included, as many as it looks back on; flaircast the newest --flair-steps; AutoETS,
AutoTheta and SeasonalNaive of statsforecast are fitted at each origin on the newest 28 seasons, at least 500 and at most
--context values. AutoETS knows no season longer than 24 steps: there it goes without. For all but fracast gaps are filled with the value
one season before, else with the value before. A forecast that fails, or is no number, counts as the last value, and is
counted. Times are seconds of one process on one core: of a peer's forecast with its fit, of Foretide's one step with its
forecast, the learning of every value included, the trainings not.

The interval behind a ratio is that of a bootstrap: within each series windows are drawn with replacement, and the ratio of
the two losses over all of them is taken; 2.5 % and 97.5 % of --resamples such ratios.

service_10s is not real: no set of ../shared/data has such a step. It is made from a seed: calls, latency and errors of a calm
service with a daily rate and rare incidents. All others are real."""

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

# One process is one core: --jobs says how many there are.
os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")})

import numpy as np
import pandas as pd

from peers import HOUR, LONGEST_OF_ETS, MINUTE, say, spread

# Of each set: its step in milliseconds, the steps of a season (1 for none), the steps of a window, how flaircast calls the
# step, and how the file is read. Files in one list are read as one series of rows.
SETS = {
    "ETTh1": dict(step=HOUR, season=24, freq="H"),
    "WTH": dict(step=HOUR, season=24, freq="H"),
    "pedestrian": dict(step=HOUR, season=24, freq="H", time="Date_Time", key="Sensor", value="Count"),
    "metro_traffic_volume": dict(step=HOUR, season=24, freq="H", time="date_time", columns=["traffic_volume"]),
    "vic_elec": dict(step=30 * MINUTE, season=48, freq="30T", time="Time", columns=["Demand", "Temperature"]),
    "ETTm1": dict(step=15 * MINUTE, season=96, freq="15T"),
    "weather": dict(step=10 * MINUTE, season=144, freq="10T", missing=-9999.0),
    "azure_vm100_cpu": dict(step=5 * MINUTE, season=288, freq="5T", time="t5min", counted=True),
    "asd": dict(step=5 * MINUTE, season=288, freq="5T", time=None, files=["asd/omi-1_train", "asd/omi-1_test"]),
    "bank_calls": dict(step=5 * MINUTE, season=288, freq="5T", time="DateTime", columns=["Calls"]),
    "service_10s": dict(step=10_000, season=8640, freq="10S", horizon=60, made=True),
    "exchange_rate": dict(step=24 * HOUR, season=7, freq="D", horizon=30),
}
DEFAULT = ["ETTh1", "WTH", "pedestrian", "metro_traffic_volume", "ETTm1", "azure_vm100_cpu", "asd", "service_10s", "exchange_rate"]
PEERS = ["fracast", "flaircast", "autoets", "autotheta", "seasonal_naive"]
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def service_10s():
    """Calls, latency and errors of a calm service each 10 s for six days, with an incident every ten hours or so."""
    random = np.random.default_rng(20261129)
    slots = np.arange(6 * 8640)
    rate = 40 * (1 + 0.5 * np.sin(2 * np.pi * slots / 8640))
    incident = np.zeros(len(slots))
    for start in np.flatnonzero(random.random(len(slots)) < 1 / 3600):
        incident[start : start + random.integers(6, 60)] = random.uniform(3, 20)
    latency = 20 + 0.1 * rate + 5 * incident + random.gamma(4, 0.5 * (1 + incident))
    table = {"calls": random.poisson(rate), "latency": latency.round(3), "errors": random.poisson(0.05 + incident)}
    return pd.DataFrame(table, index=slots, dtype=float)


def read(folder, name):
    """The set as a table: one column a series, one row a slot of the grid, NaN for a gap; the index counts steps."""
    spec = SETS[name]
    if spec.get("made"):
        return service_10s()
    tables = []
    for part in spec.get("files", [name]):
        with gzip.open(f"{folder}/{part}.csv.gz", "rt", encoding="latin1") as text:
            tables.append(pd.read_csv(text, low_memory=False, float_precision="round_trip"))
    table = pd.concat(tables, ignore_index=True)
    stamp = spec.get("time", "date")
    if stamp is None:
        slots = pd.Series(range(len(table)))
    elif spec.get("counted"):
        slots = table[stamp].astype(int)
    else:
        stamps = pd.to_datetime(table[stamp], utc=True)
        slots = (stamps - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(spec["step"], "ms")
    if "key" in spec:
        groups = {str(key): (slots[rows.index], rows[spec["value"]]) for key, rows in table.groupby(spec["key"], sort=False)}
    else:
        named = spec.get("columns", [column for column in table.columns if column.isascii() and column != stamp])
        groups = {column: (slots, table[column]) for column in named}
    series = {}
    for key, (slots_of, values) in groups.items():
        values = values.astype(float)
        if "missing" in spec:
            values = values.where(values != spec["missing"])
        known = pd.Series(values.to_numpy(), index=slots_of.to_numpy()).dropna()
        known = known[~known.index.duplicated()]
        series[key] = known[known.index >= known.index.to_series().cummax()]
    table = pd.DataFrame(series)
    return table.reindex(range(int(table.index.min()), int(table.index.max()) + 1))


def foretide(arguments, name, table):
    """The lines of Foretide's windows, its report, and the seconds that it took."""
    spec = SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        file, lines = f"{folder}/{name}.csv", f"{folder}/windows.jsonl"
        table.set_index(table.index * spec["step"]).to_csv(file, index_label="time")
        command = [arguments.foretide, "backtest", file, "--time-format", "ms", "--interval", f"{spec['step']}ms"]
        command += ["--season", str(spec["season"] if 1 < spec["season"] <= 1440 else 0)]
        command += ["--horizon", str(spec.get("horizon", 48)), "--windows", str(arguments.windows)]
        command += ["--json", "--emit-windows", lines] + ([] if arguments.train else ["--no-training"])
        begun = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"scripts/compare-peers: {' '.join(command)}: {done.stderr}")
        seconds = time.perf_counter() - begun
        with open(lines) as text:
            return [json.loads(line) for line in text], json.loads(done.stdout), seconds


def filled(values, season):
    """Gaps filled with the value one season before, else with the value before; without what lies before the first value."""
    values = values[np.argmax(~np.isnan(values)) :].copy()
    for at in np.flatnonzero(np.isnan(values)):
        values[at] = values[at - season] if at >= season else values[at - 1]
    return values


MODELS = {}


def fracast(values, horizon):
    import torch

    from fracast import FracastModel

    if "fracast" not in MODELS:
        torch.set_num_threads(1)
        MODELS["fracast"] = FracastModel.from_pretrained()
    model = MODELS["fracast"]
    begun = time.perf_counter()
    paths = model.forecast(values[-model.context_length :], horizon=horizon)
    seconds = time.perf_counter() - begun
    known = {round(level, 3): place for place, level in enumerate(model.quantiles)}
    return np.array([paths[:, known[level]] for level in LEVELS]), seconds


def flaircast(values, horizon, spec, arguments):
    from flaircast import forecast

    values = filled(values, spec["season"])[-arguments.flair_steps :]
    begun = time.perf_counter()
    samples = forecast(values, horizon=horizon, freq=spec["freq"], n_samples=400, seed=1)
    return np.quantile(np.asarray(samples), LEVELS, axis=0), time.perf_counter() - begun


def statistical(kind, values, horizon, spec, arguments):
    from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive

    season = spec["season"]
    values = filled(values, season)
    season = season if season * 2 < arguments.context else 1
    values = values[-min(max(28 * season, 500), arguments.context) :]
    model = {
        "autoets": lambda: AutoETS(season_length=season if season <= LONGEST_OF_ETS else 1),
        "autotheta": lambda: AutoTheta(season_length=season),
        "seasonal_naive": lambda: SeasonalNaive(season_length=season),
    }[kind]()
    begun = time.perf_counter()
    made = model.forecast(values, h=horizon, level=[20, 40, 60, 80])
    seconds = time.perf_counter() - begun
    bounds = [made[f"lo-{level}"] for level in (80, 60, 40, 20)], [made[f"hi-{level}"] for level in (20, 40, 60, 80)]
    return np.array([*bounds[0], made["mean"], *bounds[1]]), seconds


def peer(task):
    """One peer on one window: its quantiles `[level][lead]`, the seconds, and whether it failed."""
    warnings.simplefilter("ignore")
    kind, values, horizon, spec, arguments = task
    try:
        with np.errstate(all="ignore"):
            if kind == "fracast":
                quantiles, seconds = fracast(values, horizon)
            elif kind == "flaircast":
                quantiles, seconds = flaircast(values, horizon, spec, arguments)
            else:
                quantiles, seconds = statistical(kind, values, horizon, spec, arguments)
        if quantiles.shape == (len(LEVELS), horizon) and np.all(np.isfinite(quantiles)):
            return quantiles.astype(float), seconds, False
        reason = f"forecast of shape {quantiles.shape} with {np.sum(~np.isfinite(quantiles))} that are no numbers"
    except Exception as error:  # what a peer refuses is counted, not hidden
        reason = repr(error)
    known = values[~np.isnan(values)]
    return np.full((len(LEVELS), horizon), known[-1]), None, reason


class Scores:
    """The sums of each window's scores by one method; of all methods the same code."""

    def __init__(self, lines, paths):
        rows = [self.of(line, quantiles) for line, quantiles in zip(lines, paths)]
        columns = np.array(rows).T
        self.loss, self.error, self.magnitude, self.scaled, self.scaled_targets, self.inside, self.width, self.targets = columns

    @staticmethod
    def of(line, quantiles):
        target = np.array(line["target"], dtype=float)
        there = ~np.isnan(target)
        target, quantiles = target[there], np.asarray(quantiles, dtype=float)[:, there]
        error = target - quantiles
        levels = np.array(LEVELS)[:, None]
        loss = 2 * np.maximum(levels * error, (levels - 1) * error).sum() / len(LEVELS)
        absolute = np.abs(error[LEVELS.index(0.5)]).sum()
        unit = line["naive_error"]
        inside = ((quantiles[0] <= target) & (target <= quantiles[-1])).sum()
        scaled = (absolute / unit, len(target)) if unit else (0.0, 0)
        return (loss, absolute, np.abs(target).sum(), *scaled, inside, (quantiles[-1] - quantiles[0]).sum(), len(target))

    def row(self):
        magnitude, targets = self.magnitude.sum() or math.nan, self.targets.sum()
        scaled = self.scaled.sum() / self.scaled_targets.sum() if self.scaled_targets.sum() else math.nan
        return dict(mase=scaled, weighted_quantile_loss=self.loss.sum() / magnitude, nd=self.error.sum() / magnitude,
                    inside_80=self.inside.sum() / targets, relative_width_80=self.width.sum() / magnitude)


def ratio_interval(ours, other, series, resamples):
    """The ratio of two methods' losses, and the bounds of its 95 % interval over windows drawn within each series."""
    groups = [np.flatnonzero(series == one) for one in np.unique(series)]
    random = np.random.default_rng(1)
    sums = np.zeros((2, resamples))
    for group in groups:
        drawn = group[random.integers(0, len(group), (resamples, len(group)))]
        sums += [ours.loss[drawn].sum(axis=1), other.loss[drawn].sum(axis=1)]
    ratios = sums[0] / np.where(sums[1] > 0, sums[1], math.nan)
    return [float(ours.loss.sum() / other.loss.sum()), *(float(bound) for bound in np.nanquantile(ratios, [0.025, 0.975]))]


def agree(one, other):
    return one is None or other is None or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def compare(name, arguments, pool):
    spec = SETS[name]
    table = read(arguments.folder, name)
    table = table[spread(list(table.columns), arguments.series)]
    lines, report, seconds = foretide(arguments, name, table)
    say(f"{name}: {len(table.columns)} series, {len(lines)} windows, Foretide {seconds:.0f} s")
    if not lines:
        sys.exit(f"scripts/compare-peers: {name}: Foretide has no forecast of any window")
    horizon, series = report["horizon"], np.array([line["series"] for line in lines])
    ours = Scores(lines, [[line["quantiles"][str(level)] for level in LEVELS] for line in lines])
    for key in ("mase", "weighted_quantile_loss", "nd"):
        if not agree(report[key], ours.row()[key]):
            sys.exit(f"scripts/compare-peers: {name}: Foretide says {key} {report[key]}, this script {ours.row()[key]}")
    rows = [dict(method="foretide", **ours.row(), microseconds=report["microseconds"], failed=0, ratio=None)]
    values = {column: table[column].to_numpy() for column in table.columns}
    first = int(table.index.min())
    for kind in arguments.peers:
        begun = time.perf_counter()
        tasks = [(kind, values[line["series"]][: line["step"] - first + 1], horizon, spec, arguments) for line in lines]
        done = list(pool.map(peer, tasks, chunksize=max(1, len(tasks) // 32)))
        scores = Scores(lines, [quantiles for quantiles, _, _ in done])
        reasons = [failed for _, _, failed in done if failed]
        times = [spent for _, spent, _ in done if spent is not None]
        microseconds = 1e6 * float(np.median(times)) if times else None
        ratio = ratio_interval(ours, scores, series, arguments.resamples)
        rows.append(dict(method=kind, **scores.row(), microseconds=microseconds, failed=len(reasons), ratio=ratio))
        failures = f"; {len(reasons)} failed, such as {reasons[0]}" if reasons else ""
        say(f"{name}: {kind} {time.perf_counter() - begun:.0f} s{failures}")
    if arguments.keep:
        os.makedirs(arguments.keep, exist_ok=True)
        with open(f"{arguments.keep}/{name}.jsonl", "w") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)
    return dict(series=len(table.columns), windows=len(lines), horizon=horizon, season=report["season"],
                not_forecast=report["not_forecast"], seconds=seconds, results=rows)


def table_of(name, compared):
    lines = [f"{name}: {compared['series']} series, {compared['windows']} windows of {compared['horizon']} steps", "",
             "| method | MASE | WQL | ND | in 80 % | width / mean of y | µs a forecast | failed | Foretide's WQL / its (95 %) |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row in compared["results"]:
        micros = "" if row["microseconds"] is None else f"{row['microseconds']:.0f}"
        ratio = "" if row["ratio"] is None else "{:.3f} ({:.3f} to {:.3f})".format(*row["ratio"])
        lines.append(f"| {row['method']} | {row['mase']:.3f} | {row['weighted_quantile_loss']:.4f} | {row['nd']:.4f} | "
                     f"{100 * row['inside_80']:.1f} % | {row['relative_width_80']:.3f} | {micros} | {row['failed']} | {ratio} |")
    return "\n".join(lines) + "\n"


def means(compared, peers):
    """The geometric mean of the ratios over the sets, by peer."""
    found = {}
    for kind in peers:
        ratios = [row["ratio"][0] for one in compared.values() for row in one["results"] if row["method"] == kind]
        found[kind] = float(np.exp(np.mean(np.log(ratios))))
    return found


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare-peers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--foretide", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--folder", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=DEFAULT, metavar="NAME", help=f"of {', '.join(SETS)}")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--windows", type=int, default=20, help="windows of a series (default: 20)")
    parser.add_argument("--series", type=int, default=8, help="series of a set, at most (default: 8)")
    parser.add_argument("--no-training", dest="train", action="store_false", help="Foretide without training: faster")
    parser.add_argument("--context", type=int, default=1000, metavar="STEPS",
                        help="values that AutoETS and AutoTheta are fitted on, at most (default: 1000)")
    parser.add_argument("--flair-steps", type=int, default=20_000, metavar="STEPS",
                        help="values that flaircast sees, at most (default: 20000)")
    parser.add_argument("--resamples", type=int, default=2000, help="draws of the bootstrap (default: 2000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--keep", metavar="FOLDER", help="Foretide's windows of each set as FOLDER/NAME.jsonl")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    arguments = parser.parse_args()
    if arguments.windows < 1 or arguments.series < 1 or arguments.resamples < 1 or arguments.context < 100:
        parser.error("expected --windows, --series and --resamples of 1 or more and --context of 100 or more")
    compared = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name in arguments.sets:
            compared[name] = compare(name, arguments, pool)
            if not arguments.json:
                print(table_of(name, compared[name]), flush=True)
    over_sets = means(compared, arguments.peers)
    if arguments.json:
        print(json.dumps(dict(sets=compared, ratio=over_sets)))
    else:
        for kind, ratio in over_sets.items():
            print(f"weighted quantile loss, Foretide / {kind}: geometric mean over {len(compared)} sets {ratio:.3f}")


if __name__ == "__main__":
    main()
