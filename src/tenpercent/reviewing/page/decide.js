// Decisions: their conditions, sending them, and conflicts with somebody else's.

import { ApiError, get, post } from "./api.js";
import { refresh } from "./cut.js";
import { conflict, withNote } from "./decide-dialogs.js";
import { goingOn, known } from "./feed.js";
import { say, settled } from "./notices.js";
import { cutting, set, state, targets } from "./state.js";
import { changed, count, decided, KINDS } from "./words.js";

const MOST = 1000; // images of one decision, as the server has it

/** What can be decided about some images, those selected unless others are given: {kind, images}, or what is missing. */
export function possible(kind, images = targets()) {
  if (!images.length) return "Select an image first.";
  if (images.length > MOST) return `One decision names at most ${count(MOST)} images; ${count(images.length)} are selected.`;
  if (kind === "apart" && images.length === 1) {
    const other = state.looked?.p === images[0] ? state.looked.representative : null;
    if (other !== null && other !== undefined && other !== images[0]) return { kind, images: [images[0], other] };
    return "Select the two images that must never share a group.";
  }
  if (kind === "apart" && images.length !== 2) return `Never together takes two images; ${count(images.length)} are selected.`;
  return { kind, images };
}

const UNSEEN = "The current image is not on screen; click one first.";

/** Whether an image is on screen: in the panel, or where it is listed. */
function seen(position) {
  const panel = document.querySelector(".panel");
  if (state.looked?.p === position && panel?.offsetParent) return true;
  return [...document.querySelectorAll(`main [data-p="${position}"]`)].some((node) => {
    const { top, bottom, height } = node.getBoundingClientRect();
    return height > 0 && bottom > 0 && top < innerHeight;
  });
}

/** Decide about the selected images, or about others; about the one looked at only where it is seen. */
export async function decide(kind, note = "", images = targets()) {
  if (images.length === 1 && !state.selected.size && !seen(images[0])) return say(UNSEEN, { bad: true });
  const what = possible(kind, images);
  if (typeof what === "string") return say(what, { bad: true });
  return send(what.kind, what.images, note);
}

/** Accept a group: of a key that names none, the one that the panel shows. */
export async function accept(key = null) {
  return key === null ? ofLooked("accept") : ofGroup("accept", key, "");
}

/** Keep all images of a group. */
export async function whole(key = null) {
  return key === null ? ofLooked("keep") : ofGroup("keep", key, "");
}

async function ofLooked(kind) {
  if (state.selected.size) return say("This acts on a whole group, but images are selected; clear the selection first (Esc).", { bad: true });
  const [looked] = targets();
  if (looked !== undefined && !seen(looked)) return say(UNSEEN, { bad: true });
  return ofGroup(kind, activeKey(), "");
}

async function ofGroup(kind, key, note) {
  if (key === null) return say("Click an image of the group first.", { bad: true });
  try {
    const images = await membersOf(key);
    if (kind === "keep" && images.length > MOST) {
      return say(`One decision names at most ${count(MOST)} images, and this group has more; keep them in parts.`, { bad: true });
    }
    return await send(kind, images.slice(0, MOST), note);
  } catch (error) {
    return say(error.message, { bad: true });
  }
}

/** The positions of a group's members, one more than a decision can name at most. */
async function membersOf(key) {
  const found = [];
  for (;;) {
    const { members, size } = await get(`api/groups/${key}`, { ...cutting(), offset: found.length, limit: 200 });
    found.push(...members.map((member) => member.p));
    if (!members.length || found.length >= size || found.length > MOST) return found;
  }
}

/** The group that the panel shows. */
function activeKey() {
  if (state.active === null) return null;
  return state.looked?.p === state.active ? state.looked.group.key : (known(state.active)?.key ?? state.active);
}

/** Ask for a note, then decide. */
export async function decideWithNote() {
  if (!targets().length) return say("Select an image first.", { bad: true });
  const kinds = Object.keys(KINDS).filter((kind) => KINDS[kind].about && kind !== "accept" && typeof possible(kind) !== "string");
  const answer = await withNote(kinds, targets().length);
  if (!answer) return null;
  if (answer.kind === "accept" || answer.kind === "whole") {
    return ofGroup(answer.kind === "whole" ? "keep" : "accept", activeKey(), answer.note);
  }
  return decide(answer.kind, answer.note);
}

const send = (...what) => goingOn(() => sent(...what));

async function sent(kind, images, note, seen = state.version) {
  try {
    const { decision, version, change } = await post("api/decisions", { kind, images, note, seen, origin: state.run.origin, ...cutting() });
    set({ selected: new Set() });
    settled(version);
    say(`${decided(decision)}.${changed(change, decision)}`, { version, outcome: true, action: { words: "Undo", key: "u", onclick: () => undo(decision.number) } });
    await refresh();
  } catch (error) {
    if (!(error instanceof ApiError)) return state.offline ? say("The server does not answer; nothing was decided.", { bad: true }) : Promise.reject(error);
    if (error.body.conflict) {
      if (await conflict(error.body.conflict, kind, images)) return sent(kind, images, note, error.body.version);
      return refresh();
    }
    say(error.message, { bad: true });
  }
  return null;
}

export async function undo(number = null) {
  return back("api/undo", number === null ? {} : { number }, (decision) => (decision ? `Undone: ${decided(decision)}.` : "There is nothing to undo."));
}

export async function redo() {
  return back("api/redo", {}, (decision) => (decision ? `Redone: ${decided(decision)}.` : "There is nothing to redo."));
}

const back = (...what) => goingOn(() => returned(...what));

async function returned(path, body, words) {
  try {
    const { decision, version } = await post(path, body);
    settled(version);
    say(words(decision), { outcome: true });
    await refresh();
  } catch (error) {
    say(error instanceof ApiError ? error.message : "The server does not answer; nothing was changed.", { bad: true });
  }
}
