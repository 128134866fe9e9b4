// The list of removed images: each beside its representative, the farthest apart first.

import { get, isAbort, Latest } from "./api.js";
import { frame } from "./card.js";
import { byId, button, el, icon } from "./dom.js";
import { openPanel, pick } from "./pick.js";
import { cutting, on, state } from "./state.js";
import { dissimilarity, several } from "./words.js";

const PAGE = 60;
const asking = new Latest();

export function startRemoved() {
  on("view cut deeper", () => draw().catch(told));
  on("active", mark);
  if (state.view === "removed") draw().catch(told);
}

function told(error) {
  if (!isAbort(error) && !state.offline) byId("view-removed").replaceChildren(el("p", { class: "problem" }, error.message));
}

async function draw() {
  if (state.view !== "removed" || !state.cut || state.deeper) return;
  const answer = await page(0);
  const list = el("ol", { class: "goers" }, answer.images.map(pair));
  const more = button("Show more", { onclick: async () => {
    const next = await page(list.children.length);
    list.append(...next.images.map(pair));
    more.hidden = list.children.length >= next.total;
    mark();
  } });
  more.hidden = answer.images.length >= answer.total;
  byId("view-removed").replaceChildren(
    el("div", { class: "bar" }, el("h2", { id: "removed-title" }, "Removed images"), el("p", { class: "quiet" }, answer.total ? `${several(answer.total, "image")}, those farthest from their representative first` : "No image is removed at this cut.")),
    list,
    more,
  );
  mark();
}

const page = (offset) => asking.run((signal) => get("api/removed", { ...cutting(), offset, limit: PAGE }, signal));

function pair(image) {
  const { representative } = image;
  const words = representative === null ? "removed by decision" : `${dissimilarity(image.d)} apart`;
  const side = (one, role, name) => el("button", { type: "button", class: `goer ${role}`, data: { p: one.p }, title: one.id, "aria-label": `${name} ${one.id}`, onclick: () => look(one.p) }, frame({ missing: false, ...one }, 160), el("bdi", { class: "id" }, one.id));
  return el(
    "li",
    {},
    side(image, "removed", "Removed:"),
    representative === null ? el("span", { class: "frame words" }, "no representative") : side(representative, "kept", "Its representative:"),
    el("b", {}, representative === null ? icon("remove") : "", words),
  );
}

function look(position) {
  pick(position);
  openPanel();
}

function mark() {
  for (const one of document.querySelectorAll(".goer")) one.classList.toggle("active", Number(one.dataset.p) === state.active);
}
