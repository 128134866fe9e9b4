// The list of groups. Only its visible part is in the page: cards have one height, groups are fetched by the dozen.

import { get, isAbort, Latest } from "./api.js";
import { card, markTiles, stretch } from "./card.js";
import { byId, el } from "./dom.js";
import { cutting, onChange, remembered, set, state } from "./state.js";
import { fileName, worded } from "./words.js";
import { Viewport } from "./viewport.js";

const PAGE = 30;
const REST = 60; // ms of quiet before groups are fetched while scrolling
const TILES = { small: 64, medium: 88, large: 144 };
const GAP = 8;

const feed = byId("feed");
const view = new Viewport(feed, draw);
const fetching = new Latest();
let groups = new Map(); // index in the list -> Group
const cards = new Map(); // index -> its element
const members = new Map(); // position -> {id, key of its group}; of all that was loaded since the page opened
let total = null;
let size = remembered.get("tiles", "medium");
let timer = null;
let asked = "";
let waiting = null; // {index, member}: to be focused once it is there
let displaced = null; // the image that had the focus when its group left the place; it gets it back when it returns
let successor = null; // the image that is looked at in its stead
let advances = false; // whether a decision of this page is the reason why the list is drawn again

export function startFeed() {
  feed.setAttribute("role", "feed");
  feed.setAttribute("aria-labelledby", "groups-title");
  onChange("active selected severally looked", mark);
  onChange("view", () => view.measure());
  setTileSize(size);
}

/** What is known of an image in the list: its member and its group's key, or undefined. */
export const known = (position) => members.get(position);
export const learn = (group) => {
  for (const member of group.members) members.set(member.p, { id: member.id, key: group.key });
};
/** Learn the names of images whose group is not known. */
export const learnNames = (images) => {
  for (const { p, id } of images) members.set(p, { key: undefined, ...members.get(p), id });
};
export const nameOf = (position) => members.get(position)?.id ?? worded`image ${position}`;
export const length = () => total ?? 0;
export const columns = () => view.columns;

/** The place in the list of the group that holds an image, as far as it is loaded; −1 where it is not. */
export function indexOf(position) {
  const key = members.get(position)?.key;
  for (const [index, group] of groups) if (group.key === key) return index;
  return -1;
}

export function setTileSize(name) {
  size = name in TILES ? name : "medium";
  remembered.set("tiles", size);
  feed.dataset.size = size;
  view.layout({ tile: TILES[size], gap: GAP });
}
export const tileSize = () => size;

/** Fetch what is seen again, for another cut, filter or state of the decisions; until then the old stays. */
export async function reload(cut = cutting(), { toTop = false } = {}) {
  const [from] = toTop ? [0] : view.range(total ?? PAGE);
  const offset = Math.max(0, Math.min(from, (total ?? 1) - 1));
  const answer = await fetching.run((signal) => get("api/groups", { ...cut, ...state.filter, offset, limit: PAGE }, signal));
  if (offset >= answer.total && answer.total > 0) {
    total = answer.total;
    view.toIndex(Math.max(0, total - 1), total);
    return reload(cut);
  }
  if (toTop && feed.contains(document.activeElement)) document.activeElement.blur(); // else the image in its place would be looked at
  if (toTop) displaced = successor = null;
  groups = new Map();
  take(answer);
  if (toTop) view.toTop();
  view.setCount(total);
  draw();
}

/** Do what changes decisions here: where the list then lacks the image looked at, the next one is looked at. */
export async function advancing(work) {
  advances = true;
  try {
    return await work();
  } finally {
    advances = false;
  }
}

/** Bring an image's group into view and give it the focus; false where the filters leave it out. */
export async function jump(position, { focus = true } = {}) {
  const params = { ...cutting(), ...state.filter, around: position, limit: PAGE };
  const answer = await fetching.run((signal) => get("api/groups", params, signal));
  take(answer);
  view.setCount(total);
  if (answer.found === false) return false;
  let index = indexOf(position);
  if (index < 0) {
    // Its group holds more images than a list shows: the group is the one that has it among its members.
    const { key } = await get(`api/groups/${position}`, { ...cutting(), limit: 1 });
    index = [...groups].find(([, group]) => group.key === key)?.[0] ?? -1;
    if (index < 0) return false;
  }
  const at = groups.get(index).members.findIndex((member) => member.p === position);
  view.reveal(index);
  draw();
  if (focus) focusTile(index, Math.max(0, at));
  return true;
}

function take(answer) {
  total = answer.total;
  if (view.names === null && answer.groups.length) {
    // As the first groups have it, for cards keep one height.
    view.names = answer.groups.flatMap(({ members: own }) => own.map(({ id }) => fileName(id)));
    view.measure();
  }
  answer.groups.forEach((group, number) => {
    groups.set(answer.offset + number, group);
    learn(group);
  });
}

