// The cut: slider and numbers. One request runs at a time; the newest position wins.

import { ApiError, Follower, get, isAbort } from "./api.js";
import { byId, el } from "./dom.js";
import * as feed from "./feed.js";
import { banner, say, settled } from "./notices.js";
import { cutting, onChange, set, state } from "./state.js";
import { count, hundredfold, percent, several, worded } from "./words.js";

const BEYOND = 0.08; // of the slider leads deeper than the tree reaches: there it offers to deepen
const slider = byId("keep-slider");
const number = byId("keep-number");
const height = byId("threshold-number");
const follower = new Follower(load);
const refreshing = new Follower(refreshed);

export function startCut() {
  slider.addEventListener("input", () => moveTo(keepOf(Number(slider.value))));
  slider.addEventListener("keydown", onKey);
  number.addEventListener("change", () => {
    const asked = Number(number.value) / 100;
    if (number.value !== "" && asked > 0 && asked <= 1) return moveTo(asked);
    say("Keep is above 0 and at most 100%.", { bad: true });
    number.value = hundredfold(state.keep, state.run.n);
  });
  height.addEventListener("change", () => {
    const asked = Number(height.value);
    if (height.value !== "" && asked >= 0 && asked <= 2) return cutAt(asked);
    say("Dissimilarity is from 0 to 2.", { bad: true });
    height.value = heightNow();
  });
  onChange("run", scale);
  onChange("keep deeper", show);
  onChange("cut threshold deeper", showHeight);
  scale();
  show();
}

/** Ask for another fraction; counts and groups follow. */
export function moveTo(keep) {
  const n = state.run.n;
  return cutBy({ keep: Math.min(1, Math.max(1 / n, keep)), threshold: null });
}

/** Ask for the groups in which no two images are farther apart than this. */
export function cutAt(threshold) {
  return cutBy({ threshold });
}

/** Choose what decisions leave as it is: the height of the cut, or how many stay. */
export function holdTo(hold) {
  return cutBy({ hold });
}

function cutBy(changes) {
  settled(-1); // what was said of images removed instead is no longer true
  set(changes);
  return follower.follow(cutting());
}

/** One step of the slider down or up, in thousandths of all images, at least one image. */
export function step(direction, thousandths = 1) {
  const by = Math.max(1, Math.round((state.run.n * thousandths) / 1000));
  return moveTo(keepOf(Math.round(state.keep * state.run.n) + direction * by));
}

/** Load the cut and the groups on screen again. */
export const reload = () => follower.follow(cutting());

/** Load all that decisions change. */
export const refresh = () => refreshing.follow(true);

async function refreshed() {
  const run = await get("api/run");
  if (run.origin !== state.run.origin) {
    banner("origin", worded("The images were embedded again since this page was opened."), { words: "Load the page again", onclick: () => location.reload() });
    return;
  }
  settled(run.version);
  set({ run });
  await reload();
}

async function load(asked) {
  const { run } = state;
  const deepest = asked.hold === "count" ? run.deepest_keep : run.deepest_held;
  if (asked.keep * run.n < deepest * run.n - 0.5) return beyond(asked, deepest);
  try {
    const [cut] = await Promise.all([get("api/cut", asked), feed.reload(asked)]);
    set({ cut, deeper: null, version: cut.version, ...(asked.threshold === undefined ? {} : { keep: cut.kept / run.n }) });
  } catch (error) {
    if (error instanceof ApiError && error.body.can_deepen) return beyond(asked, error.body.deepest_keep);
    if (error instanceof ApiError) byId("feed-state").replaceChildren(el("p", { class: "problem" }, error.message));
    else if (!isAbort(error) && !state.offline) throw error;
  }
  return null;
}

