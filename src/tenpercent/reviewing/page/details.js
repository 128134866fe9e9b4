// Details of an image in the panel: the image, its role, its group and tree, its nearest outside, its file.

import { compare, partner } from "./compare.js";
import { accept, decide, decideWithNote, possible, undo, whole } from "./decide.js";
import { dendrogram } from "./dendrogram.js";
import { button, el, icon } from "./dom.js";
import { frame, large, markTiles, tile } from "./card.js";
import { learn } from "./feed.js";
import { breakable } from "./names.js";
import { pick, pickable, show } from "./pick.js";
import { state } from "./state.js";
import { KINDS, bytes, className, count, decided, dissimilarity, several, shortened, time, typically, worded } from "./words.js";

export function details(image, group) {
  learn(group);
  return [
    head(image),
    actions(image, group),
    image.decisions.length > 0 && made(image),
    members(image, group),
    group.dendrogram && tree(image, group),
    outside(image),
    file(image),
  ].filter(Boolean);
}

function head(image) {
  return el(
    "section",
    { class: "looked", "aria-label": worded("Image") },
    el("div", { class: `big ${image.role.replace(" ", "-")}` }, large(image)),
    el("h2", { class: "image-name" }, el("bdi", {}, breakable(image.id))),
    verdict(image),
  );
}

function verdict(image) {
  const { group } = image;
  if (image.role === "removed") {
    if (image.representative === null) return el("p", { class: "verdict" }, el("b", {}, "Removed"), " by decision, without a representative: the guarantee does not cover it.");
    return el("p", { class: "verdict" }, el("b", {}, "Removed"), `: ${dissimilarity(image.d)} from its representative. `, link("Show it", () => pick(image.representative)));
  }
  if (image.role === "kept too") return el("p", { class: "verdict" }, el("b", { class: "kept-words" }, icon("check"), "Kept too"), `, ${dissimilarity(image.d)} from its group’s representative. `, link("Show it", () => pick(image.representative)));
  if (group.size === 1) return el("p", { class: "verdict" }, el("b", { class: "kept-words" }, icon("check"), "Kept"), ": alone in its group at this cut.");
  const others = group.size - group.kept;
  return el("p", { class: "verdict" }, el("b", { class: "kept-words" }, icon("check"), "Kept"), others > 0 ? `: represents ${several(others, "removed image")}.` : ": none of its group is removed.");
}

const link = (words, onclick) => el("button", { type: "button", class: "link", onclick }, words);

function actions(image, group) {
  const off = (kind) => {
    const what = possible(kind, [image.p]);
    return typeof what === "string" ? { "aria-disabled": "true", title: what } : { title: worded(KINDS[kind].about) };
  };
  const act = (kind, words, key) => button(words, { icon: KINDS[kind].icon, key, onclick: () => decide(kind, "", [image.p]), data: { action: kind }, ...off(kind) });
  const other = partner(image, group);
  return el(
    "section",
    { class: "actions-grid", "aria-label": "Decide" },
    act("prefer", "Make representative", "p"),
    act("keep", image.role === "removed" || image.role === "kept too" ? "Keep this too" : "Keep always", "k"),
    act("remove", "Remove", "r"),
    act("apart", "Never together", "n"),
    act("alone", "Always alone", "⇧n"),
    group.size > 1 && button("Keep group", { icon: "double", key: "g", onclick: () => whole(group.key), data: { action: "whole" } }),
    group.size > 1 && button(group.accepted ? "Accepted" : "Accept group", { icon: "check", key: "a", onclick: () => accept(group.key), data: { action: "accept" }, "aria-pressed": String(group.accepted) }),
    button("With note …", { icon: "note", key: "m", onclick: decideWithNote, data: { action: "note" } }),
    other !== null && button("Compare", { icon: "side", key: "c", onclick: () => compare(image.p, other), data: { action: "compare" } }),
    el("p", { class: "quiet selecting-only" }, worded("Decisions now apply to the selected images, shown in the bar below.")),
  );
}

