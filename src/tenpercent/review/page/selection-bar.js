// The bar at the foot of the page while several images are selected: what can be decided about all of them.

import { byId, button, el } from "./dom.js";
import { compare } from "./compare.js";
import { decide, possible } from "./decide.js";
import { clearSelection } from "./pick.js";
import { on, state } from "./state.js";
import { speak } from "./notices.js";
import { count, several } from "./words.js";

export function startSelectionBar() {
  on("selected run", draw);
}

function draw() {
  const bar = byId("selection-bar");
  const images = [...state.selected];
  bar.hidden = images.length < 2;
  document.documentElement.classList.toggle("selecting", !bar.hidden);
  if (bar.hidden) return;
  const act = (kind, words, key, name) => {
    const why = possible(kind);
    return button(words, { icon: name, key, onclick: () => decide(kind), ...(typeof why === "string" ? { "aria-disabled": "true", title: why } : {}) });
  };
  bar.replaceChildren(
    el("b", {}, `${count(images.length)} selected`),
    act("keep", "Keep", "k", "plus"),
    act("remove", "Remove", "r", "remove"),
    images.length !== 2 ? "" : act("apart", "Never together", "n", "apart"),
    images.length === 2 ? button("Compare", { icon: "side", key: "c", onclick: () => compare(...images) }) : "",
    act("alone", "Never with any", "⇧n", "alone"),
    button("Clear", { kind: "quiet", key: "Esc", onclick: clearSelection }),
  );
  speak(`${several(images.length, "image")} selected`);
}
