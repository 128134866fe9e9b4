// The cut in words: what was asked for and what is removed, the height of the last merge, counts, progress, notes.

import { byId, el } from "./dom.js";
import { speak } from "./notices.js";
import { onChange, state } from "./state.js";
import { count, dissimilarity, percent, roughly, several, worded } from "./words.js";

export function startHeadline() {
  onChange("cut deeper", tell);
}

function tell() {
  const { run, cut, deeper } = state;
  if (!cut && !deeper) return;
  const headline = deeper ? `${beyond(deeper)} is beyond the computed tree` : result(cut);
  byId("headline").textContent = headline;
  document.title = `${headline} · ${run.name} · tenpercent`;
  for (const [id, content] of Object.entries({ lead, counts, "decided-so-far": progress, notes })) byId(id).replaceChildren(...(deeper ? [] : content(cut)));
  if (!deeper) speak(`${count(cut.kept)} kept, ${count(cut.removed)} removed, ${several(cut.redundant_groups, "group")}`);
}

const beyond = ({ keep }) => (keep === null ? `Dissimilarity ${dissimilarity(state.threshold)}` : `Keep ${percent(keep, state.run.n)}`);

/** What was asked for, and what goes by it: a fraction is a quota, not a finding. */
function result({ removed, keep, threshold }) {
  const { n } = state.run;
  if (n === 1) return removed ? worded("The only image is removed") : worded("The only image is kept");
  const asked = threshold === null ? `Asked to keep ${percent(keep, n)}` : worded`Asked to group images up to ${threshold} apart`;
  return `${asked}: ${removed ? worded`${count(removed)} of ${count(n)} images ${removed === 1 ? "goes" : "go"}` : worded`all ${count(n)} images stay`}`;
}

function lead({ redundant_groups: groups, height, largest }) {
  if (state.run.n === 1) return [worded("This run has one image, so there is nothing to compare.")];
  if (!groups) return [];
  return [`The last merge is at ${roughly(height)}. `, el("span", { class: "how" }, worded`In each group the image outlined in green is kept and the others are removed; the largest holds ${several(largest, "image")}.`)];
}

const counts = (cut) => [
  el("b", { class: "kept-words" }, `${count(cut.kept)} kept`),
  el("span", {}, `${count(cut.removed)} removed`),
  el("span", {}, several(cut.redundant_groups, "group")),
];

/** How many groups a decision concerns: "never together" may concern two, or leave its images in none, and is one of its own. */
function progress(cut) {
  const done = cut.decided_groups + cut.parted;
  const all = cut.redundant_groups + cut.parted;
  const bar = el("progress", { max: Math.max(1, all), value: done, "aria-label": "Groups decided about" });
  return all ? [bar, el("span", { title: worded("Groups with a decision about one of their images, and pairs that decisions have left without a group") }, `${count(done)} of ${count(all)} decided`)] : [];
}

function notes(cut) {
  const { notes: said, decisions_error: banner } = state.run; // what a banner says is not said twice
  const lines = [...new Set([...said, ...cut.notes])].filter((line) => line !== banner);
  return lines.length ? [el("ul", { class: "notes" }, lines.map((line) => el("li", { dir: "auto" }, line)))] : [];
}
