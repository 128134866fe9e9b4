// The gap between copies and the rest: shown under the slider and on it, with a button that cuts there.

import { calibrate } from "./calibrate.js";
import { cutAt, place } from "./cut.js";
import { deepen } from "./deeper.js";
import { button, byId, el } from "./dom.js";
import { onChange, state } from "./state.js";
import { count, roughly, typically, worded } from "./words.js";

const FARTHER = 3; // times as many removed as the tree reaches is where it is looked next

export function startGap() {
  onChange("run cut threshold deeper", draw);
  draw();
}

function draw() {
  const { n, gap } = state.run;
  const { found } = gap;
  const [words, action] = found ? told(found) : none(gap);
  byId("gap").replaceChildren(...(n < 2 ? [] : [el("p", {}, gap.exact, " ", found && el("i", { "aria-hidden": "true" }), words, " ", action, " ", el("span", { class: "quiet" }, typically()), " ", button("Find your threshold", { kind: "small", onclick: calibrate }))]));
  const mark = byId("gap-mark");
  mark.hidden = !found || n < 2;
  if (found) {
    mark.style.setProperty("--at", place(1 - found.merges / n));
    mark.title = `The gap: ${images(found.merges)}`;
  }
}

const images = (many) => (many === 1 ? worded("1 image has a near-duplicate") : worded`${count(many)} images have a near-duplicate`);

function told(gap) {
  const words = `There is a gap: ${images(gap.merges)}, up to ${roughly(gap.below)} apart; the next pair is ${roughly(gap.above)} apart.`;
  if (!state.deeper && state.cut && within(gap, state.cut)) return [`${words} This cut is in the gap.`, ""];
  return [words, button(`Cut in the gap, at ${roughly(gap.threshold)}`, { kind: "small", onclick: () => cutAt(gap.threshold) })];
}

/** Whether a cut takes all that lies below the gap and nothing above it. */
function within({ below, above, merges }, { threshold, height, removed }) {
  const reached = threshold ?? height;
  return below <= reached && reached < above && (threshold !== null || removed === merges);
}

function none({ looked_to: looked, whole }) {
  const words =
    looked === null
      ? "Too few merges to look for a gap between near-duplicates and the rest."
      : `There is no gap up to ${roughly(looked)} apart${whole ? ": no cut up to there separates near-duplicates from the rest" : ", as far as the tree reaches"}.`;
  return whole ? [words, ""] : [words, button("Search further", { kind: "small", onclick: (event) => deepen(event.currentTarget, { keep: farther() }) })];
}

function farther() {
  const { deepest_held: deepest, n } = state.run;
  return Math.max(1 / n, 1 - FARTHER * Math.max(1 - deepest, 0.05));
}
