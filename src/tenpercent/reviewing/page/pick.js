// The current image and the selected ones, by pointer and by arrow keys.

import { ApiError, get, isAbort } from "./api.js";
import { accept, whole } from "./decide.js";
import { byId } from "./dom.js";
import * as feed from "./feed.js";
import { clearFilters } from "./filters.js";
import { say } from "./notices.js";
import { cutting, onChange, set, state } from "./state.js";
import { several, worded } from "./words.js";

let anchor = null; // where a row of several begins

export function startPick() {
  const list = byId("feed");
  pickable(list, { between: feed.between, step: stepInFeed });
  list.addEventListener("click", onCardTool);
  severalBy(byId("several"));
  onChange("keep threshold hold filter view", regrouped);
  onChange("view", () => set({ severally: false }));
}

/** Let a button begin and end selecting several. */
export function severalBy(button) {
  const draw = () => button.setAttribute("aria-pressed", String(state.severally));
  button.title = worded("Each click adds an image to the selection or takes it out, as with Ctrl or ⌘");
  button.addEventListener("click", () => set({ severally: !state.severally }));
  onChange("severally", draw);
  draw();
  return button;
}

/**
 * Let the images of a list be looked at and selected: by clicks, Enter, space and arrows, the same everywhere.
 * `between` gives the positions from one image to another, where several can be reached at once; `step` goes by a key
 * from a tile to another and gives its position, null where there is none. `opens`: looking, also by arrows, opens the panel.
 */
export function pickable(list, { between = null, step = stepIn(list), opens = true } = {}) {
  list.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const reaching = event.shiftKey && between !== null;
    const adding = event.ctrlKey || event.metaKey || event.shiftKey || state.severally;
    pick(Number(tile.dataset.p), { adding, between: reaching ? between : null, within: list });
    tile.focus({ preventScroll: true });
    if (!adding && opens) openPanel();
  });
  list.addEventListener("keydown", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile || event.altKey) return;
    const position = Number(tile.dataset.p);
    if (event.key === " ") pick(position, { adding: true, within: list });
    else if (event.key === "Enter") {
      look(position);
      if (opens) openPanel();
    } else if (/^(Arrow|Home$|End$)/.test(event.key)) {
      const next = step(event.key, tile);
      if (next !== null && event.shiftKey && between) pick(next, { between });
      else if (next !== null && opens && !event.ctrlKey && !event.metaKey) look(next);
    } else return;
    event.preventDefault();
  });
}

/** Look at an image; while each click selects, those selected stay so. */
function look(position) {
  if (state.severally) set({ active: position });
  else pick(position);
}

/** Go by a key from tile to tile of a grid. */
const stepIn = (list) => (key, from) => {
  const tiles = [...list.querySelectorAll(".tile")];
  const columns = tiles.filter((tile) => tile.getBoundingClientRect().top === tiles[0].getBoundingClientRect().top).length;
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -tiles.indexOf(from), End: tiles.length - 1 - tiles.indexOf(from) }[key];
  const to = tiles[tiles.indexOf(from) + by];
  to?.focus();
  return to ? Number(to.dataset.p) : null;
};

/**
 * Look at one image. With `adding` it joins or leaves those selected; the one looked at before joins too where
 * nothing is selected yet and it is `within` the same list on screen. With `between` all up to it are selected.
 */
export function pick(position, { adding = false, between = null, within = null } = {}) {
  let selected = new Set();
  if (between && anchor !== null) selected = new Set(between(anchor, position));
  else if (adding) {
    selected = new Set(state.selected.size ? state.selected : before(position, within));
    if (!selected.delete(position)) selected.add(position);
  }
  if (!between || anchor === null) anchor = position;
  set({ active: position, selected });
}

/** The current image, to be the first of several: only where it is seen marked in the list that is clicked in. */
function before(position, within) {
  const { active, severally } = state;
  const seen = !severally && active !== null && active !== position && within?.querySelector(`[data-p="${active}"]`);
  return seen ? [active] : [];
}

/** Show the panel, which on a narrow screen is laid over the page; at the image's group where asked. */
export const openPanel = (group = false) => set({ opened: { group } });

/** Select nothing after a change of the list: what is selected could be out of sight. */
function regrouped() {
  const many = state.selected.size;
  if (!many) return;
  set({ selected: new Set() });
  say(`The list has changed, so ${several(many, "image")} ${many === 1 ? "is" : "are"} no longer selected.`);
}

/** Select these images, as the lasso of the map does. */
export function pickAll(positions) {
  anchor = null;
  set({ active: positions[0] ?? null, selected: new Set(positions) });
}

/** Select nothing; where nothing is selected, stop selecting; then look at nothing. */
export function clearSelection() {
  if (state.selected.size) set({ selected: new Set() });
  else if (state.severally) set({ severally: false });
  else set({ active: null });
  anchor = state.active;
}

/** Look at an image wherever it is, and bring its group into view where the list has it. */
export async function show(position, { list = true } = {}) {
  pick(position);
  if (list && state.view !== "groups") set({ view: "groups" });
  if (!list) return;
  try {
    if (await feed.jump(position)) return;
    const { size } = await get(`api/groups/${position}`, { ...cutting(), limit: 1 });
    if (size === 1) say(worded("This image is alone at this cut; the list shows groups of two or more."));
    else say(`The filters hide its group of ${several(size, "image")}.`, { action: { words: "Clear the filters", onclick: () => clearFilters().then(() => show(position)) } });
  } catch (error) {
    if (error instanceof ApiError) say(error.message, { bad: true });
    else if (!isAbort(error)) throw error;
  }
  openPanel();
}

function onCardTool(event) {
  const card = event.target.closest("[data-key]");
  const { more, action } = event.target.closest("[data-more], [data-action]")?.dataset ?? {};
  if (more) {
    look(Number(card.querySelector(".tile").dataset.p));
    openPanel(true);
  } else if (action) (action === "accept" ? accept : whole)(Number(card.dataset.key));
}

function stepInFeed(key, tile) {
  const to = neighbour(key, tile);
  return to && feed.focusTile(...to);
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