/** Put the cards in place that are seen, and fetch those that are not there yet. */
function draw() {
  if (total === null) return;
  const [from, to] = view.range(total);
  const held = [...cards].find(([, node]) => node.contains(document.activeElement))?.[0];
  const wanted = new Set();
  for (let index = from; index < to; index += 1) wanted.add(index);
  if (held !== undefined && held < total) wanted.add(held); // the focus must not fall out of the page
  for (const [index, node] of cards) {
    if (wanted.has(index)) continue;
    if (advances && node.contains(document.activeElement)) displaced ??= Number(document.activeElement.dataset.p ?? -1);
    node.remove();
    cards.delete(index);
  }
  let before = null;
  for (const index of [...wanted].sort((a, b) => b - a)) {
    const node = cardAt(index);
    view.put(node, index);
    if (node.parentNode !== feed || node.nextSibling !== before) feed.insertBefore(node, before);
    before = node;
  }
  mark();
  follow();
  set({ listed: total });
  const missing = [...wanted].filter((index) => !groups.has(index) && index >= from && index < to).sort((a, b) => a - b);
  feed.setAttribute("aria-busy", String(missing.length > 0));
  clearTimeout(timer);
  if (missing.length) timer = setTimeout(fill, REST, missing[0]);
  if (waiting && groups.has(waiting.index) && cards.has(waiting.index)) {
    const { index, member } = waiting;
    waiting = null;
    focusTile(index, member);
  }
}

/**
 * Keep focus and panel on one image. Where a decision has taken the one looked at out of the list, continue with what has
 * the focus now; where it comes back, by undo, go back to it; not where somebody has moved on since.
 */
function follow() {
  if (displaced === null) return;
  const focused = document.activeElement;
  const inList = feed.contains(focused);
  if (![displaced, successor].includes(state.active) || !(inList || focused === document.body)) displaced = successor = null;
  else {
    const tile = feed.querySelector(`[data-p="${displaced}"]`);
    if (tile) {
      const back = displaced;
      displaced = successor = null;
      tile.focus({ preventScroll: true });
      if (state.active !== back) set({ active: back });
    } else if (inList && state.active === displaced && focused.dataset.p !== undefined) {
      successor = Number(focused.dataset.p);
      set({ active: successor });
    }
  }
}

function cardAt(index) {
  const group = groups.get(index) ?? null;
  const node = cards.get(index);
  const fits = `${total} ${view.perCard} ${size} ${view.room.letters} ${view.room.lines}`;
  if (node?.fits === fits && (node.group === group || JSON.stringify(node.group) === JSON.stringify(group))) {
    node.group = group;
    return node;
  }
  const fresh = card(group, index, total, view.perCard, size === "large" ? 320 : 160, view.room);
  Object.assign(fresh, { group, fits });
  if (node) {
    const held = node.contains(document.activeElement) ? document.activeElement : null;
    node.replaceWith(fresh);
    if (held) {
      const next = alike(fresh, held);
      const same = held.dataset.p === undefined || next?.dataset.p === held.dataset.p;
      if (!same && advances) displaced ??= Number(held.dataset.p);
      if (same || advances) next?.focus({ preventScroll: true }); // somebody else's decision gives the focus to no other image
    }
  }
  cards.set(index, fresh);
  return fresh;
}

/** What takes the focus over in a card that was drawn again: the same image or button, else its first image. */
function alike(card, held) {
  const { p, action, more } = held.dataset;
  const name = p !== undefined ? `[data-p="${p}"]` : action ? `[data-action="${action}"]` : more ? "[data-more]" : "[data-p]";
  return card.querySelector(name) ?? card.querySelector("[data-p]");
}

async function fill(offset) {
  const params = { ...cutting(), ...state.filter, offset, limit: PAGE };
  asked = JSON.stringify(params);
  const mine = asked;
  try {
    const answer = await fetching.run((signal) => get("api/groups", params, signal));
    if (mine !== asked) return;
    const changed = answer.total !== total;
    take(answer);
    if (changed) view.setCount(total);
    draw();
  } catch (error) {
    if (!isAbort(error) && !state.offline) feed.setAttribute("aria-busy", "false");
  }
}

/** Focus an image of a group, scrolled to where it is needed; fetched before where it must be. */
export function focusTile(index, member) {
  const group = groups.get(index);
  const node = cards.get(index);
  if (!group || !node) {
    waiting = { index, member };
    view.toIndex(index, total);
    draw();
    return null;
  }
  const tiles = node.querySelectorAll("[data-p]");
  const tile = tiles[Math.min(member, tiles.length - 1)];
  view.reveal(index);
  tile?.focus({ preventScroll: true });
  return tile ? Number(tile.dataset.p) : null;
}

/** Mark the active and the selected images, and the card of the group looked at. */
function mark() {
  markTiles(feed);
  const looked = state.looked?.p === state.active ? state.looked.group.key : null;
  for (const [, node] of cards) {
    const active = state.active !== null && (Number(node.dataset.key) === looked || node.querySelector(".tile.active") !== null);
    node.classList.toggle("has-active", active);
    for (const button of node.querySelectorAll("button")) button.tabIndex = active ? 0 : -1;
  }
}

/** The positions between two images of the list, both with it, as far as the list is loaded. */
export function between(one, other) {
  const ends = [indexOf(one), indexOf(other)];
  if (ends.includes(-1)) return [other];
  const [low, high] = ends[0] <= ends[1] ? ends : [ends[1], ends[0]];
  const row = [];
  for (let index = low; index <= high; index += 1) {
    const group = groups.get(index);
    if (!group) return [other];
    row.push(...group.members.map((member) => member.p));
  }
  return stretch(row, one, other);
}

/** A filter or order was changed: from the top. */
export function filtered(changes) {
  set({ filter: { ...state.filter, ...changes } });
  return reload(cutting(), { toTop: true }).catch((error) => {
    if (isAbort(error)) return;
    byId("feed-state").replaceChildren(el("p", { class: "problem" }, error.message));
  });
}
