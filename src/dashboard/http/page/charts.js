"use strict";
// Drawing only: values in, SVG out. A chart keeps its elements and changes their attributes, so nothing flickers.

const charts = (() => {
  const make = (parent, tag, kind) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    if (kind) element.setAttribute("class", kind);
    parent.append(element);
    return element;
  };
  const set = (element, values) => {
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  };
  const finite = (value) => typeof value === "number" && Number.isFinite(value);
  const place = (from, to, start, end) => (value) => start + ((value - from) / (to - from || 1)) * (end - start);
  const round = (value) => Math.round(value * 10) / 10;

  /** A path through the points; it breaks where a value is missing or `gap(i)` says so. */
  function line(xs, ys, gap = () => false) {
    let path = "", pen = false;
    for (let i = 0; i < xs.length; i++) {
      if (!finite(ys[i])) { pen = false; continue; }
      path += (pen && !gap(i) ? "L" : "M") + round(xs[i]) + " " + round(ys[i]);
      pen = true;
    }
    return path;
  }

  /** The area between two paths, broken where either is missing. */
  function area(xs, lows, highs) {
    let path = "", run = [];
    const close = () => {
      if (run.length > 1) {
        path += "M" + run.map((i) => round(xs[i]) + " " + round(highs[i])).join("L")
          + "L" + run.reverse().map((i) => round(xs[i]) + " " + round(lows[i])).join("L") + "Z";
      }
      run = [];
    };
    for (let i = 0; i < xs.length; i++) {
      if (finite(lows[i]) && finite(highs[i])) run.push(i); else close();
    }
    close();
    return path;
  }

  /** Round numbers between two ends, about `count` of them. */
  function ticks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((x) => x * power).find((x) => x >= rough) || power;
    const all = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9 && all.length < 20; value += step) {
      all.push(Math.abs(value) < step * 1e-9 ? 0 : value);
    }
    return all;
  }

  /** Distances between two ticks of a time axis, in milliseconds: one second to one year. */
  const STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000,
    31536000].map((seconds) => seconds * 1000);
  function timeTicks(from, to, count) {
    const least = (to - from) / count, year = STEPS[STEPS.length - 1];
    const step = STEPS.find((x) => x >= least) || year * Math.ceil(least / year);
    const all = [];
    for (let at = Math.ceil(from / step) * step; at <= to && all.length < 20; at += step) all.push(at);
    return { all, step };
  }
  const two = (value) => String(value).padStart(2, "0");
  function clock(millis, step = 60000) {
    const d = new Date(millis);
    if (step >= 86400000) return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
    const time = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
    return step < 60000 ? `${time}:${two(d.getUTCSeconds())}` : time;
  }

  /** An anomaly score in 0..1 as a frequency: 0.99 is "1 in 100". */
  function frequency(score) {
    if (!finite(score)) return "–";
    if (score > 1 - 1e-6) return "1 in a million";
    return `1 in ${Number((1 / (1 - score)).toPrecision(2)).toLocaleString("en")}`;
  }

  /** A number with about three significant digits. */
  function number(value) {
    if (!finite(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(2);
    if (size >= 1e5) return value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 2 });
    const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return value.toLocaleString("en", { maximumFractionDigits: digits });
  }

  /**
   * A fan chart. A `large` one has axes and a cross-hair: `onHover(chart, index)` gets the index into the history and
   * the horizon behind it, or null when the pointer leaves.
   */
  function fan(svg, { large = false, onHover = () => {} } = {}) {
    const axes = make(svg, "g"), bands = make(svg, "g");
    const expected = make(svg, "path", "expected"), now = make(svg, "line", "now");
    const history = make(svg, "path", "line history"), point = make(svg, "path", "line point");
    const dots = make(svg, "g"), cross = make(svg, "line", "cross");
    cross.setAttribute("visibility", "hidden");
    let range = null, name = "", drawn = null, pointer = null;
    new ResizeObserver(() => { if (drawn) update(drawn); }).observe(svg);

    // The scale changes only when it must. A chart that gains a point a second would flicker otherwise.
    function scale(chart) {
      const key = chart.stream + "\n" + chart.series;
      const values = [...chart.values, ...chart.point].filter(finite);
      const least = Math.min(...values), most = Math.max(...values);
      const ends = chart.bands.flatMap((band) => [...band.low, ...band.high]).filter(finite);
      // An untrained forecaster has wide bands. They may not flatten the curve of the values.
      const room = (most - least) * 3 || Infinity;
      let low = Math.max(Math.min(least, ...ends), least - room), high = Math.min(Math.max(most, ...ends), most + room);
      if (low === high) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
      const span = high - low;
      if (name !== key || !range || low < range[0] || high > range[1] || span < (range[1] - range[0]) * 0.7) {
        range = [low - span * 0.07, high + span * 0.07];
        name = key;
      }
      return range;
    }

    function update(chart) {
      drawn = chart;
      const width = svg.clientWidth || 260, height = svg.clientHeight || 92;
      set(svg, { viewBox: `0 0 ${width} ${height}` });
      if (!chart.values.some(finite)) return;
      const [low, high] = scale(chart);
      const times = [...chart.times, ...chart.ahead];
      const left = large ? 56 : 1, bottom = large ? 24 : 2;
      const x = place(times[0], times[times.length - 1], left, width - (large ? 12 : 3));
      const y = place(low, high, height - bottom, large ? 8 : 3);
      const last = chart.times.length - 1, origin = chart.times[last], lastValue = chart.values[last];
      const xs = chart.times.map(x), ys = chart.values.map(y);
      const gaps = chart.times.map((at, i) => (i ? at - chart.times[i - 1] : 0));
      const median = [...gaps].sort((a, b) => a - b)[Math.floor(gaps.length / 2)] || 0;
      set(history, { d: line(xs, ys, (i) => median > 0 && gaps[i] > median * 2.5) });
      const side = (which) => chart.expected.map((interval) => interval && y(interval[which]));
      set(expected, { d: area(xs, side(0), side(1)) });
      const ahead = [x(origin), ...chart.ahead.map(x)];
      set(point, { d: line(ahead, [y(lastValue), ...chart.point.map(y)]) });
      while (bands.childElementCount < chart.bands.length) make(bands, "path", "band");
      while (bands.childElementCount > chart.bands.length) bands.lastChild.remove();
      chart.bands.forEach((band, i) => {
        const edge = (side) => [y(lastValue), ...side.map((value) => finite(value) && y(value))];
        set(bands.children[i], { d: area(ahead, edge(band.low), edge(band.high)) });
      });
      set(now, { x1: round(x(origin)), x2: round(x(origin)), y1: 0, y2: height - bottom });
      const marked = chart.anomalous.flatMap((anomalous, i) => (anomalous && finite(ys[i]) ? [i] : []));
      while (dots.childElementCount < marked.length) make(dots, "circle", "dot");
      while (dots.childElementCount > marked.length) dots.lastChild.remove();
      marked.forEach((at, i) => set(dots.children[i], { cx: round(xs[at]), cy: round(ys[at]), r: large ? 4.5 : 3.2 }));
      if (large) grid(times, low, high, x, y, left, width, height);
      if (pointer !== null) hover(pointer);
    }

    function grid(times, low, high, x, y, left, width, height) {
      axes.replaceChildren();
      for (const value of ticks(low, high, 6)) {
        const rule = make(axes, "line", "rule"), text = make(axes, "text");
        set(rule, { x1: left, x2: width, y1: round(y(value)), y2: round(y(value)) });
        set(text, { x: left - 8, y: round(y(value)) + 4, "text-anchor": "end" });
        text.textContent = number(value);
      }
      const { all, step } = timeTicks(times[0], times[times.length - 1], Math.max(2, Math.floor(width / 110)));
      for (const at of all) {
        const text = make(axes, "text");
        set(text, { x: round(x(at)), y: height - 6, "text-anchor": x(at) > width - 30 ? "end" : "middle" });
        text.textContent = at % 86400000 === 0 ? clock(at, 86400000) : clock(at, step);
      }
    }

    function hover(clientX) {
      if (!drawn) return;
      pointer = clientX;
      const box = svg.getBoundingClientRect(), times = [...drawn.times, ...drawn.ahead];
      const at = place(56, box.width - 12, times[0], times[times.length - 1])(clientX - box.left);
      let best = 0;
      times.forEach((time, i) => { if (Math.abs(time - at) < Math.abs(times[best] - at)) best = i; });
      const x = place(times[0], times[times.length - 1], 56, box.width - 12)(times[best]);
      set(cross, { x1: round(x), x2: round(x), y1: 0, y2: box.height - 24, visibility: "visible" });
      onHover(drawn, best);
    }
    if (large) {
      svg.addEventListener("pointermove", (event) => hover(event.clientX));
      svg.addEventListener("pointerleave", () => {
        pointer = null;
        cross.setAttribute("visibility", "hidden");
        onHover(drawn, null);
      });
    }
    return { update };
  }

  /** Curves over wall time: `series` is [{ kind, xs, ys }], `marks` are [{ at, kind }]. */
  function curves(svg, format, { zero = false } = {}) {
    let latest = null;
    new ResizeObserver(() => { if (latest) draw(...latest); }).observe(svg);
    return draw;

    function draw(series, marks) {
      latest = [series, marks];
      const width = svg.clientWidth || 348, height = svg.clientHeight || 132;
      set(svg, { viewBox: `0 0 ${width} ${height}` });
      svg.replaceChildren();
      const xs = series.flatMap((one) => one.xs), ys = series.flatMap((one) => one.ys).filter(finite);
      if (!ys.length) return;
      // The first samples of a run may be extreme. The scale follows all but the outermost 2 % at either end.
      const sorted = [...ys].sort((a, b) => a - b), cut = Math.floor(sorted.length / 50);
      let low = sorted[cut], high = sorted[sorted.length - 1 - cut];
      if (zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
      const span = high - low || Math.abs(high) || 1;
      low -= span * 0.08; high += span * 0.08;
      const from = Math.min(...xs), to = Math.max(...xs);
      const x = place(from, to, 44, width - 4), y = place(low, high, height - 20, 6);
      for (const value of ticks(low, high, 4)) {
        const rule = make(svg, "line", zero && value === 0 ? "zero" : "rule"), text = make(svg, "text");
        set(rule, { x1: 44, x2: width, y1: round(y(value)), y2: round(y(value)) });
        set(text, { x: 38, y: round(y(value)) + 4, "text-anchor": "end" });
        text.textContent = format(value);
      }
      for (const mark of marks) {
        if (mark.at < from || mark.at > to) continue;
        const line = make(svg, "line", "mark " + mark.kind);
        set(line, { x1: round(x(mark.at)), x2: round(x(mark.at)), y1: 2, y2: height - 20 });
      }
      const inside = (value) => (finite(value) ? Math.min(Math.max(y(value), 2), height - 20) : null);
      for (const curve of series) {
        set(make(svg, "path", "line " + curve.kind), { d: line(curve.xs.map(x), curve.ys.map(inside)) });
      }
      for (const [at, anchor] of [[from, "start"], [to, "end"]]) {
        const text = make(svg, "text");
        set(text, { x: round(x(at)), y: height - 4, "text-anchor": anchor });
        const local = new Date(at);
        text.textContent = `${two(local.getHours())}:${two(local.getMinutes())}:${two(local.getSeconds())}`;
      }
    }
  }

  return { fan, curves, number, frequency, clock, finite };
})();
