// Effect of decisions on the fraction asked for: images removed instead, and the choice between count and height.

import { ApiError, get, isAbort, Latest, picture } from "./api.js";
import { holdTo } from "./cut.js";
import { deepen } from "./deeper.js";
import { button, byId, el } from "./dom.js";
import { pick } from "./pick.js";
import { on, state } from "./state.js";
import { count, dissimilarity, fileName, percent, several, shortened } from "./words.js";

const REST = 120; // ms after the last cut: the slider runs over many
const asking = new Latest();
let timer = null;

export function startRefill() {
  on("cut deeper", () => {
    clearTimeout(timer);
    timer = setTimeout(() => ask().catch((error) => isAbort(error) || draw(null)), REST);
  });
}

async function ask() {
  const { cut, run, threshold, deeper, keep } = state;
  const none = !cut || deeper || threshold !== null || !Object.keys(run.counts_by_kind).length;
  if (none) {
    asking.stop();
    return draw(null);
  }
  try {
    return draw(await asking.run((signal) => get("api/refill", { keep }, signal)));
  } catch (error) {
    if (!(error instanceof ApiError) || !error.body.can_deepen) throw error;
    return draw({ n_instead: null });
  }
}

function draw(found) {
  const box = byId("refill");
  const { cut, run, hold } = state;
  const many = found?.n_instead;
  if (!found || many === 0) return box.replaceChildren();
  const goal = `${percent(state.keep, run.n)} %`;
  const back = cut.kept - cut.wanted;
  if (hold === "height" && back <= 0) return box.replaceChildren();
  if (many === null) {
    return box.replaceChildren(
      el("section", { class: "refill" }, el("p", {}, words(back), " The tree ends here; deepen it to see which others could be removed instead."), button("Deepen the tree", { onclick: (event) => deepen(event.currentTarget, { keep: state.keep, hold: "count" }) })),
    );
  }
  const text =
    hold === "height"
      ? [words(back), ` To keep ${goal} as asked, ${many === 1 ? "this image" : `these ${count(many)}`} would be removed too:`]
      : [`${several(many, "image")} ${many === 1 ? "is" : "are"} removed instead of those your decisions keep, to keep ${goal} as asked:`];
  const choice =
    hold === "height"
      ? button(`Remove ${count(many)} more, to keep ${goal}`, { icon: "remove", onclick: () => holdTo("count") })
      : button(`Remove ${count(many)} fewer instead`, { icon: "undo", onclick: () => holdTo("height") });
  const left = many - found.instead.length;
  return box.replaceChildren(
    el("section", { class: "refill", "aria-label": "What decisions change" }, el("p", {}, text), el("ul", {}, found.instead.map(line), left > 0 && el("li", { class: "quiet" }, `and ${count(left)} more`)), choice),
  );
}

const words = (back) => `Your decisions keep ${several(back, "more image")}, and no other is removed instead.`;

function line({ p, id, representative, d }) {
  const apart = representative === null ? "" : `${dissimilarity(d)} from ${shortened(fileName(representative.id), 24)}`;
  return el(
    "li",
    {},
    el("button", { type: "button", class: "goes", title: id, onclick: () => pick(p) }, state.run.has_images && [el("img", { src: picture(p, 160), alt: "" }), representative !== null && el("img", { class: "stays", src: picture(representative.p, 160), alt: "" })], el("span", {}, el("bdi", {}, shortened(fileName(id), 28)), el("small", {}, apart))),
  );
}
