// Accuracies of training runs on the scale of the slider: a point an arm and fraction, with its interval.

import { lowest, place } from "./cut.js";
import { byId, el, svg } from "./dom.js";
import { onChange, state } from "./state.js";
import { percent, several, worded } from "./words.js";

const HEIGHT = 88; // pixels
const EDGE = 14; // of it above and below the points

export function startAccuracy() {
  onChange("run", draw);
  onChange("keep", cursor);
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(byId("keep-slider"));
  draw();
}

function draw() {
  const figure = byId("accuracy");
  const found = state.run.accuracy.filter((point) => point.mean !== null);
  const seen = found.filter((point) => point.arm !== "full" && point.fraction >= lowest() - 1e-9);
  figure.hidden = seen.length === 0;
  if (!seen.length) return;
  const full = found.find((point) => point.arm === "full");
  const arms = [...new Set(seen.map((point) => named(point)))];
  const values = [...seen, ...(full ? [full] : [])].flatMap(({ mean, low, high }) => [mean, low ?? mean, high ?? mean]);
  const [bottom, top] = rounded(Math.min(...values), Math.max(...values));
  const width = Math.max(120, byId("keep-slider").clientWidth - 24); // the thumb’s middle ends half its width inside
  const x = (fraction) => place(fraction) * width;
  const y = (value) => EDGE + ((top - value) / (top - bottom)) * (HEIGHT - 2 * EDGE);
  const side = 5;
  const marks = seen.map((point) => {
    const arm = arms.indexOf(named(point));
    const at = x(point.fraction) + (arm - (arms.length - 1) / 2) * side;
    const group = svg("g", { class: `point arm${(arm % 7) + 1}` });
    group.append(svg("title", {}, sentence(point)));
    if (point.low !== null && point.high !== null) group.append(svg("path", { d: `M${at} ${y(point.low)}V${y(point.high)}` }));
    group.append(mark(arm, at, y(point.mean)));
    return group;
  });
  const grid = [bottom, (bottom + top) / 2, top].map((value) => [
    svg("path", { class: "grid", d: `M0 ${y(value)}H${width}` }),
    svg("text", { class: "label", x: 0, y: y(value) - 3 }, `${(100 * value).toFixed(top - bottom < 0.02 ? 1 : 0)}%`),
  ]);
  const chart = svg(
    "svg",
    { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `Accuracy by fraction kept. ${[...(full ? [full] : []), ...seen].map(sentence).join("; ")}` },
    grid,
    full && [svg("path", { class: "full", d: `M0 ${y(full.mean)}H${width}` })],
    svg("path", { class: "cursor", id: "accuracy-cursor", d: `M0 0V${HEIGHT}` }),
    marks,
  );
  const key = arms.map((arm, number) => el("li", { class: `arm${(number % 7) + 1}` }, svg("svg", { class: "swatch", viewBox: "-6 -6 12 12", "aria-hidden": "true" }, mark(number, 0, 0)), arm));
  figure.replaceChildren(
    el("figcaption", {}, el("b", {}, "Accuracy"), " when trained on what is kept", el("ul", { class: "key" }, key, full && el("li", {}, el("i", { class: "dash" }), worded`all images, ${percent(full.mean)}`))),
    chart,
  );
  cursor();
}

const named = ({ arm, layer }) => (layer ? `${arm}, ${layer} layer` : arm);

/** The mark of an arm: its shape differs as well as its colour. */
function mark(arm, x, y) {
  if (arm % 3 === 0) return svg("circle", { cx: x, cy: y, r: 4.5 });
  if (arm % 3 === 1) return svg("rect", { x: x - 4, y: y - 4, width: 8, height: 8 });
  return svg("path", { class: "filled", d: `M${x} ${y - 5}l5 9h-10z` });
}

function sentence({ arm, layer, fraction, mean, low, high, trials }) {
  const interval = low === null || high === null ? "" : ` (${percent(low)} to ${percent(high)})`;
  return `${named({ arm, layer })} at ${percent(fraction)}: ${percent(mean)}${interval}, ${several(trials, "training run")}`;
}

function rounded(low, high) {
  const step = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((one) => (high - low) / one <= 4) ?? 1;
  const bottom = Math.max(0, Math.floor(low / step) * step);
  const top = Math.min(1, Math.ceil(high / step) * step);
  return top > bottom ? [bottom, top] : [Math.max(0, bottom - step), Math.min(1, top + step)];
}

function cursor() {
  const line = byId("accuracy-cursor");
  if (!line) return;
  const width = Number(line.ownerSVGElement.getAttribute("width"));
  line.setAttribute("transform", `translate(${Math.max(0, place(state.keep)) * width} 0)`);
}
