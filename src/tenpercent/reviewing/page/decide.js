// Decisions: their conditions, sending them, and conflicts with somebody else's.

import { ApiError, get, post } from "./api.js";
import { refresh } from "./cut.js";
import { conflict, withNote } from "./decide-dialogs.js";
import { advancing, known } from "./feed.js";
import { say, settled } from "./notices.js";
import { cutting, set, state, targets } from "./state.js";
import { KINDS, count, decided, effect, worded } from "./words.js";

const MOST = 1000; // images of one decision, as the server has it

/** What can be decided about some images: {kind, images}, or what is missing. */
export function possible(kind, images) {
  if (images.length > MOST) return worded`One decision names at most ${count(MOST)} images; ${count(images.length)} are selected.`;
  if (kind === "apart" && images.length === 1) {
    const other = state.looked?.p === images[0] ? state.looked.representative : null;
    if (other !== null && other !== undefined && other !== images[0]) return { kind, images: [images[0], other] };
    return worded("Select the two images that must never share a group.");
  }
  if (kind === "apart" && images.length !== 2) return worded`Never together takes two images; ${count(images.length)} are selected.`;
  return { kind, images };
}


/** Whether an image is on screen: in the panel, or where it is listed. */
function seen(position) {
  const panel = document.querySelector(".panel");
  if (state.looked?.p === position && panel?.offsetParent) return true;
  return [...document.querySelectorAll(`main [data-p="${position}"]`)].some((node) => {
    const { top, bottom, height } = node.getBoundingClientRect();
    return height > 0 && bottom > 0 && top < innerHeight;
  });
}

/** The images that a key acts on: those selected, else the one looked at where it is seen. Otherwise says why not. */
export function aimed() {
  const images = targets();
  if (!images.length) say(worded("Select an image first."), { bad: true });
  else if (!state.selected.size && !seen(images[0])) say(worded("The current image is not on screen; click one first."), { bad: true });
  else return images;
  return null;
}

/** Decide about some images; of a key that names none, about those it acts on. */
export async function decide(kind, note = "", images = aimed()) {
  if (!images) return null;
  if (kind === "apart" && images.length === 1 && state.looked?.p !== images[0]) await lookUp(images[0]);
  const what = possible(kind, images);
  if (typeof what === "string") return say(what, { bad: true });
  return send(what.kind, what.images, note);
}

/** Learn of an image before the panel shows it: a key may come sooner. */
async function lookUp(position) {
  const looked = await get(`api/images/${position}`, cutting()).catch(() => null); // a failed request has said so by its banner
  if (looked && state.active === position) set({ looked });
}

/** Accept a group or keep all of its images; of a key that names none, the one that the panel shows. */
export const accept = (key = aimedGroup()) => ofGroup("accept", key, "");
export const whole = (key = aimedGroup()) => ofGroup("keep", key, "");

/** The group that a key acts on: that of the image looked at. Otherwise says why not. */
function aimedGroup() {
  const images = aimed();
  if (!images) return null;
  if (!state.selected.size) return state.looked?.p === images[0] ? state.looked.group.key : (known(images[0])?.key ?? images[0]);
  say(worded("This acts on a whole group, but images are selected; clear the selection first (Esc)."), { bad: true });
  return null;
}

async function ofGroup(kind, key, note) {
  if (key === null) return null;
  try {
    const images = await membersOf(key);
    if (kind === "keep" && images.length > MOST) {
      return say(worded`One decision names at most ${count(MOST)} images, and this group has more; keep them in parts.`, { bad: true });
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

/** Ask for a note, then decide. */
export async function decideWithNote() {
  const images = aimed();
  if (!images) return null;
  const kinds = Object.keys(KINDS).filter((kind) => KINDS[kind].about && kind !== "accept" && typeof possible(kind, images) !== "string");
  const group = state.selected.size ? null : aimedGroup();
  const answer = await withNote(kinds, images, group !== null);
  if (!answer) return null;
  if (answer.kind === "accept") return ofGroup("accept", group, answer.note);
  if (answer.kind === "whole") return ofGroup("keep", group, answer.note);
  return decide(answer.kind, answer.note, images);
}

const send = (...what) => advancing(() => sent(...what));

async function sent(kind, images, note, seen = state.version) {
  try {
    const { decision, version, change } = await post("api/decisions", { kind, images, note, seen, origin: state.run.origin, ...cutting() });
    set({ selected: new Set() });
    settled(version);
    const words = change ? effect(change) : "";
    say(`${decided(decision)}.${words && ` ${words}.`}`, { version, outcome: true, action: { words: "Undo", key: "u", onclick: () => undo(decision.number) } });
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

const back = (...what) => advancing(() => returned(...what));

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
