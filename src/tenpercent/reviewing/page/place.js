// Place on the page, stored in the address: a reload returns to it, and a copied address leads there.

import { onChange, state } from "./state.js";

const VIEWS = ["groups", "map", "decisions", "removed"];
let timer = null;

/** What the address says; null where it says nothing. */
export function place() {
  const said = new URLSearchParams(location.hash.slice(1));
  const keep = Number(said.get("keep"));
  const threshold = Number(said.get("threshold"));
  const image = said.has("image") ? Number(said.get("image")) : null;
  const filter = {};
  for (const name of Object.keys(state.filter)) if (said.get(name)) filter[name] = said.get(name);
  return {
    keep: keep > 0 && keep <= 1 ? keep : null,
    threshold: said.has("threshold") && threshold >= 0 && threshold <= 2 ? threshold : null,
    hold: said.get("hold") === "count" ? "count" : "height",
    image: Number.isInteger(image) && image >= 0 ? image : null,
    view: VIEWS.includes(said.get("view")) ? said.get("view") : null,
    filter,
  };
}

export function startPlace() {
  onChange("keep threshold hold filter view active", () => {
    clearTimeout(timer);
    timer = setTimeout(write, 300); // browsers allow no more than some hundred changes a minute
  });
}

function write() {
  const said = new URLSearchParams();
  if (state.threshold !== null) said.set("threshold", state.threshold);
  else if (state.keep !== state.run.keep) said.set("keep", state.keep);
  if (state.hold !== "height") said.set("hold", state.hold);
  if (state.view !== "groups") said.set("view", state.view);
  if (state.active !== null) said.set("image", state.active);
  const plain = { order: "size", decided: "any" };
  for (const [name, value] of Object.entries(state.filter)) if (value && value !== plain[name]) said.set(name, value);
  history.replaceState(null, "", said.size ? `#${said}` : location.pathname + location.search);
}
