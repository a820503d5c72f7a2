"use strict";
// Asks the daemon once a second and fills the page. What cannot be known is said, never guessed.

const PERIOD = 1000, PATIENCE = 5000, PAGE_SIZE = matchMedia("(max-width: 640px)").matches ? 12 : 24;
const { number, rarity, clock, finite } = charts;
const $ = (id) => document.getElementById(id);
const say = (id, text) => { const element = $(id); if (element.textContent !== text) element.textContent = text; };
const show = (id, visible) => { if ($(id).hidden === visible) $(id).hidden = !visible; };
const whole = (value) => (finite(value) ? value.toLocaleString("en") : "–");
const percent = (value, digits = 1) => (finite(value) ? (value * 100).toFixed(digits) + " %" : "–");
const signed = (value, digits = 1) => (finite(value) ? (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value * 100).toFixed(digits) + " %" : "–");
const moment = (millis) => `${clock(millis, 86400000)} ${clock(millis)}`;

function age(millis) {
  const seconds = Math.max(0, Math.round(millis / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}
function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit++; }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}
const element = (tag, kind, text) => {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
};
const link = (one) => `#/${encodeURIComponent(one.stream)}/${encodeURIComponent(one.series)}`;

const state = { search: "", stream: "", offset: 0, answered: null, opened: null };

async function ask(path, query) {
  // The origin leaves out a name and a password in the page's own address, with which a browser would refuse to ask.
  const address = location.origin + path + (query ? "?" + new URLSearchParams(query) : "");
  const answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

// --- the tiles ---------------------------------------------------------------------------------------------------
function tiles(all) {
  say("tile-series", whole(all.series));
  say("tile-series-note", all.series ? `${whole(all.shown)} drawn below` : "none yet");
  say("tile-observations", finite(all.observations_per_second) ? number(all.observations_per_second) : "–");
  say("tile-observations-note", `${number(all.observations)} in all` + (all.dead_letters ? `, ${number(all.dead_letters)} unusable` : ""));
  say("tile-forecasts", finite(all.forecasts_per_second) ? number(all.forecasts_per_second) : "–");
  say("tile-forecasts-note", `${number(all.forecasts)} in all`);
  say("tile-skill", signed(all.skill_last_value));
  $("tile-skill").className = finite(all.skill_last_value) ? (all.skill_last_value >= 0 ? "good" : "bad") : "";
  say("tile-skill-note", !finite(all.skill_last_value) ? "no forecast has matured yet"
    : finite(all.skill_seasonal_naive) ? `season: ${signed(all.skill_seasonal_naive)}` : "on the last value");
  const eighty = all.coverage.find(([share]) => Math.abs(share - 0.8) < 1e-6);
  say("tile-coverage", eighty ? percent(eighty[1]) : "–");
  const others = all.coverage.filter((one) => one !== eighty && finite(one[1]));
  say("tile-coverage-note", others.length ? others.map(([share, hit]) => `${Math.round(share * 100)}: ${percent(hit, 0)}`).join(", ") : eighty ? "" : "no such interval yet");
  const streams = all.streams, one = streams.length === 1 ? streams[0] : null;
  const newest = streams.filter((s) => finite(s.published)).sort((a, b) => b.published - a.published)[0];
  say("tile-weights", streams.length ? streams.map((s) => "v" + s.version).join(" ") : "–");
  say("tile-weights-note", newest ? `${one ? "" : newest.name + " "}${age(all.now - newest.published)} old` : streams.length ? "initial" : "");
  say("tile-lag", whole(all.lag));
  say("tile-lag-note", all.late ? `records; ${number(all.late)} came late` : "records behind");
}

// --- status -------------------------------------------------------------------------------------------------------
function status(all) {
  const parts = all.streams.flatMap((stream) => stream.partitions);
  const restoring = parts.filter((part) => part.state === "restoring");
  const left = restoring.reduce((sum, part) => sum + part.remaining, 0);
  $("status").dataset.state = all.ready.ok ? "ready" : "waiting";
  say("status", all.ready.ok ? "live" : restoring.length ? `restoring ${restoring.length} of ${parts.length} partitions, ${whole(left)} records to go` : "not ready");
  show("banner", !all.ready.ok);
  delete $("banner").dataset.state;
  if (!all.ready.ok) say("banner", `Not ready: ${all.ready.reason}.`);
  delete document.body.dataset.gone;
  say("title", all.title);
  document.title = all.title ? `${all.title} · Foretide` : "Foretide";
  say("footer", `Foretide ${all.version}. Times of the data are UTC.`);
}
function gone(error) {
  const since = state.answered === null ? "" : ` for ${age(Date.now() - state.answered)}`;
  $("status").dataset.state = "gone";
  say("status", "no answer");
  $("banner").dataset.state = "gone";
  show("banner", true);
  say("banner", `The daemon has not answered${since} (${error.name === "TimeoutError" ? "it takes too long" : error.message}).`
    + (state.answered === null ? " Is it running?" : " What you see below is the last it said."));
  document.body.dataset.gone = "yes";
  if ($("detail").open) say("detail-readout", `The daemon has not answered${since}.`);
}

// --- the grid -----------------------------------------------------------------------------------------------------
const cards = new Map();
function card(chart) {
  const root = element("a", "card"), head = element("header"), name = element("b", "", chart.series), value = element("span");
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
    root.toggleAttribute("data-anomalous", finite(chart.scores[last]) && chart.scores[last] >= chart.threshold);
    fan.update(chart);
  });
  state.offset = page.offset;
  show("grid-empty", page.series.length === 0);
  say("grid-empty", page.shown === 0 ? "No series yet. The first forecast appears when the first slot of a series closes."
    : `No series matches “${state.search}”.`);
  say("series-count", page.matching === page.shown ? whole(page.shown) : `${whole(page.matching)} of ${whole(page.shown)}`);
  show("pages", page.matching > PAGE_SIZE);
  say("page-number", `${page.offset + 1} to ${page.offset + page.series.length} of ${whole(page.matching)}`);
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

