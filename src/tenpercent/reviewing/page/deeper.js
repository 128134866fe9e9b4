// Deepening: offered where the slider goes beyond the stored tree, with its progress.

import { get, post } from "./api.js";
import { button, byId, el } from "./dom.js";
import { reload } from "./cut.js";
import { say, speak } from "./notices.js";
import { Progress } from "./progress.js";
import { cutting, onChange, set, state } from "./state.js";
import { percent } from "./words.js";

const progress = new Progress("api/deepen", "Deepening the tree", (job) => (job.state === "ready" && byId("deeper") ? deepened() : deepening(job)));

export function startDeeper() {
  onChange("deeper", () => {
    const box = byId("deeper");
    if (state.deeper && !box) byId("notes").after(offer());
    else if (!state.deeper) box?.remove();
  });
}

/** The offer, to stand in the list's place. */
function offer() {
  const { deepest } = state.deeper;
  const go = button("Deepen the tree", { kind: "strong", onclick: () => start(go) });
  const box = el(
    "section",
    { id: "deeper", class: "offer", "aria-labelledby": "deeper-title" },
    el("h3", { id: "deeper-title" }, "The tree does not reach this far yet"),
    el("p", {}, `It was computed down to keep ${percent(deepest, state.run.n)}. Deepening it takes seconds to minutes and leaves the groups above as they are.`),
    go,
  );
  get("api/deepen").then(deepening, () => {}); // another page may have begun it already
  return box;
}

async function start(go) {
  if (await deepen(go, cutting(), "")) deepening({ state: "computing", done: 0 });
}

/** Begin to deepen the tree for a button; gives whether it has begun. */
export async function deepen(from, cut, words = "Deepening the tree …") {
  from.disabled = true;
  try {
    await post("api/deepen", cut);
    if (words) say(words);
    return true;
  } catch (error) {
    say(error.message, { bad: true });
    from.disabled = false;
    return false;
  }
}

/** Show how far the deepening is; once it is ready, show the cut. */
export async function deepening({ state: now, done, error }) {
  const box = byId("deeper");
  if (now === "computing" && box) {
    if (!progress.bar.isConnected) {
      box.querySelector("button").replaceWith(progress.bar);
      speak("Deepening the tree");
    }
    progress.show(done);
  } else if (now === "failed" && box && progress.bar.isConnected) {
    progress.bar.replaceWith(button("Try again", { kind: "strong", onclick: (event) => start(event.currentTarget) }));
    say(`Deepening the tree failed: ${error}`, { bad: true });
  }
}

/** The tree is deeper now: in this page or another. */
export async function deepened() {
  set({ run: await get("api/run") });
  if (state.deeper) say("The tree reaches this far now.");
  await reload();
}
