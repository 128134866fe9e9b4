// The bar at the foot of the page while images are selected: their names, and the decisions possible on all of them.

import { picture } from "./api.js";
import { compare } from "./compare.js";
import { decide, possible } from "./decide.js";
import { byId, button, el } from "./dom.js";
import { nameOf } from "./feed.js";
import { speak } from "./notices.js";
import { clearSelection, pick } from "./pick.js";
import { onChange, state } from "./state.js";
import { count, fileName, several, shortened, worded } from "./words.js";

const SHOWN = 6; // pictures of those selected, at most

export function startSelectionBar() {
  onChange("selected severally run", draw);
}

function draw() {
  const bar = byId("selection-bar");
  const images = [...state.selected];
  bar.hidden = !images.length && !state.severally;
  document.documentElement.classList.toggle("selecting", images.length > 0);
  document.documentElement.classList.toggle("with-bar", !bar.hidden);
  if (bar.hidden) return;
  if (!images.length) {
    bar.replaceChildren(el("div", { class: "which" }, el("b", {}, "None selected"), el("span", { class: "quiet" }, worded("Click images to select.")), button("Done", { kind: "quiet", key: "Esc", onclick: clearSelection })));
    return;
  }
  const act = (kind, words, key, name) => {
    const why = possible(kind, images);
    return button(words, { icon: name, key, onclick: () => decide(kind), ...(typeof why === "string" ? { "aria-disabled": "true", title: why } : {}) });
  };
  const clear = button("Clear", { kind: "quiet", key: "Esc", onclick: clearSelection });
  bar.replaceChildren(
    el(
      "div",
      { class: "which" },
      el("b", {}, `${count(images.length)} selected`),
      small(images),
      images.length === 2 && button("Compare", { icon: "side", key: "c", onclick: () => compare(...images) }),
      clear,
    ),
    el(
      "div",
      { class: "actions-on" },
      act("prefer", images.length === 1 ? "Make representative" : "Make representatives", "p", "star"),
      act("keep", "Keep", "k", "plus"),
      act("remove", "Remove", "r", "remove"),
      images.length === 2 && act("apart", "Never together", "n", "apart"),
      act("alone", "Always alone", "⇧n", "alone"),
    ),
  );
  speak(`${several(images.length, "image")} selected`);
}

/** The selected images small, or their names, each a button that takes it out: those scrolled away are seen here. */
function small(images) {
  const shown = images.slice(0, images.length > SHOWN ? SHOWN - 1 : SHOWN).map((p) => {
    const name = nameOf(p);
    return el("button", { type: "button", class: "chosen", title: `Take ${name} out`, "aria-label": `Take ${name} out`, onclick: () => pick(p, { adding: true }) }, state.run.has_images ? el("img", { src: picture(p, 160), alt: "" }) : el("bdi", {}, shortened(fileName(name), 12)));
  });
  const left = images.length - shown.length;
  return [...shown, left > 0 && el("span", { class: "quiet" }, `+${count(left)}`)];
}
