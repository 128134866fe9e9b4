// Search for an image by its name, to jump to its group: a text field with a list of results.

import { get, isAbort, Latest, picture } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { speak } from "./notices.js";
import { show } from "./pick.js";
import { state } from "./state.js";
import { className, count, several, shortened, worded } from "./words.js";

const LIMIT = 20;
const asking = new Latest();
let found = [];
let at = -1;
let entered = false; // Enter came before the answer: its first image is shown then

export function startFind() {
  const field = el("input", {
    id: "find-image",
    type: "search",
    role: "combobox",
    "aria-label": worded("Find an image"),
    "aria-expanded": "false",
    "aria-controls": "find-list",
    "aria-autocomplete": "list",
    placeholder: worded("Find an image"),
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 400,
    oninput: (event) => look(event.target.value),
    onkeydown: onKey,
    onfocus: (event) => look(event.target.value),
    onblur: () => setTimeout(close, 150), // a click on the list comes after the blur
  });
  const list = el("ul", { id: "find-list", class: "find-list", role: "listbox", "aria-label": worded("Images found"), hidden: true });
  byId("find").append(icon("search"), field, list);
}

async function look(text) {
  found = []; // those of another text are no answer to this one
  at = -1;
  entered = false;
  if (!text.trim()) {
    close();
    return;
  }
  try {
    const answer = await asking.run((signal) => get("api/search", { text: text.trim(), limit: LIMIT }, signal));
    if (document.activeElement !== byId("find-image")) return;
    found = answer.images;
    if (entered && found.length) choose(0);
    else draw(answer.total);
  } catch (error) {
    if (!isAbort(error)) close();
  }
}

function draw(total) {
  const list = byId("find-list");
  const options = found.map((image, number) =>
    el(
      "li",
      { id: `find-${number}`, role: "option", "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => choose(number) },
      state.run.has_images && el("img", { src: picture(image.p, 160), alt: "", loading: "lazy" }),
      el("bdi", { title: image.id }, shortened(image.id, 60)),
      image.class_name !== null && el("small", {}, el("bdi", {}, className(image.class_name))),
    ),
  );
  const left = total - found.length;
  const rest = found.length === 0 ? worded("No image name contains this.") : left > 0 ? `and ${count(left)} more; type more to narrow the list` : "";
  list.replaceChildren(...options, ...(rest ? [el("li", { class: "rest", role: "option", "aria-disabled": "true", "aria-selected": "false" }, rest)] : []));
  list.hidden = false;
  byId("find-image").setAttribute("aria-expanded", "true");
  speak(`${several(total, "image")} found`);
}

function close() {
  asking.stop();
  byId("find-list").hidden = true;
  const field = byId("find-image");
  field.setAttribute("aria-expanded", "false");
  field.removeAttribute("aria-activedescendant");
}

function onKey(event) {
  const { key } = event;
  if (key === "Escape") {
    if (!byId("find-list").hidden) event.stopPropagation();
    close();
  } else if (key === "ArrowDown" || key === "ArrowUp") {
    event.preventDefault();
    if (!found.length) return;
    at = (at + (key === "ArrowDown" ? 1 : -1) + found.length + (at < 0 && key === "ArrowUp" ? 1 : 0)) % found.length;
    [...byId("find-list").children].forEach((node, number) => node.setAttribute("aria-selected", String(number === at)));
    byId(`find-${at}`).scrollIntoView({ block: "nearest" });
    event.target.setAttribute("aria-activedescendant", `find-${at}`);
  } else if (key === "Enter") {
    event.preventDefault();
    if (found.length) choose(Math.max(0, at));
    else entered = true;
  }
}

function choose(number) {
  const image = found[number];
  close();
  if (image) show(image.p);
}
