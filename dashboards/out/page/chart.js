// Line charts in SVG: small, because the page shows lines and one dashed limit, and nothing else.

const SVG = "http://www.w3.org/2000/svg";
// Okabe and Ito's palette: told apart by the colour-blind, on light and on dark ground.
export const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c00", "#7f7f7f"];

const DAY = 86400;

// A site keeps its colour from panel to panel; series that no site tells apart are coloured by name.
export function colour(series, sites) {
  const bySite = new Set(series.map((one) => one.site)).size === series.length && series.every((one) => one.site);
  const order = bySite ? sites : series.map((one) => one.name).sort();
  for (const one of series) {
    const position = Math.max(0, order.indexOf(bySite ? one.site : one.name));
    one.colour = COLOURS[position % COLOURS.length];
  }
}

// A number as people read it: 3.2 s, 41 MB, 0.4 %.
export function format(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  switch (unit) {
    case "seconds": return duration(value);
    case "bytes": return scaled(value, ["B", "kB", "MB", "GB", "TB", "PB"]);
    case "bytes_per_second": return scaled(value, ["B/s", "kB/s", "MB/s", "GB/s"]);
    case "share": return `${trimmed(value * 100)} %`;
    case "per_second": return `${trimmed(value)}/s`;
    default: return trimmed(value);
  }
}

function trimmed(value) {
  const size = Math.abs(value);
  const digits = size === 0 || size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
  return String(Number(value.toFixed(digits)));
}

function scaled(value, names) {
  let step = 0;
  while (Math.abs(value) >= 1000 && step < names.length - 1) { value /= 1000; step += 1; }
  return `${trimmed(value)} ${names[step]}`;
}

function duration(seconds) {
  const size = Math.abs(seconds);
  if (size >= 2 * DAY) return `${trimmed(seconds / DAY)} d`;
  if (size >= 7200) return `${trimmed(seconds / 3600)} h`;
  if (size >= 120) return `${trimmed(seconds / 60)} min`;
  if (size >= 1 || size === 0) return `${trimmed(seconds)} s`;
  return `${trimmed(seconds * 1000)} ms`;
}

// About `count` round values from 0 up to at least `top`; durations and shares step in their own units.
export function ticks(top, count, unit) {
  const rough = top / count;
  const base = unit === "seconds" && top >= 120 ? (top >= 2 * DAY ? DAY : top >= 7200 ? 3600 : 60) : 1;
  const power = 10 ** Math.floor(Math.log10(rough / base));
  const round = [1, 2, 5, 10].map((m) => m * power * base).find((s) => s >= rough * 0.999);
  const step = unit === "count" ? Math.max(1, round) : round;  // there is no half a pack
  const values = [];
  for (let i = 0; (i - 1) * step < top; i += 1) values.push(i * step);
  return values;
}

function node(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Draw `series` ([{colour, points: [[unixSeconds, value], ...]}]) into `svg` for [start, end].
export function draw(svg, series, { start, end, step, unit, threshold, label, spark }) {
  const width = svg.clientWidth || 400, height = svg.clientHeight || 150;
  const left = spark ? 2 : 58, bottom = spark ? 2 : 20, top = 8, right = 8;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const values = series.flatMap((line) => line.points.map((point) => point[1]));
  let highest = Math.max(0, ...values);
  // A limit is drawn when the values come near it; otherwise it would flatten them to a line at 0.
  const limits = threshold ? [["warning", threshold.warning], ["critical", threshold.critical]] : [];
  const shown = limits.filter(([, limit]) => limit <= Math.max(highest * 2, 1e-9) || highest === 0);
  highest = Math.max(highest, ...shown.map(([, limit]) => limit)) || 1;
  const marks = ticks(highest, 3, unit);
  const ceiling = spark ? highest * 1.05 : marks[marks.length - 1];
  const x = (t) => left + ((t - start) / (end - start)) * (width - left - right);
  const y = (v) => height - bottom - (v / ceiling) * (height - bottom - top);
  if (!spark) {
    for (const mark of marks) {
      svg.append(node("line", { x1: left, x2: width - right, y1: y(mark), y2: y(mark), class: "grid" }));
      svg.append(node("text", { x: left - 6, y: y(mark) + 4, class: "axis", "text-anchor": "end" }, format(mark, unit)));
    }
    for (const time of clock(start, end, width < 420 ? 3 : 6)) {
      svg.append(node("text", { x: x(time), y: height - 5, class: "axis", "text-anchor": "middle" }, hour(time, end - start)));
    }
  }
  for (const [name, limit] of shown) {
    if (limit <= ceiling) svg.append(node("line", { x1: left, x2: width - right, y1: y(limit), y2: y(limit), class: `limit ${name}` }));
  }
  for (const line of series) {
    svg.append(node("path", { d: path(line.points, x, y, step), class: "line", stroke: line.colour }));
  }
}

// One path for each unbroken run: a gap in the data stays a gap.
function path(points, x, y, step) {
  let d = "", before = null;
  points.forEach(([time, value], index) => {
    const broken = before === null || time - before > step * 1.5;
    d += `${broken ? "M" : "L"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    const next = points[index + 1];
    if (broken && (!next || next[0] - time > step * 1.5)) d += "h0.1";  // a lone point is seen too
    before = time;
  });
  return d;
}

// Round local times between start and end, about `count` of them.
function clock(start, end, count) {
  const rough = (end - start) / count;
  const step = [300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, DAY, 2 * DAY].find((s) => s >= rough) || 7 * DAY;
  const offset = new Date(start * 1000).getTimezoneOffset() * 60;
  const times = [];
  for (let t = Math.ceil((start - offset) / step) * step + offset; t < end - step / 4; t += step) {
    if (t > start + step / 4) times.push(t);
  }
  return times;
}

function hour(time, span) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  return span > 2 * DAY ? `${two(date.getMonth() + 1)}-${two(date.getDate())}` : `${two(date.getHours())}:${two(date.getMinutes())}`;
}
