// Message in place of an empty list: the reason, and what to do.

import { button, byId, el } from "./dom.js";
import { clearFilters, filtering } from "./filters.js";
import { step } from "./cut.js";
import { state } from "./state.js";

let shown = "";

export function empty(total) {
  const why = total > 0 ? "" : filtering() ? "filters" : state.run.n === 1 ? "one" : "nothing";
  if (why === shown) return;
  shown = why;
  byId("feed-state").replaceChildren(...(why ? [box(why)] : []));
}

function box(why) {
  if (why === "filters") {
    return el("div", { class: "empty" }, el("h3", {}, "No group is like that"), el("p", {}, "At this cut no redundant group passes your filters."), button("Clear the filters", { onclick: clearFilters }));
  }
  if (why === "one") {
    return el("div", { class: "empty" }, el("h3", {}, "There is one image"), el("p", {}, "One image has nothing to be redundant with; it is kept."));
  }
  return el(
    "div",
    { class: "empty" },
    el("h3", {}, "Nothing is redundant at this cut"),
    el("p", {}, "Every image is alone in its group. Keep fewer, and the images most alike are grouped first."),
    button("Keep 1 % fewer", { kind: "strong", onclick: () => step(-1, 10) }),
  );
}
