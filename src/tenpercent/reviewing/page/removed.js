// The list of removed images: each beside its representative, the farthest apart first.

import { get, isAbort, Latest } from "./api.js";
import { markTiles, stretch, tile } from "./card.js";
import { byId, button, el } from "./dom.js";
import { learnNames } from "./feed.js";
import { pickable, severalBy } from "./pick.js";
import { cutting, onChange, state } from "./state.js";
import { several, worded } from "./words.js";

const PAGE = 60;
const asking = new Latest();
const list = el("div", { class: "pairs", role: "listbox", "aria-multiselectable": "true", "aria-labelledby": "removed-title" });
const about = el("p", { class: "quiet" });
const more = button("Show more", { onclick: () => add(list.children.length).catch(told) });

export function startRemoved() {
  const choose = severalBy(button("Select several", { icon: "several", kind: "several" }));
  byId("view-removed").append(el("div", { class: "bar" }, el("h2", { id: "removed-title" }, worded("Removed images")), about, choose), list, more);
  pickable(list, { between: (one, other) => stretch([...list.querySelectorAll(".tile.removed")].map((node) => Number(node.dataset.p)), one, other) });
  onChange("view cut deeper", () => draw().catch(told));
  onChange("active selected severally", () => markTiles(list));
  if (state.view === "removed") draw().catch(told);
}

function told(error) {
  if (!isAbort(error) && !state.offline) about.textContent = error.message;
}

async function draw() {
  if (state.view !== "removed" || !state.cut || state.deeper) return;
  await add(0);
}

/** Fetch a page of the list; the first takes the place of all. */
async function add(offset) {
  const { images, total } = await asking.run((signal) => get("api/removed", { ...cutting(), offset, limit: PAGE }, signal));
  learnNames(images.flatMap((image) => [image, image.representative].filter(Boolean)));
  const focused = [...list.querySelectorAll(".tile")].indexOf(document.activeElement);
  if (!offset) list.replaceChildren();
  list.append(...images.map(pair));
  more.hidden = list.children.length >= total;
  about.textContent = total ? `${several(total, "image")}, those farthest from their representative first` : worded("No image is removed at this cut.");
  markTiles(list);
  if (focused >= 0 && !offset) [...list.querySelectorAll(".tile")].slice(0, focused + 1).at(-1)?.focus({ preventScroll: true });
}

function pair(image) {
  const { representative } = image;
  const named = (one, more) => tile({ ...one, name: one.id, ...more });
  const stays = representative === null ? el("span", { class: "frame words" }, "removed by decision, without a representative") : named(representative, { role: "kept", d: null });
  return el("div", { class: "pair", role: "group" }, named(image, { role: "removed" }), stays);
}
