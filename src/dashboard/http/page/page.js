"use strict";
// Polls the daemon once a second and fills the page. A figure that is unknown is shown as "–", never guessed.

const PERIOD = 1000, TIMEOUT = 5000, PAGE_SIZE = matchMedia("(max-width: 640px)").matches ? 12 : 24;
const { number, frequency, clock, finite } = charts;
const $ = (id) => document.getElementById(id);
const setText = (id, text) => { const node = $(id); if (node.textContent !== text) node.textContent = text; };
const show = (id, visible) => { if ($(id).hidden === visible) $(id).hidden = !visible; };
const whole = (value) => (finite(value) ? value.toLocaleString("en") : "–");
const percent = (value, digits = 1) => (finite(value) ? (value * 100).toFixed(digits) + " %" : "–");
const sign = (value) => (value > 0 ? "+" : value < 0 ? "−" : "");
const signed = (value) => (finite(value) ? sign(value) + Math.abs(value * 100).toFixed(1) + " %" : "–");
const tone = (value) => (finite(value) ? (value >= 0 ? "good" : "bad") : "");
const moment = (millis) => `${clock(millis, 86400000)} ${clock(millis)}`;

function age(millis) {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}
const element = (tag, kind, text) => {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
};
const link = (one) => `#/${encodeURIComponent(one.stream)}/${encodeURIComponent(one.series)}`;
/** The 80 % interval of a list of [nominal share, covered share] pairs. */
const eighty = (coverage) => coverage.find(([share]) => Math.abs(share - 0.8) < 1e-6);

const state = { search: "", stream: "", offset: 0, answered: null, opened: null };

async function ask(path, query) {
  // The origin has no user name and password. A browser refuses to fetch an address that carries them.
  const address = location.origin + path + (query ? "?" + new URLSearchParams(query) : "");
  const answer = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT) });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

// --- the tiles ---------------------------------------------------------------------------------------------------
function tiles(all) {
  setText("tile-series", whole(all.series));
  setText("tile-series-note", all.series ? `${whole(all.shown)} with a chart` : "none yet");
  setText("tile-observations", finite(all.observations_per_second) ? number(all.observations_per_second) : "–");
  const rejected = all.dead_letters ? `, ${number(all.dead_letters)} rejected` : "";
  setText("tile-observations-note", `${number(all.observations)}${rejected || " in all"}`);
  setText("tile-forecasts", finite(all.forecasts_per_second) ? number(all.forecasts_per_second) : "–");
  setText("tile-forecasts-note", `${number(all.forecasts)} in all`);
  setText("tile-skill", signed(all.skill_last_value));
  $("tile-skill").className = tone(all.skill_last_value);
  setText("tile-skill-note", !finite(all.skill_last_value) ? "no forecast has matured yet"
    : finite(all.skill_seasonal_naive) ? `seasonal: ${signed(all.skill_seasonal_naive)}` : "against the last value");
  const main = eighty(all.coverage);
  setText("tile-coverage", main ? percent(main[1]) : "–");
  const others = all.coverage.filter((one) => one !== main && finite(one[1]));
  setText("tile-coverage-note", others.length
    ? others.map(([share, covered]) => `${Math.round(share * 100)}: ${percent(covered, 0)}`).join(", ")
    : main ? "" : "no such interval yet");
  const single = all.streams.length === 1;
  const newest = all.streams.filter((one) => finite(one.published)).sort((a, b) => b.published - a.published)[0];
  setText("tile-weights", all.streams.map((one) => "v" + one.version).join(" ") || "–");
  setText("tile-weights-note", newest ? `${single ? "" : newest.name + " "}${age(all.now - newest.published)} old`
    : all.streams.length ? "initial" : "");
  setText("tile-lag", finite(all.lag) ? whole(all.lag) : "–");
  setText("tile-lag-note", all.late ? `records; ${number(all.late)} late` : finite(all.lag) ? "records behind"
    : "unknown");
}

