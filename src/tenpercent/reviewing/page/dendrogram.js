// The tree of one group: leaves down the left side, merges to the right by their height.

import { picture } from "./api.js";
import { svg } from "./dom.js";
import { nameOf } from "./feed.js";
import { state } from "./state.js";
import { dissimilarity, worded } from "./words.js";

const WIDTH = 380;
const AXIS = 22; // pixels under the tree for its scale
const PICTURES = 40; // leaves that still have room for a picture

/** Draw a group's tree; a leaf that is pressed is chosen. */
export function dendrogram(group, active, choose) {
  const { order, merges } = group.dendrogram;
  const pictured = order.length <= PICTURES;
  const leaf = pictured ? 30 : Math.max(5, 900 / order.length);
  const left = pictured ? 34 : 12;
  const height = order.length * leaf;
  const highest = Math.max(...merges.map((merge) => merge[4])) || 1;
  const x = (value) => left + 6 + (value / highest) * (WIDTH - left - 24);
  const y = (place) => (place + 0.5) * leaf;
  const lines = merges.map(([a, b, low, high, top]) => {
    const line = svg("path", { class: "branch", d: `M${x(low)} ${y(a)}H${x(top)}V${y(b)}H${x(high)}` });
    line.append(svg("title", {}, `merged at ${dissimilarity(top)}`));
    return line;
  });
  const leaves = order.map((position, number) => leafAt(position, y(number), leaf, pictured, position === active, position === group.representative, choose));
  const words = worded`Dendrogram: ${order.length} images, the first merge at ${dissimilarity(merges[0]?.[4])}, the last at ${dissimilarity(highest)}`;
  return svg(
    "svg",
    { class: "dendrogram", viewBox: `0 0 ${WIDTH} ${height + AXIS}`, role: "group", "aria-label": words },
    lines,
    leaves,
    svg("path", { class: "axis", d: `M${x(0)} ${height + 2}H${x(highest)}` }),
    svg("text", { class: "label", x: x(0), y: height + 16 }, "0"),
    svg("text", { class: "label end", x: x(highest), y: height + 16 }, dissimilarity(highest)),
  );
}

function leafAt(position, y, leaf, pictured, isActive, isRepresentative, choose) {
  const side = pictured ? 24 : Math.min(8, leaf);
  const name = nameOf(position);
  const node = svg("g", { class: `leaf ${isActive ? "active" : ""} ${isRepresentative ? "kept" : ""}`, onclick: () => choose(position) });
  node.append(svg("title", {}, isRepresentative ? `${name}, kept` : name));
  const box = { x: pictured ? 4 : 1, y: y - side / 2, width: side, height: side };
  node.append(svg("rect", { class: "back", ...box }));
  if (pictured && state.run.has_images) node.append(svg("image", { href: picture(position, 160), ...box }));
  node.append(svg("rect", { class: "ring", ...box }));
  return node;
}
