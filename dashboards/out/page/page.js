// The region's board without Grafana: panels.json says what to show, Prometheus (same origin) has the values.

import { colour, draw, format } from "./chart.js";
import { TEXTS } from "./texts.js";

const API = "/ops/prometheus/api/v1/";
const REFRESH_SECONDS = 30;
const POINTS = 240;
const SEVERITY = { page: "critical", ticket: "warning" };
const SYMBOL = { ok: "✓", warning: "!", critical: "✕", unknown: "?" };

const $ = (id) => document.getElementById(id);
const choice = new URLSearchParams(location.search);
const state = {
  // sessionStorage ends with the tab; the token is in no URL, cookie or log.
  token: sessionStorage.getItem("token"),
  language: choice.get("lang") || localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en"),
  site: "", sites: [], definition: null, seen: null, answers: new Map(), timer: 0,
};

class Refused extends Error {}

async function ask(path, parameters) {
  const answer = await fetch(`${API}${path}?${new URLSearchParams(parameters)}`, {
    headers: { Authorization: `Bearer ${state.token}` }, cache: "no-store",
  });
  if (answer.status === 401 || answer.status === 403) throw new Refused(answer.status === 401 ? "refused" : "forbidden");
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return (await answer.json()).data;
}

const text = (key) => TEXTS[state.language][key];
const of = (both) => both[state.language];

function make(name, className, content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (content !== undefined) element.textContent = content;
  return element;
}

// --- structure: once for each language -----------------------------------------------------

function build() {
  document.documentElement.lang = state.language;
  document.title = of(state.definition.title);
  $("title").textContent = of(state.definition.title);
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  $("language").textContent = text("language");
  $("wall").textContent = text(document.body.classList.contains("wall") ? "wallOff" : "wall");
  if ($("site").options.length) $("site").options[0].textContent = text("allSites");
  $("rows").replaceChildren(...state.definition.rows.map((row) => {
    const section = make("section", row.detail ? "row detail" : "row");
    const grid = make("div", "grid");
    grid.append(...row.panels.map(frame));
    section.append(make("h2", "", of(row.title)), grid);
    return section;
  }));
}

function frame(panel) {
  const card = make("article", `panel ${panel.kind} w${panel.width}`);
  card.id = `panel-${panel.key}`;
  const head = make("header");
  head.append(make("h3", "", of(panel.title)), make("span", "state unknown", text("unknown")));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const good = make("p", "good");
  good.append(make("b", "", text("good")), ` ${of(panel.good)}`);
  if (panel.kind === "figure") card.append(head, make("p", "value", "–"), svg, good);
  else card.append(head, svg, make("ul", "legend"), good);
  return card;
}

// --- values: at each refresh ---------------------------------------------------------------

async function refresh() {
  clearTimeout(state.timer);
  try {
    const span = Number($("range").value);
    const step = Math.max(15, Math.ceil(span / POINTS));
    // On multiples of the step: Prometheus then answers the same points again, and lines do not jitter.
    const end = Math.floor(Date.now() / 1000 / step) * step, start = end - span;
    const panels = state.definition.rows.flatMap((row) => row.panels);
    const [alerts, sites] = await Promise.all([ask("alerts", {}), ask("label/site/values", {})]);
    state.sites = sites;
    await Promise.all(
      panels.map(async (panel) => {
        const answers = await Promise.all(panel.queries.map((query) => ask("query_range", {
          query: query.expr.replaceAll("$site", state.site || ".*"), start, end, step,
        })));
        state.answers.set(panel.key, {
          start, end, step,
          series: answers.flatMap((data, index) => data.result.map((one) => ({
            name: legend(panel.queries[index].legend, one.metric),
            site: one.metric.site,
            points: one.values.map(([t, v]) => [t, Number(v)]).filter((point) => Number.isFinite(point[1])),
          }))).filter((one) => one.points.length),
        });
        show(panel);
      }),
    );
    offerSites(sites);
    showAlerts(alerts.alerts);
    state.seen = new Date();
    $("freshness").className = "";
    $("freshness").textContent = `${text("updated")} ${state.seen.toLocaleTimeString(state.language)}`;
    document.body.classList.remove("old");
  } catch (error) {
    if (error instanceof Refused) return leave(error.message);
    document.body.classList.add("old");
    $("freshness").className = "away";
    $("freshness").textContent = `${text("away")} ${state.seen ? state.seen.toLocaleTimeString(state.language) : "–"}`;
  }
  state.timer = setTimeout(refresh, REFRESH_SECONDS * 1000);
}

function legend(template, labels) {
  const name = template.replace(/\{\{(\w+)\}\}/g, (_, label) => labels[label] || "").trim();
  return name || Object.values(labels).join(" ");
}

const last = (points) => points[points.length - 1][1];

// good, look or act, judged by the worst series' last value; a series that ended before the last points is not judged.
function judge(panel, { series, end, step }) {
  const current = series.filter((one) => end - one.points[one.points.length - 1][0] <= 3 * step).map((one) => last(one.points));
  if (!current.length) return "unknown";
  const limit = panel.threshold;
  if (!limit) return "ok";
  const worst = limit.above ? Math.max(...current) : Math.min(...current);
  const beyond = (bound) => (limit.above ? worst >= bound : worst <= bound);
  if (beyond(limit.critical)) return "critical";
  return beyond(limit.warning) ? "warning" : "ok";
}

