// The server's events, and what the page shows while the server is away.

import { get } from "./api.js";
import { refresh } from "./cut.js";
import { deepened, deepening } from "./deeper.js";
import { byId } from "./dom.js";
import { mapEvent } from "./map.js";
import { breakable } from "./names.js";
import { banner, say } from "./notices.js";
import { onChange, set, state } from "./state.js";

const RETRY = 2000; // ms between two tries to reach a server that is gone
let events = null;
let retrying = null;

export function startEvents() {
  onChange("offline", offline);
  onChange("run", header);
  header();
  listen();
}

function listen() {
  events?.close();
  events = new EventSource("api/events");
  events.addEventListener("decisions", (event) => {
    if (JSON.parse(event.data).version !== state.run.version) quietly(refresh());
  });
  events.addEventListener("map", (event) => mapEvent(JSON.parse(event.data)));
  events.addEventListener("deepen", (event) => {
    const job = JSON.parse(event.data);
    deepening(job);
    if (job.state === "ready") quietly(deepened());
    else if (job.state === "failed" && !byId("deeper")) {
      say(`Deepening the tree failed: ${job.error}`, { bad: true });
      quietly(refresh()); // buttons that began it can be pressed again
    }
  });
  events.addEventListener("selection", () => say("The selection is stored in the run folder."));
  events.addEventListener("error", () => {
    // A short break heals by itself; a server that refuses or is gone is asked for until it is back.
    if (events.readyState === EventSource.CLOSED) set({ offline: true });
    else setTimeout(() => events.readyState !== EventSource.OPEN && set({ offline: true }), RETRY);
  });
}

const quietly = (work) => work.catch(() => {}); // a failed request has said so by its banner

function offline() {
  banner("offline", state.offline ? "The server does not answer. Nothing can be decided until it is back. Trying again …" : "");
  document.documentElement.classList.toggle("offline", state.offline);
  clearInterval(retrying);
  if (!state.offline) return;
  retrying = setInterval(async () => {
    try {
      const run = await get("api/run");
      if (!state.offline && run) {
        listen();
        await refresh();
      }
    } catch (error) {
      if (error.status === 403) banner("offline", "The server was started again with another address: open the address that it printed.");
    }
  }, RETRY);
}

function header() {
  const { run } = state;
  byId("run-name").replaceChildren(...breakable(run.name));
  byId("run-name").title = run.name;
  byId("undo").disabled = !run.undo;
  byId("redo").disabled = !run.redo;
  const total = Object.values(run.counts_by_kind).reduce((sum, number) => sum + number, 0);
  byId("decision-count").hidden = total === 0;
  byId("decision-count").textContent = total;
  banner("damaged", run.decisions_error ? `${run.decisions_error}. Until then, nothing can be decided.` : "");
  document.documentElement.classList.toggle("read-only", Boolean(run.decisions_error));
}
