// Keyboard shortcuts, in one table that serves both the handler and the help.

import { comparing } from "./compare.js";
import { moveTo, step } from "./cut.js";
import { accept, decide, decideWithNote, redo, undo, whole } from "./decide.js";
import { button, byId, el, openDialog } from "./dom.js";
import { clearSelection } from "./pick.js";
import { remembered, set, state } from "./state.js";
import { worded } from "./words.js";

const KEYS = [
  { id: "ArrowKeys", keys: ["←", "→", "↑", "↓"], words: "go from image to image, from group to group", part: "Look" },
  { id: "open", keys: ["Enter"], words: "show the image (on small screens: open it)", part: "Look" },
  { id: "compare", keys: ["c"], words: "compare with its representative, or the two selected", part: "Look", run: () => comparing(false) },
  { id: "flicker", keys: ["f"], words: "switch between the two in one place", part: "Look", run: () => comparing(true) },
  { id: "more", keys: ["⇧ arrows"], words: "select several (or shift and click)", part: "Look" },
  { id: "add", keys: ["space"], words: "add the image to the selection, or take it out", part: "Look" },
  { id: "escape", keys: ["Esc"], words: "clear the selection, then the current image", part: "Look", code: "Escape", run: clearSelection },
  { id: "prefer", keys: ["p"], words: "make it its group’s representative; several: each of its own group", part: "Decide", run: () => decide("prefer") },
  { id: "keep", keys: ["k"], words: "keep it too", part: "Decide", run: () => decide("keep") },
  { id: "remove", keys: ["r"], words: "remove it, even where it is alone", part: "Decide", run: () => decide("remove") },
  { id: "apart", keys: ["n"], words: "never together: the two selected, or one and its representative", part: "Decide", run: () => decide("apart") },
  { id: "alone", keys: ["⇧n"], words: "never together with any other", part: "Decide", code: "N", run: () => decide("alone") },
  { id: "whole", keys: ["g"], words: "keep the whole group", part: "Decide", run: () => whole() },
  { id: "accept", keys: ["a"], words: "accept the group as it is", part: "Decide", run: () => accept() },
  { id: "note", keys: ["m"], words: "decide with a note", part: "Decide", run: () => decideWithNote() },
  { id: "undo", keys: ["u"], words: "undo (also Ctrl z)", part: "Decide", run: () => undo() },
  { id: "redo", keys: ["y"], words: "redo (also Ctrl ⇧ z)", part: "Decide", run: () => redo() },
  { id: "fewer", keys: ["["], words: "keep fewer; on the slider ← and →, with ⇧ by one image", part: "Page", run: () => step(-1) },
  { id: "further", keys: ["]"], words: "keep more", part: "Page", run: () => step(1) },
  { id: "stored", keys: ["0"], words: "back to the fraction of the stored selection", part: "Page", run: () => moveTo(state.run.keep) },
  { id: "find", keys: ["/"], words: "find an image", part: "Page", run: find },
  { id: "views", keys: ["1", "2", "3", "4"], words: "groups, removed images, map, decisions", part: "Page" },
  { id: "help", keys: ["?"], words: "show this help", part: "Page", run: help },
];
const VIEWS = { 1: "groups", 2: "removed", 3: "map", 4: "decisions" };
const BY_CODE = new Map(KEYS.filter(({ run }) => run).map((key) => [key.code ?? key.keys[0], key]));

export function startKeys() {
  document.addEventListener("keydown", onKey);
  byId("help").addEventListener("click", help);
  byId("undo").addEventListener("click", () => undo());
  byId("redo").addEventListener("click", () => redo());
}

function onKey(event) {
  const { key, target } = event;
  if (event.defaultPrevented || document.querySelector("dialog[open]:not(.sheet)")) return;
  const typing = target.matches("input:not([type=range]):not([type=radio]), textarea, select");
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z" && !typing) {
    event.preventDefault();
    if (event.shiftKey) redo();
    else undo();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (remembered.get("keys", "on") === "off" && key !== "Escape") return;
  const known = VIEWS[key] ? { part: "Page", run: () => set({ view: VIEWS[key] }) } : BY_CODE.get(key);
  const sheet = document.querySelector("dialog[open]");
  if (!known || (sheet && key === "Escape")) return;
  if (known.part === "Page") sheet?.close(); // such a key acts on what the sheet covers
  known.run();
  event.preventDefault();
}

function find() {
  set({ view: "groups" });
  byId("find-image").focus();
}

/** Some of the keys as a list; their names as in the table. */
export function keysList(ids) {
  return table(KEYS.filter(({ id }) => ids.includes(id)));
}

const table = (keys) =>
  el("dl", { class: "keys" }, keys.map(({ keys: names, words }) => [el("dt", {}, names.map((name) => el("kbd", {}, name))), el("dd", {}, worded(words))]));

function help() {
  const { body } = openDialog("Help and keys", { wide: true });
  const on = remembered.get("keys", "on") === "on";
  const toggle = el("input", { type: "checkbox", checked: on, onchange: (event) => remembered.set("keys", event.target.checked ? "on" : "off") });
  body.append(
    el(
      "div",
      { class: "prose" },
      el("p", {}, worded("The fraction kept is what you ask for, not a finding: the images most alike are grouped first, until it is reached. Of each group the representative, outlined in green, is kept and the others are removed; whether they show the same is yours to judge. No two images of a group are farther apart than its diameter, a dissimilarity: 1 − the cosine of their vectors, 0 for equal ones. A gap in the heights, where there is one, separates copies from everything else.")),
      el("p", {}, "Decisions are stored at once and persist: at every fraction, after clustering again and for another embedding. No file is deleted."),
    ),
    el("div", { class: "key-parts" }, ["Look", "Decide", "Page"].map((part) => el("section", {}, el("h3", {}, part), table(KEYS.filter((key) => key.part === part))))),
    el("label", { class: "choice" }, toggle, "Single-letter shortcuts"),
    button("Close", { kind: "strong", onclick: () => body.closest("dialog").close() }),
  );
}