function show(panel) {
  const answer = state.answers.get(panel.key);
  const card = $(`panel-${panel.key}`);
  if (!answer || !card) return;
  const verdict = judge(panel, answer);
  const badge = card.querySelector(".state");
  badge.className = `state ${verdict}`;
  badge.textContent = panel.threshold || verdict === "unknown" ? `${SYMBOL[verdict]} ${text(verdict)}` : "";
  card.dataset.state = verdict;
  colour(answer.series, state.sites);
  const worstFirst = [...answer.series].sort((a, b) => last(b.points) - last(a.points));
  if (panel.threshold && !panel.threshold.above) worstFirst.reverse();
  const value = worstFirst.length ? format(last(worstFirst[0].points), panel.unit) : text("noTraffic");
  if (panel.kind === "figure") {
    card.querySelector(".value").textContent = value;
    card.querySelector(".value").classList.toggle("empty", !worstFirst.length);
  } else {
    card.querySelector(".legend").replaceChildren(...entries(worstFirst, panel.unit));
  }
  // Last, because the text above decides how much room is left for the picture.
  draw(card.querySelector("svg"), worstFirst, {
    ...answer, unit: panel.unit, threshold: panel.threshold, spark: panel.kind === "figure",
    label: `${of(panel.title)}: ${value}`,
  });
}

function entries(worstFirst, unit) {
  if (!worstFirst.length) return [make("li", "none", text("noData"))];
  const shown = worstFirst.slice(0, document.body.classList.contains("wall") ? 3 : 8).map((one) => {
    const entry = make("li");
    const dot = make("span", "dot");
    dot.style.background = one.colour;
    entry.append(dot, make("span", "name", one.name), make("b", "", format(last(one.points), unit)));
    return entry;
  });
  const more = worstFirst.length - shown.length;
  return more > 0 ? [...shown, make("li", "more", `+ ${more}`)] : shown;
}

function showAlerts(alerts) {
  const firing = alerts.filter((alert) => alert.state === "firing" && alert.labels.severity in SEVERITY);
  firing.sort((a, b) => a.labels.severity.localeCompare(b.labels.severity) || a.activeAt.localeCompare(b.activeAt));
  if (!firing.length) {
    $("alerts").replaceChildren(make("p", "calm", `${SYMBOL.ok} ${text("noAlerts")}`));
    return;
  }
  $("alerts").replaceChildren(...firing.map((alert) => {
    const card = make("article", `alert ${SEVERITY[alert.labels.severity]}`);
    const started = new Date(alert.activeAt);
    const day = started.toDateString() === new Date().toDateString() ? "" : `${started.toLocaleDateString(state.language)} `;
    const time = started.toLocaleTimeString(state.language, { hour: "2-digit", minute: "2-digit" });
    card.append(
      make("b", "", `${text(alert.labels.severity)} · ${alert.labels.alertname}`),
      make("span", "", alert.annotations.summary || ""),
      make("small", "", `${text("since")} ${day}${time} · ${text("runbook")}: ${alert.annotations.runbook || "–"}`),
    );
    return card;
  }));
}

function offerSites(sites) {
  const select = $("site");
  const known = [...select.options].map((option) => option.value).join();
  if (known === ["", ...sites].join()) return;
  select.replaceChildren(new Option(text("allSites"), ""), ...sites.map((site) => new Option(site, site)));
  select.value = sites.includes(state.site) ? state.site : "";
}

// --- the door ------------------------------------------------------------------------------

function inside(yes) {
  $("door").hidden = yes;
  for (const element of [$("board"), $("leave"), $("wall"), ...document.querySelectorAll("nav label")]) element.hidden = !yes;
}

function enter() {
  inside(true);
  refresh();
}

function leave(reason) {
  clearTimeout(state.timer);
  sessionStorage.removeItem("token");
  state.token = null;
  state.answers.clear();
  inside(false);
  $("freshness").textContent = "";
  $("doorError").textContent = reason ? text(reason) : "";
  $("token").focus();
}

function redraw() {
  build();
  for (const row of state.definition.rows) row.panels.forEach(show);
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value.trim();
  $("token").value = "";
  sessionStorage.setItem("token", state.token);
  enter();
});
$("leave").addEventListener("click", () => leave());
$("language").addEventListener("click", () => {
  state.language = state.language === "zh" ? "en" : "zh";
  localStorage.setItem("language", state.language);
  redraw();
  if (state.token) refresh();
});
$("wall").addEventListener("click", () => {
  document.body.classList.toggle("wall");
  redraw();
  if (state.token) refresh();
});
$("site").addEventListener("change", () => { state.site = $("site").value; refresh(); });
$("range").addEventListener("change", refresh);
let resizing = 0;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => state.definition.rows.forEach((row) => row.panels.forEach(show)), 150);
});

state.definition = await (await fetch("panels.json")).json();
if (choice.has("wall")) document.body.classList.add("wall");
build();
if (state.token) enter(); else leave();
