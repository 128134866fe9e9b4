// Comparison of two images: side by side, or alternating in one place, where the eye sees every difference.

import { get } from "./api.js";
import { large } from "./card.js";
import { aimed } from "./decide.js";
import { button, el, openDialog } from "./dom.js";
import { breakable } from "./names.js";
import { say } from "./notices.js";
import { cutting } from "./state.js";
import { className, count, dissimilarity, worded } from "./words.js";

const TURN = 700; // ms an image stays while they turn by themselves: slower than three a second, which can harm

/** Compare what a key acts on: the two selected, or one image with its partner. `turns` as below. */
export async function comparing(turns) {
  const images = aimed();
  if (!images) return null;
  if (images.length > 2) return say(worded`Compare takes two images; ${count(images.length)} are selected.`, { bad: true });
  if (images.length === 2) return compare(...images, { turns });
  const [position] = images;
  const [image, group] = await Promise.all([get(`api/images/${position}`, cutting()), get(`api/groups/${position}`, { ...cutting(), limit: 200 })]);
  const other = partner(image, group);
  return other === null ? say(worded("There is no other image to compare with."), { bad: true }) : compare(position, other, { turns });
}

/** With which image one is compared: its representative, else the member farthest from it, else its neighbour outside. */
export function partner(image, group) {
  if (image.representative !== null && image.representative !== image.p) return image.representative;
  const others = group.members.filter((member) => member.p !== image.p);
  return others.at(-1)?.p ?? image.nearest_outside?.p ?? null;
}

/** Show two images, given by position. `turns` begins with both in one place. */
export async function compare(one, other, { turns = false } = {}) {
  let images;
  try {
    images = await Promise.all([one, other].map((p) => get(`api/images/${p}`, cutting())));
  } catch (error) {
    say(error.message, { bad: true });
    return;
  }
  let timer = null;
  let front = 0;
  const { dialog, body } = openDialog(worded("Two images"), { wide: true, className: "compare", onclose: () => clearInterval(timer) });
  const figures = images.map((image) =>
    el(
      "figure",
      { class: image.role.replace(" ", "-") },
      large(image),
      el("figcaption", {}, el("b", {}, image.role), ` `, el("bdi", {}, breakable(image.id)), image.class_name !== null && el("small", {}, el("bdi", {}, className(image.class_name)))),
    ),
  );
  const stage = el("div", { class: "stage" }, figures);
  const turn = () => {
    front = 1 - front;
    figures.forEach((figure, number) => figure.classList.toggle("front", number === front));
  };
  const mode = button("Overlay", { icon: "flicker", key: "f", onclick: () => both(!stage.classList.contains("one-place")) });
  const swap = button("Switch", { key: "space", onclick: turn });
  const play = button("Switch automatically", { onclick: () => playing(timer === null), "aria-pressed": "false" });
  function both(inOnePlace) {
    stage.classList.toggle("one-place", inOnePlace);
    mode.setAttribute("aria-pressed", String(inOnePlace));
    swap.hidden = play.hidden = !inOnePlace;
    if (!inOnePlace) playing(false);
  }
  function playing(on) {
    clearInterval(timer);
    timer = on ? setInterval(turn, TURN) : null;
    play.setAttribute("aria-pressed", String(on));
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "f") {
      if (stage.classList.contains("one-place")) turn();
      else both(true);
    } else if (event.key === " " && stage.classList.contains("one-place")) turn();
    else if (event.key === "s") both(false);
    else return;
    event.preventDefault();
  });
  figures[0].classList.add("front");
  const [a, b] = images;
  const apart = a.representative === b.p ? a.d : b.representative === a.p ? b.d : a.nearest_outside?.p === b.p ? a.nearest_outside.d : b.nearest_outside?.p === a.p ? b.nearest_outside.d : null;
  body.append(
    el("div", { class: "compare-tools" }, mode, swap, play, el("p", { class: "quiet" }, apart === null ? "" : `dissimilarity ${dissimilarity(apart)}`)),
    stage,
  );
  both(turns);
  mode.focus();
}