// --- skill, anomalies, training -----------------------------------------------------------------------------------
const skillCurves = charts.curves($("skill-chart"), (value) => (value * 100).toFixed(0) + " %", { zero: true });
const lossCurves = charts.curves($("loss-chart"), number);
function skill(all) {
  const samples = all.skill.filter((one) => finite(one.last_value));
  const enough = samples.length > 1, seasonal = samples.some((one) => finite(one.seasonal_naive));
  show("skill-empty", !enough);
  show("skill-legend", enough);
  show("seasonal-key", seasonal);
  $("skill-chart").toggleAttribute("hidden", !enough);
  const xs = samples.map((one) => one.at);
  if (enough) skillCurves([{ kind: "line-b", xs, ys: samples.map((one) => one.seasonal_naive) }, { kind: "line-a", xs, ys: samples.map((one) => one.last_value) }],
    all.promotions.filter((one) => one.verdict.kind === "promoted").map((one) => ({ at: one.at, kind: "promoted" })));
  const rows = all.streams.flatMap((stream) => stream.horizons.map((h) => ({ ...h, name: all.streams.length > 1 ? stream.name + " " : "" })));
  rows.forEach((row, i) => { row.from = i && rows[i - 1].name === row.name ? rows[i - 1].horizon + 1 : 1; });
  show("horizons", rows.some((row) => row.count > 0));
  const body = $("horizons").tBodies[0];
  body.replaceChildren(...rows.map((row) => {
    const line = element("tr"), eighty = row.coverage.find(([share]) => Math.abs(share - 0.8) < 1e-6);
    const tone = (value) => (finite(value) ? (value >= 0 ? "good" : "bad") : "");
    line.append(element("td", "", row.name + (row.from < row.horizon ? `${row.from}–${row.horizon}` : `${row.horizon}`)),
      element("td", tone(row.skill_last_value), signed(row.skill_last_value)),
      element("td", tone(row.skill_seasonal_naive), signed(row.skill_seasonal_naive)),
      element("td", "", eighty ? percent(eighty[1]) : "–"), element("td", "mixed", mixed(row.experts, 2)));
    line.lastChild.title = mixed(row.experts, row.experts.length);
    return line;
  }));
}
const mixed = (experts, most) => experts.slice(0, most).map(([name, share]) => `${name.replace("_", " ")} ${percent(share, 0)}`).join(", ") || "–";
/** Fills a list again only when what it shows has changed, so that it keeps its place while one scrolls or clicks. */
function list(id, items, row) {
  const root = $(id), print = JSON.stringify(items);
  if (root.dataset.print === print) return;
  root.dataset.print = print;
  root.replaceChildren(...items.map((item) => { const entry = element("li"); entry.append(row(item)); return entry; }));
}
function anomalies(all) {
  show("anomalies-empty", all.anomalies.length === 0);
  say("anomaly-count", all.anomaly_count ? `${whole(all.anomaly_count)} so far` : "");
  list("anomalies", all.anomalies, (one) => {
    const root = element(one.shown ? "a" : "div");
    if (one.shown) root.href = link(one);
    const wanted = one.expected ? `${number(one.value)} where ${number(one.expected[0])} to ${number(one.expected[1])} was expected` : number(one.value);
    root.append(element("b", "", one.series), element("span", "score", rarity(one.score)), element("small", "", wanted), element("small", "", moment(one.time)));
    return root;
  });
}
const WORDS = { promoted: "promoted", refused: "kept the old weights", rolled_back: "rolled back", failed: "round failed" };
function training(all) {
  const learning = all.streams.filter((stream) => stream.training);
  const losses = learning.map((stream, i) => ({ kind: i % 2 ? "line-b" : "line-a", xs: stream.training.at, ys: stream.training.loss }));
  const begun = losses.some((one) => one.xs.length > 1);
  show("training-empty", !begun && !all.promotions.length);
  $("loss-chart").toggleAttribute("hidden", !begun);
  if (begun) lossCurves(losses, all.promotions.map((one) => ({ at: one.at, kind: one.verdict.kind })));
  const busy = learning.filter((stream) => stream.training.step < stream.training.of);
  say("training-note", busy.length ? busy.map((stream) => `${all.streams.length > 1 ? stream.name + ": " : ""}step ${whole(stream.training.step)} of ${whole(stream.training.of)}`).join(", ")
    : begun ? "waiting for more history" : "");
  list("promotions", all.promotions, (one) => {
    const root = element("div"), both = finite(one.champion_loss) && finite(one.challenger_loss);
    const what = (all.streams.length > 1 ? one.stream + ": " : "") + (one.verdict.kind === "promoted" ? `v${one.version} promoted` : `v${one.version} ${one.verdict.kind === "rolled_back" ? "again: rolled back" : "stays"}`);
    const when = element("small", "", new Date(one.at).toLocaleTimeString("en-GB"));
    const figures = both ? `held-out loss ${one.champion_loss.toPrecision(4)} → ${one.challenger_loss.toPrecision(4)}` : one.verdict.reason || WORDS[one.verdict.kind];
    root.append(element("b", one.verdict.kind === "promoted" ? "good" : one.verdict.kind === "refused" ? "" : "bad", what), when,
      element("small", "", figures), element("small", "", both && one.champion_loss ? signed(one.challenger_loss / one.champion_loss - 1) : ""));
    if (one.verdict.reason) root.title = one.verdict.reason;
    return root;
  });
}

