// The cut: slider, number, counts and the page's headline. One request is under way at a time; the newest place wins.

import { ApiError, Follower, get, isAbort } from "./api.js";
import { byId, el } from "./dom.js";
import { offerDeeper } from "./deeper.js";
import * as feed from "./feed.js";
import { speak } from "./notices.js";
import { on, set, state } from "./state.js";
import { count, dissimilarity, percent, several } from "./words.js";

const BEYOND = 0.08; // of the slider leads deeper than the tree reaches: there it offers to deepen
const slider = byId("keep-slider");
const number = byId("keep-number");
const follower = new Follower(load);

export function startCut() {
  slider.addEventListener("input", () => moveTo(keepOf(Number(slider.value))));
  slider.addEventListener("keydown", onKey);
  number.addEventListener("change", () => {
    const asked = Number(number.value) / 100;
    if (number.value === "" || !(asked > 0 && asked <= 1)) show();
    else moveTo(asked);
  });
  on("run", scale);
  on("keep deeper", show);
  on("cut deeper", tell);
  scale();
  show();
}

/** Ask for another fraction; counts and groups follow. */
export function moveTo(keep) {
  const n = state.run.n;
  set({ keep: Math.min(1, Math.max(1 / n, keep)) });
  return follower.follow(state.keep);
}

/** One step of the slider down or up, in thousandths of all images, at least one image. */
export function step(direction, thousandths = 1) {
  const by = Math.max(1, Math.round((state.run.n * thousandths) / 1000));
  return moveTo(keepOf(Math.round(state.keep * state.run.n) + direction * by));
}

/** Load the cut and what is seen of its groups again: decisions have changed. */
export const reload = () => follower.follow(state.keep);

async function load(keep) {
  if (keep * state.run.n < state.run.deepest_keep * state.run.n - 0.5) {
    set({ deeper: { keep, deepest: state.run.deepest_keep } });
    return;
  }
  try {
    const [cut] = await Promise.all([get("api/cut", { keep }), feed.reload(keep)]);
    set({ cut, deeper: null, version: cut.version });
  } catch (error) {
    if (error instanceof ApiError && error.body.can_deepen) {
      set({ deeper: { keep, deepest: error.body.deepest_keep } });
    } else if (error instanceof ApiError) {
      byId("feed-state").replaceChildren(el("p", { class: "problem" }, error.message));
    } else if (!isAbort(error) && !state.offline) throw error;
  }
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
  const { deepest_keep: deepest, n } = state.run;
  return Math.max(1 / n, deepest - (BEYOND / (1 - BEYOND)) * (1 - deepest));
}

/** Where a fraction lies on the slider, from 0 to 1. */
export function place(keep) {
  const low = lowest();
  return low >= 1 ? 1 : (keep - low) / (1 - low);
}

function scale() {
  const { n, deepest_keep: deepest } = state.run;
  slider.min = Math.max(1, Math.floor(lowest() * n));
  slider.max = n;
  slider.disabled = number.disabled = n < 2;
  byId("cut").style.setProperty("--reach-share", n < 2 ? 0 : Math.max(0, place(deepest)));
  const span = 1 - lowest();
  const apart = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].find((one) => span / one >= 4) ?? 0.0005;
  const ticks = [];
  for (let at = 1; at >= Math.max(deepest, lowest()) - 1e-9 && ticks.length < 12; at -= apart) {
    const tick = el("span", { class: "tick" }, `${Number((100 * at).toFixed(2))}%`);
    tick.style.setProperty("--at", place(at));
    ticks.push(tick);
  }
  byId("ticks").replaceChildren(...ticks);
}

function show() {
  const { n } = state.run;
  const kept = Math.round(state.keep * n);
  if (Number(slider.value) !== kept) slider.value = kept;
  slider.setAttribute("aria-valuetext", `keep ${percent(state.keep, n)} %, ${count(kept)} of ${several(n, "image")}`);
  if (document.activeElement !== number || !number.matches(":focus-visible") || Number(number.value) / 100 !== state.keep) {
    number.value = percent(state.keep, n);
  }
  byId("cut").style.setProperty("--place-share", Math.max(0, place(state.keep)));
  const deeper = byId("deeper");
  if (state.deeper && !deeper) byId("feed-state").before(offerDeeper());
  else if (!state.deeper) deeper?.remove();
  byId("feed").hidden = Boolean(state.deeper);
}

function tell() {
  const { run, cut, deeper } = state;
  const n = run.n;
  if (deeper) {
    byId("headline").textContent = `Keep ${percent(deeper.keep, n)} % lies deeper than the tree`;
    byId("counts").replaceChildren();
    byId("guarantee").textContent = "";
    return;
  }
  if (!cut) return;
  let headline = `${count(cut.removed)} of ${several(n, "image")} can go`;
  if (n === 1) headline = cut.removed ? "The only image is removed" : "The only image is kept";
  else if (!cut.removed) headline = `All ${several(n, "image")} are kept`;
  byId("headline").textContent = headline;
  byId("counts").replaceChildren(
    el("b", { class: "kept-words" }, `${count(cut.kept)} kept`),
    el("span", {}, `${count(cut.removed)} removed`),
    el("span", {}, several(cut.redundant_groups, "group")),
  );
  guarantee(cut);
  notes(cut);
  document.title = `${headline} · ${run.name} · tenpercent`;
  speak(`${count(cut.kept)} kept, ${count(cut.removed)} removed, ${several(cut.redundant_groups, "redundant group")}`);
}

function guarantee(cut) {
  const words =
    cut.redundant_groups === 0
      ? ""
      : ` The largest group holds ${several(cut.largest, "image")}; no two images of any group are farther apart than ${dissimilarity(cut.height)}.`;
  byId("guarantee").textContent = words;
}

function notes(cut) {
  const { notes: said, decisions_error: banner } = state.run; // what a banner says is not said twice
  const lines = [...new Set([...said, ...cut.notes])].filter((line) => line !== banner);
  const list = lines.length > 0 && el("ul", { class: "notes" }, lines.map((line) => el("li", { dir: "auto" }, line)));
  byId("notes").replaceChildren(...(list ? [list] : []));
}