/** The tree does not reach a cut: offer to go deeper; where only decisions push it there, remove fewer instead. */
function beyond(asked, deepest) {
  const { run } = state;
  if (asked.hold === "count" && asked.keep * run.n >= run.deepest_held * run.n - 0.5) {
    set({ hold: "height" });
    say(worded("The tree ends here, so fewer images are removed than asked."), { version: run.version });
    return load(cutting());
  }
  set({ deeper: { keep: asked.keep ?? null, deepest }, ...(asked.keep === undefined ? { keep: lowest() } : {}) });
  return null;
}

/** The shortest decimal fraction that keeps so many images: what is copied as a command should be readable. */
function keepOf(kept) {
  const n = state.run.n;
  const wanted = Math.min(n, Math.max(1, kept));
  for (let decimals = 2; decimals < 8; decimals += 1) {
    const keep = Number((wanted / n).toFixed(decimals));
    if (keep > 0 && Math.abs(keep * n - wanted) < 0.49) return keep;
  }
  return wanted / n;
}

function onKey(event) {
  // Arrows move by a thousandth, with shift by one image; the slider's own steps are single images.
  const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -1, PageUp: 1 }[event.key];
  if (!direction || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (event.shiftKey) moveTo(keepOf(Math.round(state.keep * state.run.n) + direction));
  else step(direction, event.key.startsWith("Page") ? 10 : 1);
}

/** The smallest fraction on the slider: a little beyond what the tree reaches. */
export function lowest() {
  const { deepest_held: deepest, n } = state.run;
  return Math.max(1 / n, deepest - (BEYOND / (1 - BEYOND)) * (1 - deepest));
}

/** Where a fraction lies on the slider, from 0 to 1. */
export function place(keep) {
  const low = lowest();
  return low >= 1 ? 1 : (keep - low) / (1 - low);
}

function scale() {
  const { n, deepest_held: deepest } = state.run;
  slider.min = Math.max(1, Math.floor(lowest() * n));
  slider.max = n;
  slider.disabled = number.disabled = n < 2;
  byId("cut").style.setProperty("--reach-share", n < 2 ? 0 : Math.max(0, place(deepest)));
  const span = 1 - lowest();
  const apart = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].find((one) => span / one >= 3) ?? 0.0005;
  const ticks = [];
  for (let at = 1; at >= Math.max(deepest, lowest()) - 1e-9 && ticks.length < 12; at -= apart) {
    const tick = el("span", { class: "tick" }, `${Number((100 * at).toFixed(2))}%`);
    tick.style.setProperty("--at", place(at));
    ticks.push(tick);
  }
  byId("ticks").replaceChildren(...ticks);
  byId("beyond").hidden = n < 2 || place(deepest) <= 0;
}

/** The dissimilarity asked for, or that of the cut shown; empty beyond the tree. */
function heightNow() {
  return state.threshold ?? (state.deeper || !state.cut ? "" : Number(state.cut.height.toPrecision(3)));
}

function showHeight() {
  height.disabled = state.run.n < 2;
  if (document.activeElement !== height) height.value = heightNow();
  document.documentElement.classList.toggle("by-height", state.threshold !== null);
}

function show() {
  const { n } = state.run;
  const kept = Math.round(state.keep * n);
  const unknown = state.deeper !== null && state.threshold !== null; // how many a threshold keeps is known once the tree reaches it
  const below = unknown ? `< ${hundredfold(state.deeper.deepest, n)}` : "";
  if (Number(slider.value) !== kept) slider.value = kept;
  slider.setAttribute("aria-valuetext", unknown ? `keep ${below}%` : `keep ${percent(state.keep, n)}, ${count(kept)} of ${several(n, "image")}`);
  number.placeholder = below;
  if (unknown) number.value = "";
  else if (document.activeElement !== number || !number.matches(":focus-visible") || Number(number.value) / 100 !== state.keep) {
    number.value = hundredfold(state.keep, n);
  }
  byId("cut").style.setProperty("--place-share", Math.max(0, place(state.keep)));
  document.documentElement.classList.toggle("beyond-tree", state.deeper !== null);
}
