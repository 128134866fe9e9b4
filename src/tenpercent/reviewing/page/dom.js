// Builder of elements. Text is inserted as text nodes only: names of files and classes can hold anything.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `on…` are listeners, `data` a dataset, `class` a class; null and false leave an attribute out. */
export function el(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** Make an SVG element. */
export function svg(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** The element of an id that index.html holds. */
export const byId = (id) => document.getElementById(id);

/** One of the icons of index.html; decoration only, the words stand beside it or in the button's name. */
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));
}

/** A button with an icon, words and the key that does the same. */
export function button(words, { icon: name, key, onclick, kind = "", ...more } = {}) {
  return el(
    "button",
    { type: "button", class: `button ${kind}`, onclick, ...more },
    name && icon(name),
    el("span", {}, words),
    key && el("kbd", { "aria-hidden": "true" }, key),
  );
}

/** A dialog with a title and a way out, shown at once and gone once closed. Gives the dialog and its body. */
export function openDialog(title, { wide = false, onclose, className = "" } = {}) {
  const before = document.activeElement;
  const body = el("div", { class: "dialog-body" });
  const close = el("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
  const dialog = el(
    "dialog",
    { class: `dialog ${wide ? "wide" : ""} ${className}`, "aria-labelledby": "dialog-title" },
    el("header", {}, el("h2", { id: "dialog-title" }, title), close),
    body,
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop belongs to the dialog itself
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
    if (before?.isConnected) before.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, body };
}
