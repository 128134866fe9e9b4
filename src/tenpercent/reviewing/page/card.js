// One group as a card: a line about it and a row of its images, the kept one first and outlined in green.

import { picture } from "./api.js";
import { el, icon } from "./dom.js";
import { breakable, fitted, linesOf } from "./names.js";
import { state, targets } from "./state.js";
import { KINDS, className, count, dissimilarity, fileName, several, shortened, worded } from "./words.js";

/** The card of a group, or an empty one of the same height where it is still on its way. */
export function card(group, index, total, fits, side, room) {
  if (!group) return el("article", { class: "card waiting", "aria-busy": "true", "aria-posinset": index + 1, "aria-setsize": total, "aria-label": "Loading" });
  const title = `group-${group.key}`;
  const tiles = group.members.slice(0, group.size > fits ? fits - 1 : fits);
  const rest = group.size - tiles.length;
  const roomy = 2 * tiles.length <= fits && tiles.some((member) => linesOf(fileName(member.id), room.letters) > room.lines); // two tiles’ room for a name
  const name = group.class_name === null ? "Group" : className(group.class_name);
  return el(
    "article",
    { class: "card", "aria-labelledby": title, "aria-posinset": index + 1, "aria-setsize": total, data: { key: group.key, index } },
    el(
      "header",
      {},
      el("h3", { id: title, title: name }, el("bdi", {}, name)),
      el("span", { class: "about" }, `${several(group.size, "image")} · `, el("span", { title: worded("diameter: the largest dissimilarity between two images of the group") }, dissimilarity(group.diameter))),
      el(
        "span",
        { class: "badges" }, // on the card’s edge: beside the name they would cut it
        group.conflict && el("span", { class: "badge warn", title: worded("Images of this group carry different labels") }, icon("labels"), "labels differ"),
        group.accepted ? el("span", { class: "badge good" }, icon("check"), "accepted") : group.decided && el("span", { class: "badge" }, "decided"),
      ),
      el("span", { class: "card-tools" }, tool("accept", "check", "Accept this group (a)", group.accepted), tool("whole", "double", "Keep the whole group (g)")),
    ),
    el(
      "div",
      { class: `tiles ${roomy ? "roomy" : ""}`, role: "listbox", "aria-multiselectable": "true", "aria-orientation": "horizontal", "aria-label": worded`Images of the group ${name}` },
      tiles.map((member) => tile(member, side, group.conflict, roomy ? { ...room, letters: 2 * room.letters } : room)),
    ),
    rest > 0 && el("button", { type: "button", class: "more", data: { more: group.key } }, el("b", {}, `+${count(rest)}`), el("span", {}, "show all")),
  );
}

function tool(action, name, words, pressed = null) {
  return el("button", { type: "button", class: "icon-button small", data: { action }, "aria-label": words, title: words, "aria-pressed": pressed === null ? null : String(pressed) }, icon(name));
}

/** One image as an option of its group's row; `room` is {letters, lines} that its name has, null for all it takes. */
export function tile(member, side = 160, withClass = false, room = null) {
  const text = member.role === "removed" ? dissimilarity(member.d) : member.role;
  const second = withClass && member.class_name !== null ? className(member.class_name) : (member.name ?? fileName(member.id));
  const name = [
    member.role,
    member.id,
    member.class_name === null ? null : className(member.class_name),
    member.d !== null && member.role !== "kept" ? `dissimilarity ${dissimilarity(member.d)}` : null,
    ...(member.marks ?? []).map((kind) => `decided: ${KINDS[kind]?.name ?? kind}`),
    member.missing ? "file missing" : null,
  ];
  return el(
    "div",
    { class: `tile ${member.role.replace(" ", "-")}`, role: "option", "aria-selected": "false", "aria-label": name.filter(Boolean).join(", "), tabindex: -1, data: { p: member.p }, title: member.id },
    frame(member, side),
    el("b", { class: "role" }, member.role === "removed" ? text : [icon("check"), text]),
    el("bdi", { class: "id" }, breakable(room === null ? second : fitted(second, room))),
    member.marks?.length > 0 && el("span", { class: "marks" }, member.marks.map((kind) => icon(KINDS[kind]?.icon ?? "note"))),
  );
}

/** Mark the active and the selected images of a list; one that is active, else the first, is reached by the tab key. */
export function markTiles(list) {
  const chosen = new Set(targets());
  const tiles = [...list.querySelectorAll(".tile")];
  for (const tile of tiles) {
    const position = Number(tile.dataset.p);
    tile.classList.toggle("active", position === state.active);
    tile.setAttribute("aria-selected", String(chosen.has(position)));
    tile.tabIndex = position === state.active ? 0 : -1;
  }
  if (tiles.length && !tiles.some((tile) => tile.tabIndex === 0)) tiles[0].tabIndex = 0;
}

/** The positions of a row from one to another, both with it; the other alone where one is not in it. */
export function stretch(row, one, other) {
  const [a, b] = [row.indexOf(one), row.indexOf(other)];
  return a < 0 || b < 0 ? [other] : row.slice(Math.min(a, b), Math.max(a, b) + 1);
}

/** An image in its frame; where there is none, words in its place. */
export function frame(member, side) {
  if (!state.run.has_images) return el("span", { class: "frame words" }, el("bdi", {}, shortened(member.id, 30)));
  if (member.missing) return gone();
  const box = el("span", { class: "frame" });
  const image = el("img", { src: picture(member.p, side), alt: "", loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("load", () => box.classList.toggle("crisp", image.naturalWidth < 100 && image.naturalHeight < 100));
  image.addEventListener("error", () => box.replaceWith(gone()), { once: true });
  box.append(image);
  return box;
}

const gone = () => el("span", { class: "frame words gone" }, icon("gone"), el("span", {}, "file missing"));

/** An image as large as there is room, or words in its place. */
export function large(image) {
  if (!state.run.has_images || image.missing) {
    const words = image.missing ?? state.run.images_note ?? "";
    return el("span", { class: "frame words" }, icon("gone"), el("bdi", {}, image.id), el("span", { dir: "auto" }, words));
  }
  const box = el("span", { class: "frame" });
  const img = el("img", { src: picture(image.p, 1024), alt: image.id, decoding: "async" });
  img.addEventListener("load", () => box.classList.toggle("crisp", img.naturalWidth < 200 && img.naturalHeight < 200));
  img.addEventListener("error", () => box.replaceWith(el("span", { class: "frame words" }, icon("gone"), "The picture can’t be shown.")), { once: true });
  box.append(img);
  return box;
}