// --- status -------------------------------------------------------------------------------------------------------
function status(all) {
  const partitions = all.streams.flatMap((stream) => stream.partitions);
  const restoring = partitions.filter((one) => one.state === "restoring");
  const left = restoring.reduce((sum, one) => sum + one.remaining, 0);
  const degraded = all.ready.degraded || [];
  $("status").dataset.state = all.ready.ok && !degraded.length ? "ready" : "waiting";
  setText("status", all.ready.ok ? (degraded.length ? "degraded" : "live") : !restoring.length ? "not ready"
    : `restoring ${restoring.length} of ${partitions.length} partitions, ${whole(left)} records to go`);
  show("banner", !all.ready.ok || degraded.length > 0);
  delete $("banner").dataset.state;
  setText("banner", !all.ready.ok ? `Not ready: ${all.ready.reason}.` : degraded.map((one) => `${one}.`).join(" "));
  delete document.body.dataset.gone;
  setText("title", all.title);
  document.title = all.title ? `${all.title} · Foretide` : "Foretide";
  setText("footer", `Foretide ${all.version}. Times of the data are UTC.`);
}
function gone(error) {
  const since = state.answered === null ? "" : ` for ${age(Date.now() - state.answered)}`;
  const reason = error.name === "TimeoutError" ? "it takes too long" : error.message;
  $("status").dataset.state = "gone";
  setText("status", "no answer");
  $("banner").dataset.state = "gone";
  show("banner", true);
  setText("banner", `The daemon has not answered${since} (${reason}).`
    + (state.answered === null ? " Is it running?" : " The figures below are the last ones received."));
  document.body.dataset.gone = "yes";
  if ($("detail").open) setText("detail-readout", `The daemon has not answered${since}.`);
}

// --- the grid -----------------------------------------------------------------------------------------------------
const cards = new Map();
function card(chart) {
  const root = element("a", "card"), head = element("header");
  const name = element("b", "", chart.series), value = element("span");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  root.href = link(chart);
  root.title = `${chart.series} (${chart.stream})`;
  head.append(name, value);
  root.append(head, svg);
  return { root, value, fan: charts.fan(svg) };
}
function grid(page) {
  const keys = page.series.map(link);
  for (const [key, old] of cards) if (!keys.includes(key)) { old.root.remove(); cards.delete(key); }
  page.series.forEach((chart, place) => {
    const key = keys[place];
    if (!cards.has(key)) cards.set(key, card(chart));
    const { root, value, fan } = cards.get(key);
    if ($("grid").children[place] !== root) $("grid").insertBefore(root, $("grid").children[place] || null);
    const last = chart.values.length - 1, latest = number(chart.values[last]);
    if (value.textContent !== latest) value.textContent = latest;
    root.toggleAttribute("data-anomalous", chart.anomalous[last] === true);
    fan.update(chart);
  });
  state.offset = page.offset;
  show("grid-empty", page.series.length === 0);
  setText("grid-empty", page.shown > 0 ? `No series matches “${state.search}”.`
    : "No series yet. The first forecast appears when the first slot of a series closes.");
  const every = page.matching === page.shown;
  setText("series-count", every ? whole(page.shown) : `${whole(page.matching)} of ${whole(page.shown)}`);
  show("pages", page.matching > PAGE_SIZE);
  setText("page-number", `${page.offset + 1} to ${page.offset + page.series.length} of ${whole(page.matching)}`);
  $("previous").disabled = page.offset === 0;
  $("next").disabled = page.offset + PAGE_SIZE >= page.matching;
}
function streams(all) {
  const names = all.streams.map((stream) => stream.name), select = $("stream");
  show("stream-label", names.length > 1);
  if (select.childElementCount === names.length + 1) return;
  select.replaceChildren(new Option("All streams", ""), ...names.map((name) => new Option(name, name)));
  select.value = state.stream;
}

// --- skill and the experts' weights -------------------------------------------------------------------------------
const skillCurves = charts.curves($("skill-chart"), (value) => (value * 100).toFixed(0) + " %", { zero: true });
function skill(all) {
  const samples = all.skill.filter((one) => finite(one.last_value));
  const enough = samples.length > 1;
  show("skill-empty", !enough);
  show("skill-legend", enough);
  show("seasonal-key", samples.some((one) => finite(one.seasonal_naive)));
  $("skill-chart").toggleAttribute("hidden", !enough);
  const xs = samples.map((one) => one.at);
  const promoted = all.training_outcomes.filter((one) => one.decision.kind === "promoted");
  if (enough) skillCurves([
    { kind: "line-b", xs, ys: samples.map((one) => one.seasonal_naive) },
    { kind: "line-a", xs, ys: samples.map((one) => one.last_value) },
  ], promoted.map((one) => ({ at: one.at, kind: "promoted" })));
  const scored = all.streams.filter((stream) => stream.horizons.some((one) => one.count > 0));
  show("horizons", scored.length > 0);
  show("experts-legend", scored.length > 0);
  const table = $("horizons");
  for (const body of [...table.tBodies]) body.remove();
  table.append(...scored.map((stream) => horizons(stream, all.streams.length > 1)));
  $("experts-legend").replaceChildren(...[...expertColours].map(([name, colour]) => {
    const entry = element("span");
    entry.append(element("b", `key expert expert-${colour}`), name.replaceAll("_", " "));
    return entry;
  }));
}
/** Expert name to colour, in the order of first appearance: a colour never changes while the page is open. */
const expertColours = new Map();
function horizons(stream, named) {
  const body = element("tbody");
  if (named) {
    const head = element("th", "", stream.name), row = element("tr");
    head.colSpan = 4;
    row.append(head);
    body.append(row);
  }
  let from = 1;
  for (const one of stream.horizons) {
    const row = element("tr"), mix = element("tr"), cell = element("td", "mix"), covered = eighty(one.coverage);
    row.append(element("td", "", from < one.horizon ? `${from}–${one.horizon}` : `${one.horizon}`),
      element("td", tone(one.skill_last_value), signed(one.skill_last_value)),
      element("td", tone(one.skill_seasonal_naive), signed(one.skill_seasonal_naive)),
      element("td", "", covered ? percent(covered[1]) : "–"));
    cell.colSpan = 4;
    cell.append(weightsBar(one.experts));
    mix.append(cell);
    body.append(row, mix);
    from = one.horizon + 1;
  }
  return body;
}
/** The experts' weights as one bar; its tooltip has the figures. */
function weightsBar(experts) {
  const bar = element("div", "bar");
  let rest = 1;
  for (const [name, share] of experts) {
    if (!expertColours.has(name)) expertColours.set(name, expertColours.size % 6);
    const part = element("span", `expert-${expertColours.get(name)}`);
    part.style.flexGrow = Math.max(share, 0);
    rest -= Math.max(share, 0);
    bar.append(part);
  }
  if (rest > 0.005) {
    bar.append(element("span", "rest"));
    bar.lastChild.style.flexGrow = rest;
  }
  bar.title = experts.map(([name, share]) => `${name.replaceAll("_", " ")} ${percent(share, 0)}`).join(", ");
  return bar;
}

