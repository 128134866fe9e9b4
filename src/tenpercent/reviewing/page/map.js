// The map: all images as points, similar ones near each other. Computed once, on first use.

import { get, isAbort, post } from "./api.js";
import { button, byId, el } from "./dom.js";
import { MapPlot } from "./map-plot.js";
import { say } from "./notices.js";
import { Progress } from "./progress.js";
import { onChange, state } from "./state.js";
import { percent, worded } from "./words.js";

const progress = new Progress("api/map", "Computing the map", mapEvent);

let plot = null;
let shown = "";
let method = null;

export function startMap() {
  onChange("view", () => {
    if (state.view === "map") open().catch(failed);
  });
  if (state.view === "map") open().catch(failed);
}

async function open() {
  if (plot) {
    plot.resize();
    return;
  }
  show(await get("api/map"));
}

/** What the server tells of the map's computation. */
export function mapEvent(job) {
  if (state.view === "map" && !plot && shown !== "loading") show(job);
}

function failed(error) {
  if (!isAbort(error) && !state.offline) page("failed", el("p", { class: "problem" }, error.message));
}

function page(name, ...content) {
  shown = name;
  byId("view-map").replaceChildren(el("div", { class: "bar" }, el("h2", { id: "map-title" }, "Map")), ...content);
}

function show(job) {
  method = job.method ?? method;
  if (job.state === "ready") {
    if (shown !== "loading") load().catch(failed);
  } else if (job.state === "computing") {
    if (shown !== "computing") {
      page("computing", el("div", { class: "offer" }, el("h3", {}, "Computing the map"), el("p", {}, "It will be stored in the run folder; you can continue meanwhile."), progress.bar));
    }
    progress.show(job.done);
  } else {
    const go = button(job.state === "failed" ? "Try again" : "Compute the map", { kind: "strong", onclick: () => compute(go) });
    page(
      job.state,
      el(
        "div",
        { class: "offer" },
        el("h3", {}, job.state === "failed" ? "The map could not be computed" : worded("All images on a map")),
        el("p", { dir: "auto" }, job.state === "failed" ? job.error : worded("Similar images are near each other. The map is computed once, by UMAP, and stored in the run folder: about a minute for 50,000 images.")),
        go,
      ),
    );
  }
}

async function compute(go) {
  go.disabled = true;
  try {
    show(await post("api/map"));
  } catch (error) {
    say(error.message, { bad: true });
    go.disabled = false;
  }
}

async function load() {
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Loading the map" });
  page("loading", el("div", { class: "offer" }, el("h3", {}, "Loading the map"), bar));
  method ??= (await get("api/map")).method;
  const fresh = new MapPlot(method);
  await fresh.load((done) => {
    bar.value = done;
    bar.textContent = `${percent(done)}`;
  });
  plot = fresh;
  shown = "plot";
  byId("view-map").replaceChildren(...plot.nodes());
  plot.wake();
}
