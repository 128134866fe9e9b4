// Notices: banners that stay until their cause is gone, short messages, text for screen readers.

import { byId, button, el, icon } from "./dom.js";

const LASTS = 8000; // ms; longer with a button, and never gone while it is pointed at or has the focus
const shown = new Map();
let speaking = null;

/** Show a banner, or take it away where there are no words. */
export function banner(name, words, action = null) {
  if (shown.get(name)?.words === words) return;
  shown.get(name)?.node.remove();
  shown.delete(name);
  if (!words) return;
  const node = el("div", { class: "banner" }, icon("warn"), el("p", { dir: "auto" }, words), action && button(action.words, { onclick: action.onclick }));
  shown.set(name, { words, node });
  byId("banners").append(node);
}

/** Take away what offers to undo a decision once others were made after it, or taken back. */
export function settled(version) {
  for (const toast of document.querySelectorAll(".toast[data-version]")) if (Number(toast.dataset.version) !== version) toast.remove();
}

/**
 * Say something in passing, with a button to act on it; `version` is that of the decisions that the button is about.
 * The outcome of a decision takes the place of the one before, and of errors: they are settled.
 */
export function say(words, { bad = false, action = null, version = null, outcome = false } = {}) {
  const node = el(
    "div",
    { class: `toast ${bad ? "bad" : ""} ${outcome ? "outcome" : ""}`, data: version === null ? {} : { version } },
    icon(bad ? "warn" : "check"),
    el("p", { dir: "auto" }, words),
    action && button(action.words, { key: action.key, onclick: () => { node.remove(); action.onclick(); } }),
    el("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => node.remove() }, icon("close")),
  );
  const box = byId("toasts");
  if (outcome) for (const old of box.querySelectorAll(".toast.bad, .toast.outcome")) old.remove();
  while (box.children.length > 2) box.firstChild.remove();
  box.append(node);
  const leave = () => {
    if (node.matches(":hover, :focus-within")) setTimeout(leave, 1000);
    else node.remove();
  };
  setTimeout(leave, action || bad ? 2 * LASTS : LASTS);
}

/** Tell screen readers, once it has been quiet for a moment: the slider would talk without end. */
export function speak(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    byId("spoken").textContent = words;
  }, 600);
}
