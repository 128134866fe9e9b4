// Which image is looked at and which are selected, by pointer and by arrow keys.

import { ApiError, isAbort } from "./api.js";
import { accept, whole } from "./decide.js";
import { byId } from "./dom.js";
import * as feed from "./feed.js";
import { say } from "./notices.js";
import { openSheet } from "./panel.js";
import { set, state } from "./state.js";

let anchor = null; // where a row of several begins

export function startPick() {
  const list = byId("feed");
  list.addEventListener("click", onClick);
  list.addEventListener("keydown", onKey);
  byId("several").addEventListener("click", (event) => {
    set({ severally: !state.severally });
    event.currentTarget.setAttribute("aria-pressed", String(state.severally));
  });
}

/** Look at one image; with `adding` it joins or leaves those selected, with `reaching` all up to it are selected. */
export function pick(position, { adding = false, reaching = false } = {}) {
  let selected = new Set([position]);
  if (reaching && anchor !== null) selected = new Set(feed.between(anchor, position));
  else if (adding) {
    selected = new Set(state.selected);
    if (selected.has(position) && selected.size > 1) selected.delete(position);
    else selected.add(position);
  }
  if (!reaching || anchor === null) anchor = position;
  const active = selected.has(position) ? position : [...selected].at(-1);
  set({ active, selected });
}

/** Select these images, as the lasso of the map does. */
export function pickAll(positions) {
  anchor = null;
  set({ active: positions[0] ?? null, selected: new Set(positions) });
}

export function clearSelection() {
  if (state.selected.size > 1 && state.active !== null) set({ selected: new Set([state.active]) });
  else set({ active: null, selected: new Set() });
  anchor = state.active;
}

/** Look at an image wherever it is, and bring its group into view where the list has it. */
export async function show(position, { list = true } = {}) {
  pick(position);
  if (list && state.view !== "groups") set({ view: "groups" });
  if (!list) return;
  try {
    if (await feed.jump(position)) return;
    say("The image is in no group of this list: it is alone at this cut, or the filters leave its group out.");
  } catch (error) {
    if (error instanceof ApiError) say(error.message, { bad: true });
    else if (!isAbort(error)) throw error;
  }
  openSheet();
}

function onClick(event) {
  const tile = event.target.closest("[data-p]");
  const card = event.target.closest("[data-key]");
  if (tile) {
    const adding = event.ctrlKey || event.metaKey || state.severally;
    pick(Number(tile.dataset.p), { adding, reaching: event.shiftKey });
    tile.focus({ preventScroll: true });
    if (!adding && !event.shiftKey) openSheet();
  } else if (event.target.closest("[data-more]")) {
    pick(Number(card.querySelector("[data-p]").dataset.p));
    openSheet({ group: true });
  } else if (event.target.closest("[data-action]")) {
    const key = Number(card.dataset.key);
    if (event.target.closest("[data-action]").dataset.action === "accept") accept(key);
    else whole(key);
  }
}

function onKey(event) {
  const tile = event.target.closest("[data-p]");
  if (!tile || event.altKey) return;
  const position = Number(tile.dataset.p);
  if (event.key === " ") pick(position, { adding: true });
  else if (event.key === "Enter") {
    pick(position);
    openSheet();
  } else {
    const to = neighbour(event.key, tile);
    if (!to) return;
    const next = feed.focusTile(...to);
    if (next !== null && !event.ctrlKey && !event.metaKey) pick(next, { reaching: event.shiftKey });
  }
  event.preventDefault();
}

/** Where a key leads from a tile: [index of the group, number of the image in its row]. */
function neighbour(key, tile) {
  const index = Number(tile.closest("[data-index]").dataset.index);
  const row = [...tile.parentNode.querySelectorAll("[data-p]")];
  const at = row.indexOf(tile);
  const last = feed.length() - 1;
  const clamped = (to) => (to < 0 || to > last ? null : [to, at]);
  if (key === "ArrowRight") return at + 1 < row.length ? [index, at + 1] : index < last ? [index + 1, 0] : null;
  if (key === "ArrowLeft") return at > 0 ? [index, at - 1] : index > 0 ? [index - 1, 99] : null;
  if (key === "ArrowDown") return clamped(index + feed.columns());
  if (key === "ArrowUp") return clamped(index - feed.columns());
  if (key === "Home") return [index, 0];
  if (key === "End") return [index, row.length - 1];
  return null;
}
