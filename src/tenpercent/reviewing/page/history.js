// History of decisions, the newest first: kind, time and note; each can be undone.

import { get, picture } from "./api.js";
import { redo, undo } from "./decide.js";
import { button, byId, el, icon } from "./dom.js";
import { breakable } from "./names.js";
import { show } from "./pick.js";
import { onChange, state } from "./state.js";
import { count, KINDS, several, time } from "./words.js";

const LIMIT = 500;

export function startHistory() {
  onChange("view run", () => drawHistory().catch(() => {})); // a failed request has said so by its banner
}

/** Draw them again where they are on screen. */
async function drawHistory() {
  if (state.view !== "decisions") return;
  const answer = await get("api/decisions", { limit: LIMIT });
  const held = answer.decisions.filter((decision) => !decision.undone);
  const answers = held.filter(({ kind }) => ["same", "different"].includes(kind)).length;
  const counts = [several(held.length - answers, "decision"), ...(answers ? [several(answers, "answer")] : [])].join(" and ");
  const total = answer.total ?? answer.decisions.length;
  const more = total - answer.decisions.length;
  byId("view-decisions").replaceChildren(
    el(
      "div",
      { class: "bar" },
      el("h2", { id: "decisions-title" }, "Decisions"),
      button("Undo the last", { icon: "undo", key: "u", onclick: () => undo(), disabled: !answer.undo }),
      button("Redo", { icon: "redo", key: "y", onclick: () => redo(), disabled: !answer.redo }),
    ),
    el("p", { class: "quiet" }, total === 0 ? "" : `${counts} in force${more > 0 ? `; the ${count(more)} oldest are not shown` : ""}. Stored in decisions.sqlite in the run folder.`),
    total === 0 ? nothing() : el("ol", { class: "history" }, answer.decisions.map(line)),
  );
}

function nothing() {
  return el("div", { class: "empty" }, el("h3", {}, "No decisions yet"), el("p", {}, "Decisions are listed here, and each can be undone."));
}

function line(decision) {
  const kind = KINDS[decision.kind];
  const many = decision.n_images ?? decision.images.length;
  const images = decision.images.slice(0, 6).map(({ p, id }) =>
    p === null
      ? el("li", { class: "away" }, icon("gone"), el("bdi", { title: id }, breakable(id)), el("small", {}, "not in this run"))
      : el("li", {}, el("button", { type: "button", class: "link", onclick: () => show(p), title: id }, state.run.has_images && el("img", { src: picture(p, 160), alt: "", loading: "lazy" }), el("bdi", {}, breakable(id)))),
  );
  const left = many - images.length;
  return el(
    "li",
    { class: decision.undone ? "undone" : "" },
    el("span", { class: "what" }, icon(kind?.icon ?? "note"), el("b", {}, kind?.name ?? decision.kind), decision.undone && el("span", { class: "badge" }, "undone")),
    el("time", { datetime: decision.time }, time(decision.time)),
    el("ul", { class: "named" }, images, left > 0 && el("li", {}, `and ${several(left, "more", "more")}`)),
    decision.note && el("q", { dir: "auto" }, decision.note),
    !decision.undone && button("Undo", { kind: "small", onclick: () => undo(decision.number), "aria-label": `Undo decision ${decision.number}` }),
  );
}
