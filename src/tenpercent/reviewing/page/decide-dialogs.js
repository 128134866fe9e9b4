// Dialogs of a decision: its note, and whether to override somebody else's.

import { picture } from "./api.js";
import { button, el, openDialog } from "./dom.js";
import { nameOf } from "./feed.js";
import { state } from "./state.js";
import { decided, KINDS, several, shortened, time } from "./words.js";

/** Ask which of some kinds to decide about images, or about their `group`, and with which note; null where it is called off. */
export function withNote(possible, images, group) {
  return new Promise((resolve) => {
    let answer = null;
    const { dialog, body } = openDialog("Decide with a note", { onclose: () => resolve(answer) });
    const kinds = [
      ...possible.map((kind) => [kind, KINDS[kind].name]),
      ...(group ? [["whole", "Keep whole group"], ["accept", "Accept group"]] : []),
    ];
    const note = el("textarea", { id: "note", rows: 4, maxlength: 2000, dir: "auto" });
    const choices = kinds.map(([kind, name], number) =>
      el("label", { class: "choice" }, el("input", { type: "radio", name: "kind", value: kind, checked: number === 0 }), name),
    );
    const form = el(
      "form",
      { method: "dialog", class: "stack" },
      el("p", {}, "About ", images.length === 1 ? el("bdi", {}, nameOf(images[0])) : several(images.length, "image"), "."),
      el("fieldset", { class: "choices" }, el("legend", {}, "Decision"), choices),
      el("label", { for: "note" }, "Note"),
      note,
      el("p", { class: "actions" }, el("button", { type: "submit", class: "button strong" }, "Decide"), button("Cancel", { onclick: () => dialog.close() })),
    );
    // The policy of the page forbids to submit forms anywhere, to a dialog as well.
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = { kind: form.elements.kind.value, note: note.value.trim() };
      dialog.close();
    });
    body.append(form);
    note.focus();
  });
}

/** Show what somebody else has decided meanwhile; true where it is to be decided otherwise all the same. */
export function conflict(theirs, kind, images) {
  return new Promise((resolve) => {
    let answer = false;
    const { dialog, body } = openDialog("Someone else has decided otherwise", { onclose: () => resolve(answer) });
    const named = theirs.images.map(({ p, id }) =>
      el("li", {}, p !== null && state.run.has_images && el("img", { src: picture(p, 160), alt: "" }), el("bdi", {}, shortened(id, 60))),
    );
    body.append(
      el("p", {}, el("strong", {}, decided(theirs)), `, ${time(theirs.time)}`),
      el("ul", { class: "named" }, named),
      theirs.note && el("blockquote", { dir: "auto" }, theirs.note),
      el("p", {}, `You were about to decide “${KINDS[kind].name}”`, images.length === 1 && [" for ", el("bdi", {}, nameOf(images[0]))], ". It contradicts theirs and would take its place."),
      el(
        "p",
        { class: "actions" },
        button("Keep theirs", { kind: "strong", onclick: () => dialog.close() }),
        button("Replace it with mine", { onclick: () => { answer = true; dialog.close(); } }),
      ),
    );
  });
}
