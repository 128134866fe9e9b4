// The panel beside the list, with the current image. On narrow screens it is a sheet over the page, opened by a tap.

import { ApiError, get, isAbort, Latest } from "./api.js";
import { byId, button, el, icon } from "./dom.js";
import { markTiles } from "./card.js";
import { details } from "./details.js";
import { clearFilters, filtering } from "./filters.js";
import { keysList } from "./keys.js";
import { cutting, onChange, set, state } from "./state.js";
import { worded } from "./words.js";

const REST = 70; // ms on an image before its details are asked for: arrow keys run over many
const wide = matchMedia("(min-width: 68rem)");
const asking = new Latest();
const panel = el("div", { class: "panel" });
let sheet = null;
let timer = null;
let shownFor = null;

export function startPanel() {
  onChange("active cut deeper", () => {
    clearTimeout(timer);
    timer = setTimeout(() => reloadPanel().catch(() => {}), state.active === shownFor ? 0 : REST);
  });
  onChange("active selected severally", () => markTiles(panel));
  onChange("opened", () => openSheet(state.opened));
  onChange("filter", () => unlisted(state.active).then((left) => left && set({ active: null }), () => {}));
  wide.addEventListener("change", place);
  place();
  hint();
}

function place() {
  if (wide.matches) {
    sheet?.close();
    byId("side").append(panel);
  }
}

/** On a narrow screen, lay the panel over the page. */
function openSheet({ group }) {
  if (wide.matches) {
    if (group) scrollToGroup();
    return;
  }
  if (sheet) return;
  const before = document.activeElement;
  sheet = el("dialog", { class: "sheet", "aria-label": worded("The current image") }, el("button", { type: "button", class: "icon-button sheet-close", "aria-label": "Close", onclick: () => sheet.close() }, icon("close")), panel);
  sheet.addEventListener("close", () => {
    sheet.remove();
    sheet = null;
    if (before?.isConnected) before.focus({ preventScroll: true });
    else byId("feed").querySelector("[tabindex='0']")?.focus({ preventScroll: true });
  });
  document.body.append(sheet);
  sheet.showModal();
  if (group) scrollToGroup();
}

function scrollToGroup() {
  setTimeout(() => byId("panel-group")?.scrollIntoView({ block: "start" }), 2 * REST);
}

/** Whether the filters leave an image’s group out of the list. */
async function unlisted(position, signal) {
  const { filter, deeper } = state;
  if (position === null || deeper || !filtering()) return false;
  const { found } = await get("api/groups", { ...cutting(), ...filter, around: position, limit: 1 }, signal);
  return found === false && position === state.active && filter === state.filter;
}

/** Ask for what is shown again; without an image, say how the page is used. */
async function reloadPanel() {
  const position = state.active;
  if (position === null) {
    asking.stop();
    set({ looked: null });
    hint();
    return;
  }
  if (state.deeper) {
    asking.stop();
    shownFor = null;
    set({ looked: null });
    panel.replaceChildren(el("p", { class: "quiet" }, worded("The tree does not reach this cut yet, so no image has a group.")));
    return;
  }
  try {
    const [image, group, left] = await asking.run((signal) =>
      Promise.all([
        get(`api/images/${position}`, cutting(), signal),
        get(`api/groups/${position}`, { ...cutting(), limit: 200 }, signal),
        unlisted(position, signal),
      ]),
    );
    set({ looked: image });
    const top = position === shownFor ? panel.parentNode?.scrollTop : 0;
    const focused = panel.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    panel.replaceChildren(...(left ? [el("p", { class: "quiet" }, "Not in the list: the filters hide its group. ", button("Clear the filters", { kind: "small", onclick: clearFilters }))] : []), ...details(image, group));
    shownFor = position;
    if (panel.parentNode) panel.parentNode.scrollTop = top;
    if (focused) panel.querySelector(`[data-action="${focused}"]`)?.focus({ preventScroll: true });
  } catch (error) {
    if (isAbort(error)) return;
    if (error instanceof ApiError) panel.replaceChildren(el("p", { class: "problem" }, error.message));
  }
}

function hint() {
  shownFor = null;
  panel.replaceChildren(
    el(
      "section",
      { class: "hint" },
      el("h2", {}, "Review the groups"),
      el("p", {}, worded("Click an image to see it large, with its group and the reason. Decisions persist: they hold at every fraction and after the next run.")),
      keysList(["ArrowKeys", "prefer", "keep", "remove", "apart", "accept", "undo"]),
      button("All keys", { kind: "quiet", key: "?", onclick: () => byId("help").click() }),
    ),
  );
}
