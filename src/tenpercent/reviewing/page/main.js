// Start of the page: loads the run, then starts each part.

import { startAccuracy } from "./accuracy.js";
import { ApiError, get } from "./api.js";
import { reload, startCut } from "./cut.js";
import { startDeeper } from "./deeper.js";
import { byId, button, el } from "./dom.js";
import { startEvents } from "./events.js";
import { startExport } from "./export.js";
import { jump, startFeed } from "./feed.js";
import { startFilters } from "./filters.js";
import { startFind } from "./find.js";
import { startGap } from "./gap.js";
import { startHeadline } from "./headline.js";
import { startHistory } from "./history.js";
import { startKeys } from "./keys.js";
import { startMap } from "./map.js";
import { say } from "./notices.js";
import { startPanel } from "./panel.js";
import { pick, startPick } from "./pick.js";
import { place, startPlace } from "./place.js";
import { startRefill } from "./refill.js";
import { startRemoved } from "./removed.js";
import { startSelectionBar } from "./selection-bar.js";
import { onChange, remembered, set, state } from "./state.js";
import { worded } from "./words.js";

const THEMES = { auto: "system", light: "light", dark: "dark" };

async function start() {
  startTheme();
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("feed").querySelector("[tabindex='0']")?.focus();
  });
  let run;
  try {
    run = await get("api/run");
  } catch (error) {
    const words = error instanceof ApiError ? error.message : "The server does not answer.";
    byId("headline").textContent = "The run can’t be shown";
    byId("lead").replaceChildren(el("span", { class: "problem", dir: "auto" }, words), " ", button("Try again", { onclick: () => location.reload() }));
    return;
  }
  const before = place();
  set({ run, version: run.version, keep: before.keep ?? run.keep, threshold: before.threshold, hold: before.hold, filter: { ...state.filter, ...before.filter }, view: before.view ?? "groups" });
  for (const node of document.querySelectorAll("[aria-label]")) node.setAttribute("aria-label", worded(node.getAttribute("aria-label")));
  byId("threshold-label").title = worded(byId("threshold-label").title);
  for (const wake of [startViews, startFeed, startFilters, startFind, startPick, startPanel, startSelectionBar, startHistory, startMap, startExport, startKeys, startRefill, startRemoved, startAccuracy, startDeeper, startHeadline, startCut, startGap, startEvents]) wake();
  await reload();
  if (before.image !== null && before.image < run.n) {
    pick(before.image);
    if (state.view === "groups") await jump(before.image, { focus: false }).catch(() => {}); // alone: in no group of the list
  }
  startPlace();
}

function startViews() {
  const buttons = document.querySelectorAll("[data-view]");
  for (const one of buttons) one.addEventListener("click", () => set({ view: one.dataset.view }));
  const draw = () => {
    for (const one of buttons) {
      if (one.dataset.view === state.view) one.setAttribute("aria-current", "page");
      else one.removeAttribute("aria-current");
      byId(`view-${one.dataset.view}`).hidden = one.dataset.view !== state.view;
    }
    document.documentElement.dataset.view = state.view;
  };
  onChange("view", draw);
  draw();
}

function startTheme() {
  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(root.dataset.theme ?? "auto") + 1) % names.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    remembered.set("theme", next);
    named();
    say(`Theme: ${THEMES[next]}.`);
    dispatchEvent(new Event("themechange"));
  });
  const named = () => {
    const words = `Theme: ${THEMES[root.dataset.theme ?? "auto"]}`;
    byId("theme").title = words;
    byId("theme").setAttribute("aria-label", words);
  };
  named();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));
}

start();