// --- one series ---------------------------------------------------------------------------------------------------
const detail = charts.fan($("detail-chart"), { large: true, tell: readout });
function readout(chart, at) {
  if (!chart) return;
  const target = $("detail-readout"), past = chart.times.length;
  const index = at === null ? past - 1 : at;
  const bold = (text) => element("b", "", text);
  if (index < past) {
    const score = chart.scores[index], expected = chart.expected[index];
    target.replaceChildren(moment(chart.times[index]) + "  observed ", bold(number(chart.values[index])),
      expected ? `, expected ${number(expected[0])} to ${number(expected[1])}` : "", score >= 0.9 ? `, as unusual as ${rarity(score)}` : "");
  } else {
    const lead = index - past, band = chart.bands.find((one) => Math.abs(one.share - 0.8) < 1e-6) || chart.bands[0];
    target.replaceChildren(moment(chart.ahead[lead]) + `  forecast ${lead + 1} ahead `, bold(number(chart.point[lead])),
      band ? `, ${Math.round(band.share * 100)} % between ${number(band.low[lead])} and ${number(band.high[lead])}` : "");
  }
}
function opened() {
  const match = /^#\/([^/]*)\/(.*)$/.exec(location.hash);
  try { return match && { stream: decodeURIComponent(match[1]), series: decodeURIComponent(match[2]) }; } catch { return null; }
}
function route() {
  state.opened = opened();
  const dialog = $("detail");
  if (!state.opened) { if (dialog.open) dialog.close(); return; }
  say("detail-name", state.opened.series);
  say("detail-stream", state.opened.stream);
  say("detail-readout", "");
  if (!dialog.open) dialog.showModal();
  refresh();
}
/** On a narrow screen the history shrinks, so that the forecast stays readable. */
function fitted(chart) {
  const keep = innerWidth > 640 ? chart.times.length : Math.max(48, 3 * chart.ahead.length);
  const cut = (list) => list.slice(-keep);
  return { ...chart, times: cut(chart.times), values: cut(chart.values), scores: cut(chart.scores), expected: cut(chart.expected) };
}
function large(chart) {
  show("detail-empty", !chart);
  $("detail-chart").toggleAttribute("hidden", !chart);
  if (!chart) {
    say("detail-empty", "This series is not drawn here. The page keeps the first series to come, and those with the latest anomalies; its forecasts are in the output topic all the same.");
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

// --- the round ----------------------------------------------------------------------------------------------------
let round = 0, timer = null;
async function refresh() {
  clearTimeout(timer);
  const mine = ++round, which = state.opened;
  try {
    const query = { search: state.search, stream: state.stream, offset: state.offset, limit: PAGE_SIZE };
    const [all, page, chart] = await Promise.all([ask("/api/overview"), ask("/api/series", query), which && ask("/api/chart", which)]);
    if (mine !== round) return;
    state.answered = Date.now();
    for (const part of [status, tiles, streams, skill, anomalies, training]) part(all);
    grid(page);
    if (which) large(chart);
  } catch (error) {
    if (mine !== round) return;
    gone(error);
  }
  if (!document.hidden) timer = setTimeout(refresh, PERIOD);
}

const turn = (offset) => { state.offset = Math.max(0, offset); refresh(); };
$("search").addEventListener("input", (event) => { state.search = event.target.value.trim(); turn(0); });
$("stream").addEventListener("change", (event) => { state.stream = event.target.value; turn(0); });
$("previous").addEventListener("click", () => turn(state.offset - PAGE_SIZE));
$("next").addEventListener("click", () => turn(state.offset + PAGE_SIZE));
$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("close", () => { if (location.hash.length > 1) history.pushState(null, "", location.pathname); state.opened = null; });
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
addEventListener("hashchange", route);
addEventListener("popstate", route);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
route();
if (!state.opened) refresh();