// --- anomalies and training ---------------------------------------------------------------------------------------
/** Fills a list again only when its contents have changed, so that it keeps its place while one scrolls or clicks. */
function list(id, items, row) {
  const root = $(id), print = JSON.stringify(items);
  if (root.dataset.print === print) return;
  root.dataset.print = print;
  root.replaceChildren(...items.map((item) => {
    const entry = element("li");
    entry.append(row(item));
    return entry;
  }));
}
function anomalies(all) {
  show("anomalies-empty", all.anomalies.length === 0);
  setText("anomaly-count", all.anomalous ? `${whole(all.anomalous)} anomalous values` : "");
  list("anomalies", all.anomalies, (one) => {
    const root = element(one.shown ? "a" : "div");
    if (one.shown) root.href = link(one);
    const expected = one.expected && `${number(one.expected[0])} to ${number(one.expected[1])}`;
    const value = expected ? `${number(one.value)} where ${expected} was expected` : number(one.value);
    root.append(element("b", "", one.series), element("span", "score", frequency(one.score)),
      element("small", "", value), element("small", "", moment(one.time)));
    return root;
  });
}
const lossCurves = charts.curves($("loss-chart"), number);
const DECISIONS = { promoted: "promoted", refused: "refused", rolled_back: "rolled back", failed: "round failed" };
function training(all) {
  const learning = all.streams.filter((stream) => stream.training);
  const curve = ({ training }, i) => ({ kind: i % 2 ? "line-b" : "line-a", xs: training.at, ys: training.loss });
  const losses = learning.map(curve);
  const begun = losses.some((one) => one.xs.length > 1);
  show("training-empty", !begun && !all.training_outcomes.length);
  $("loss-chart").toggleAttribute("hidden", !begun);
  if (begun) lossCurves(losses, all.training_outcomes.map((one) => ({ at: one.at, kind: one.decision.kind })));
  const prefix = (name) => (all.streams.length > 1 ? name + ": " : "");
  const busy = learning.filter(({ training }) => training.step < training.steps);
  const progress = ({ name, training }) => `${prefix(name)}step ${whole(training.step)} of ${whole(training.steps)}`;
  setText("training-note", busy.length ? busy.map(progress).join(", ") : begun ? "waiting for more history" : "");
  list("outcomes", all.training_outcomes, (one) => {
    const root = element("div"), { kind, reason } = one.decision;
    const both = finite(one.champion_loss) && finite(one.challenger_loss);
    const change = { promoted: "promoted", rolled_back: "again: challenger rolled back" }[kind] ?? "stays";
    const [before, after] = both ? [one.champion_loss.toPrecision(4), one.challenger_loss.toPrecision(4)] : [];
    const losses = both && `validation loss ${before} → ${after}`;
    root.append(
      element("b", { promoted: "good", refused: "" }[kind] ?? "bad", `${prefix(one.stream)}v${one.version} ${change}`),
      element("small", "", new Date(one.at).toLocaleTimeString("en-GB")),
      element("small", "", losses || reason || DECISIONS[kind]),
      element("small", "", both && one.champion_loss ? signed(one.challenger_loss / one.champion_loss - 1) : ""));
    if (reason) root.title = reason;
    return root;
  });
}