function made(image) {
  const lines = image.decisions.map((decision) =>
    el(
      "li",
      {},
      icon(KINDS[decision.kind]?.icon ?? "note"),
      el("span", {}, decided(decision), el("small", {}, time(decision.time)), decision.note && el("q", { dir: "auto" }, decision.note)),
      button("Undo", { kind: "small", onclick: () => undo(decision.number), "aria-label": `Undo: ${decided(decision)}` }),
    ),
  );
  return el("section", { "aria-label": "Decisions about it" }, el("h3", {}, "Decisions about it"), el("ul", { class: "made" }, lines));
}

function members(image, group) {
  if (group.size === 1) return null;
  const row = el("div", { class: "member-tiles", role: "listbox", "aria-multiselectable": "true", "aria-label": worded("All images of the group") }, group.members.map((member) => tile(member)));
  markTiles(row);
  pickable(row, { opens: false });
  const left = group.size - group.members.length;
  const next = group.height_next === null ? "" : ` At ${dissimilarity(group.height_next)} it merges with another group.`;
  return el(
    "section",
    { id: "panel-group", "aria-labelledby": "panel-group-title" },
    el("h3", { id: "panel-group-title" }, `Group of ${several(group.size, "image")}`, group.conflict && el("span", { class: "badge warn" }, icon("labels"), "labels differ")),
    el("p", { class: "quiet" }, `No two of them are farther apart than ${dissimilarity(group.diameter)}.${next} ${typically()}`),
    row,
    left > 0 && el("p", { class: "quiet" }, `${count(left)} more, farther from the representative, are not shown.`),
  );
}

function tree(image, group) {
  return el(
    "section",
    { "aria-labelledby": "tree-title" },
    el("h3", { id: "tree-title" }, "How it was merged"),
    dendrogram(group, image.p, (position) => pick(position)),
  );
}

function outside(image) {
  const near = image.nearest_outside;
  if (!near) return null;
  const nearer = image.d !== null && image.role === "removed" && near.d < image.d;
  return el(
    "section",
    { "aria-labelledby": "outside-title" },
    el("h3", { id: "outside-title" }, worded("Nearest image outside the group")),
    el(
      "div",
      { class: "outside" },
      el("button", { type: "button", class: "thumb", onclick: () => show(near.p), "aria-label": `Show ${near.id}` }, frame({ ...near, missing: false }, 160)),
      el(
        "p",
        {},
        el("b", {}, dissimilarity(near.d)),
        near.class_name !== null && el("span", { class: "line" }, el("bdi", {}, className(near.class_name))),
        el("bdi", { class: "quiet line", title: near.id }, shortened(near.id, 48)),
        nearer && el("span", { class: "quiet line" }, worded("Nearer than the representative, but too far from another image of this group, or of another class.")),
        link("Compare", () => compare(image.p, near.p)),
      ),
    ),
  );
}

function file(image) {
  const rows = [
    ["id", image.id],
    ["path", image.path !== null && image.path !== image.id ? image.path : null],
    ["class", image.class_name],
    ["size", image.width === null ? null : `${count(image.width)} × ${count(image.height)} pixels`],
    ["file", image.format === null ? null : [image.format, image.bytes === null ? null : bytes(image.bytes)].filter(Boolean).join(", ")],
    ["row", count(image.row)],
    ["dissimilarity", image.d === null || image.role === "kept" ? null : `${image.d.toPrecision(6)} to the representative`],
  ].filter(([, value]) => value !== null);
  return el(
    "section",
    { "aria-labelledby": "file-title" },
    el("h3", { id: "file-title" }, "The file"),
    image.changed && el("p", { class: "problem" }, "The file has changed since it was embedded."),
    el("dl", { class: "meta" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, breakable(value)))])),
  );
}
