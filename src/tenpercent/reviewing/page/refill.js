// What decisions change of the cut: which images are kept, which are removed instead, and the choice between count and height.

import { ApiError, get, isAbort, Latest, picture } from "./api.js";
import { holdTo } from "./cut.js";
import { deepen } from "./deeper.js";
import { button, byId, el } from "./dom.js";
import { pick } from "./pick.js";
import { cutting, onChange, state } from "./state.js";
import { count, dissimilarity, effect, fileName, named, percent, shortened, worded } from "./words.js";

const REST = 120; // ms after the last cut: the slider runs over many
const asking = new Latest();
let timer = null;

export function startRefill() {
  onChange("cut deeper", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load().catch((error) => isAbort(error) || draw([])), REST);
  });
}

async function load() {
  asking.stop();
  const { cut, run, deeper } = state;
  if (!cut || deeper || !Object.keys(run.counts_by_kind).length) return draw([]);
  try {
    return draw(told(await asking.run((signal) => get("api/refill", cutting(), signal))));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return draw([el("p", {}, error.message)]);
  }
}

function draw(content) {
  byId("refill").replaceChildren(...(content.length ? [el("section", { class: "refill", "aria-label": "What decisions change" }, content)] : []));
}

function told(change) {
  const words = effect(change);
  const made = Object.values(state.run.counts_by_kind).reduce((sum, number) => sum + number, 0);
  const own = words ? [el("p", {}, `${made === 1 ? "By your decision" : `By your ${count(made)} decisions together`}, ${words}.`), list(change)] : [];
  if (state.threshold !== null) return own;
  const { further } = change;
  const goal = percent(state.keep, state.run.n);
  if (further === null) {
    if (change.n_back <= change.n_instead) return own;
    const go = button("Deepen the tree", { onclick: () => deepen(go, { keep: state.keep, hold: "count" }) });
    return [...own, el("p", {}, `To keep ${goal} as asked, others would be removed. The tree ends here; deepen it to see which.`), go];
  }
  const more = further.n_instead - further.n_back;
  if (more <= 0) return own;
  if (state.hold === "count") return [...own, button(`Remove ${count(more)} fewer instead`, { icon: "undo", onclick: () => holdTo("height") })];
  const others = further.n_instead === 1 ? worded("this image") : `these ${count(further.n_instead)}`;
  const stays = further.n_back ? `, and ${named(further.back, further.n_back)} kept` : "";
  return [...own, el("p", {}, `To keep ${goal} as asked, ${others} would be removed too${stays}:`), list(further), button(`Remove ${count(more)} more, to keep ${goal}`, { icon: "remove", onclick: () => holdTo("count") })];
}

/** Images that go, each beside the one that is kept for it. */
function list({ instead, n_instead: many }) {
  const left = many - instead.length;
  return many > 0 && el("ul", {}, instead.map(line), left > 0 && el("li", { class: "quiet" }, `and ${count(left)} more`));
}

function line({ p, id, representative, d }) {
  const apart = representative === null ? "" : `${dissimilarity(d)} from ${shortened(fileName(representative.id), 24)}`;
  const small = (position, role) => el("img", { class: role, src: picture(position, 160), alt: "" });
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "goes", title: id, onclick: () => pick(p) },
      state.run.has_images && [small(p, "gone"), representative !== null && small(representative.p, "stays")],
      el("span", {}, el("bdi", {}, shortened(fileName(id), 28)), el("small", {}, apart)),
    ),
  );
}