// --- one series ---------------------------------------------------------------------------------------------------
const detail = charts.fan($("detail-chart"), { large: true, onHover: readout });
function readout(chart, at) {
  if (!chart) return;
  const target = $("detail-readout"), past = chart.times.length;
  const index = at === null ? past - 1 : at;
  const bold = (text) => element("b", "", text);
  if (index < past) {
    const score = chart.scores[index], expected = chart.expected[index];
    target.replaceChildren(moment(chart.times[index]) + "  observed ", bold(number(chart.values[index])),
      expected ? `, expected ${number(expected[0])} to ${number(expected[1])}` : "",
      finite(score) ? `, anomaly score ${score.toFixed(4)}` : "",
      chart.anomalous[index] ? ` (anomalous, ${frequency(score)})` : "");
  } else {
    const lead = index - past;
    const band = chart.bands.find((one) => Math.abs(one.share - 0.8) < 1e-6) || chart.bands[0];
    const within = (band) => `${number(band.low[lead])} and ${number(band.high[lead])}`;
    const label = `${moment(chart.ahead[lead])}  forecast, step ${lead + 1}: `;
    target.replaceChildren(label, bold(number(chart.point[lead])),
      band ? `, ${Math.round(band.share * 100)} % between ${within(band)}` : "");
  }
}
function opened() {
  const match = /^#\/([^/]*)\/(.*)$/.exec(location.hash);
  try {
    return match && { stream: decodeURIComponent(match[1]), series: decodeURIComponent(match[2]) };
  } catch {
    return null;
  }
}
function route() {
  state.opened = opened();
  const dialog = $("detail");
  if (!state.opened) {
    if (dialog.open) dialog.close();
    return;
  }
  setText("detail-name", state.opened.series);
  setText("detail-stream", state.opened.stream);
  setText("detail-readout", "");
  if (!dialog.open) dialog.showModal();
  refresh();
}
/** On a narrow screen the history is cut, so that the forecast stays readable. */
function fitted(chart) {
  const keep = innerWidth > 640 ? chart.times.length : Math.max(48, 3 * chart.ahead.length);
  const cut = ["times", "values", "scores", "anomalous", "expected"].map((key) => [key, chart[key].slice(-keep)]);
  return { ...chart, ...Object.fromEntries(cut) };
}
function large(chart) {
  show("detail-empty", !chart);
  $("detail-chart").toggleAttribute("hidden", !chart);
  if (!chart) {
    setText("detail-empty", "This series has no chart here. The page keeps the first series that appear and those with"
      + " the latest anomalies. The forecasts of the others are in the output topic all the same.");
    return;
  }
  chart = fitted(chart);
  detail.update(chart);
  if ($("detail-chart").querySelector(".cross").getAttribute("visibility") === "hidden") readout(chart, null);
  const names = chart.bands.map((band) => `${Math.round(band.share * 100)} %`).join();
  if ($("detail-bands").dataset.names === names) return;
  $("detail-bands").dataset.names = names;
  $("detail-bands").replaceChildren(...chart.bands.map((band, i) => {
    const root = element("span");
    root.append(element("b", `key band band-${i}`), `${Math.round(band.share * 100)} %`);
    return root;
  }));
}

// --- polling ------------------------------------------------------------------------------------------------------
let latest = 0, timer = null;
async function refresh() {
  clearTimeout(timer);
  const mine = ++latest, which = state.opened;
  try {
    const query = { search: state.search, stream: state.stream, offset: state.offset, limit: PAGE_SIZE };
    const asked = [ask("/api/overview"), ask("/api/series", query), which && ask("/api/chart", which)];
    const [all, page, chart] = await Promise.all(asked);
    if (mine !== latest) return;
    state.answered = Date.now();
    for (const part of [status, tiles, streams, skill, anomalies, training]) part(all);
    grid(page);
    if (which) large(chart);
  } catch (error) {
    if (mine !== latest) return;
    gone(error);
  }
  if (!document.hidden) timer = setTimeout(refresh, PERIOD);
}

const turnTo = (offset) => { state.offset = Math.max(0, offset); refresh(); };
$("search").addEventListener("input", (event) => { state.search = event.target.value.trim(); turnTo(0); });
$("stream").addEventListener("change", (event) => { state.stream = event.target.value; turnTo(0); });
$("previous").addEventListener("click", () => turnTo(state.offset - PAGE_SIZE));
$("next").addEventListener("click", () => turnTo(state.offset + PAGE_SIZE));
$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("close", () => {
  if (location.hash.length > 1) history.pushState(null, "", location.pathname);
  state.opened = null;
});
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
addEventListener("hashchange", route);
addEventListener("popstate", route);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
route();
if (!state.opened) refresh();
