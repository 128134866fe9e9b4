// Order and filters of the list, the size of its tiles, and what stands in its place where nothing passes.

import { step } from "./cut.js";
import { button, byId, el } from "./dom.js";
import { filtered, setTileSize, tileSize } from "./feed.js";
import { onChange, state } from "./state.js";
import { className, count, worded } from "./words.js";

const NONE = { class: "", min_size: "", max_size: "", text: "", decided: "any" };
const ORDERS = {
  size: "largest first",
  tightest: "tightest first",
  widest: "widest first",
  height: "last merged first",
  class: "by class",
  conflict: "differing labels first",
};
const PAUSE = 200; // ms after the last letter
let timer = null;

export const filtering = () => Object.keys(NONE).some((name) => state.filter[name] !== NONE[name]);

export function clearFilters() {
  const done = filtered(NONE);
  byId("show-filters").focus();
  return done;
}

export function startFilters() {
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("order").append(choice("Order", "order", ORDERS, "inline"));
  form.append(
    el("label", { class: "field", id: "class-field" }, el("span", {}, "Class"), el("select", { id: "filter-class", onchange: (event) => filtered({ class: event.target.value }) })),
    el("label", { class: "field wide" }, el("span", {}, "Path contains"), typed("text", { type: "search", maxlength: 400 })),
    el("fieldset", { class: "field sizes" }, el("legend", {}, worded("Images in group")), typed("min_size", whole("at least")), el("span", { "aria-hidden": "true" }, "–"), typed("max_size", whole("at most"))),
    choice("Decided", "decided", { any: "any", no: "not yet", yes: "decided" }),
    el("label", { class: "field" }, el("span", {}, "Pictures"), sizes()),
    button("Clear", { kind: "quiet clear", onclick: clearFilters, id: "clear-filters" }),
  );
  byId("show-filters").addEventListener("click", (event) => {
    form.hidden = !form.hidden;
    event.currentTarget.setAttribute("aria-expanded", String(!form.hidden));
  });
  form.hidden = !filtering();
  byId("show-filters").setAttribute("aria-expanded", String(!form.hidden));
  onChange("run", classes);
  onChange("filter cut", show);
  onChange("listed filter cut", empty);
  classes();
  show();
}

function choice(words, name, choices, kind = "") {
  const options = Object.entries(choices).map(([value, text]) => el("option", { value }, text));
  return el("label", { class: `field ${kind}` }, el("span", {}, words), el("select", { id: `filter-${name}`, onchange: (event) => filtered({ [name]: event.target.value }) }, options));
}

function sizes() {
  const options = ["small", "medium", "large"].map((name) => el("option", { value: name, selected: name === tileSize() }, name));
  return el("select", { id: "filter-tiles", onchange: (event) => setTileSize(event.target.value) }, options);
}

const whole = (words) => ({ type: "number", min: 1, max: 1e9, step: 1, inputmode: "numeric", placeholder: words === "at least" ? "2" : "any", "aria-label": words });

function typed(name, props) {
  return el("input", {
    id: `filter-${name}`,
    autocomplete: "off",
    spellcheck: "false",
    ...props,
    oninput: (event) => {
      const { value, validity } = event.target;
      clearTimeout(timer);
      if (validity.valid) timer = setTimeout(() => filtered({ [name]: value }), PAUSE);
    },
  });
}

function classes() {
  const { classes: known, n_classes: many, labelled } = state.run;
  byId("class-field").hidden = !labelled;
  const options = known.map(({ code, name, images }) => el("option", { value: code }, `${className(name)} (${count(images)})`));
  const left = (many ?? known.length) - known.length;
  const rest = left > 0 && el("option", { disabled: true }, `${count(left)} further classes are not listed`);
  byId("filter-class").replaceChildren(el("option", { value: "" }, "all"), ...options, ...(rest ? [rest] : []));
  byId("filter-class").value = state.filter.class;
}

function show() {
  // Of groups that are all pairs none is the largest: then that order is the same as the tightest first.
  const pairs = state.cut !== null && state.cut.redundant_groups > 0 && state.cut.largest === 2;
  const { labelled, within } = state.run;
  const idle = { size: pairs, class: !labelled, conflict: !labelled || within === "class" }; // orders that tell no groups apart
  for (const option of byId("filter-order").options) option.hidden = option.disabled = Boolean(idle[option.value]);
  byId("filter-order").title = pairs ? "Every group is a pair at this cut, so none is the largest." : "";
  for (const [name, value] of Object.entries(state.filter)) {
    const field = byId(`filter-${name}`);
    const shown = name === "order" && idle[value] ? (pairs ? "tightest" : "size") : value;
    if (field !== document.activeElement || value === NONE[name]) field.value = shown;
  }
  byId("clear-filters").hidden = !filtering();
  byId("show-filters").classList.toggle("on", filtering());
}

/** Message in place of an empty list: the reason, and what to do. */
function empty() {
  const why = state.listed !== 0 ? undefined : filtering() ? "filters" : state.run.n === 1 ? "one" : "nothing";
  const place = byId("feed-state");
  if (place.childElementCount && place.firstElementChild.dataset.why === why) return; // its button may have the focus
  place.replaceChildren(...(why ? [box(why)] : []));
}

function box(why) {
  if (why === "filters") {
    return el("div", { class: "empty", data: { why } }, el("h3", {}, "No group passes the filters"), el("p", {}, "Change or clear them to see the groups of this cut."), button("Clear the filters", { onclick: clearFilters }));
  }
  if (why === "one") {
    return el("div", { class: "empty", data: { why } }, el("h3", {}, worded("There is one image")), el("p", {}, "There is nothing to compare it with, so it is kept."));
  }
  return el(
    "div",
    { class: "empty", data: { why } },
    el("h3", {}, "There are no groups at this cut"),
    el("p", {}, worded("Every image stands alone. Keep fewer, and the images most alike are grouped first.")),
    button("Keep 1% fewer", { kind: "strong", onclick: () => step(-1, 10) }),
  );
}
