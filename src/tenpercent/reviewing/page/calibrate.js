// Finding a threshold by questions: are two images the same for this person's purpose?

import { get, post } from "./api.js";
import { large } from "./card.js";
import { cutAt, refresh } from "./cut.js";
import { deepen } from "./deeper.js";
import { button, el, openDialog } from "./dom.js";
import { say } from "./notices.js";
import { state } from "./state.js";
import { count, percent, roughly, several, worded } from "./words.js";

/** Open the questions; they resume where they were left. */
export async function calibrate() {
  let asked;
  try {
    asked = await get("api/calibration");
  } catch (error) {
    say(error.message, { bad: true });
    return;
  }
  const { dialog, body } = openDialog("Are these the same for your purpose?", { wide: true, className: "compare questions", onclose: refresh });
  const stage = el("div", { class: "stage" });
  const progress = el("progress", { max: 1, "aria-label": "Answers" });
  const words = el("p", { role: "status" });
  const yes = button("The same", { key: "y", kind: "strong", onclick: () => answer("same") });
  const no = button("Different", { key: "n", kind: "strong", onclick: () => answer("different") });
  const back = button("Undo", { icon: "undo", key: "u", onclick: () => send("api/undo", { number: asked.last }) });
  const take = button("Cut there", { kind: "strong", onclick: () => dialog.close() || cutAt(asked.threshold) });
  const farther = button("Deepen the tree", { kind: "strong", onclick: () => dialog.close() || deepen(farther, { threshold: Math.min(2, 2 * asked.highest) }) });
  let busy = false;

  async function answer(kind) {
    if (!asked.pair.length) return;
    const images = asked.pair.map(({ p }) => p);
    await send("api/decisions", { kind, images, seen: state.version, origin: state.run.origin });
  }

  async function send(path, content) {
    if (busy) return;
    busy = true;
    try {
      await post(path, content);
      asked = await get("api/calibration");
      draw();
    } catch (error) {
      words.replaceChildren(el("span", { class: "problem" }, error.message)); // a notice would lie below the dialog
    } finally {
      busy = false;
    }
  }

  function draw() {
    const { answers, pair, done, last } = asked;
    const [fewest, most] = asked.range;
    progress.value = Math.min(1, answers / fewest);
    stage.replaceChildren(...pair.map((image) => el("figure", {}, large(image), el("figcaption", {}, el("bdi", {}, image.id)))));
    stage.hidden = done;
    yes.disabled = no.disabled = done;
    back.disabled = last === null;
    take.hidden = (answers < fewest && !done) || asked.beyond || asked.below;
    farther.hidden = !asked.beyond || answers < fewest;
    words.replaceChildren(...said(done ? several(answers, "answer") : `${count(answers)} of ${fewest} to ${most} answers`));
  }

  function said(progressed) {
    const { answers, images, threshold, low, high, removed, fewest, most, highest } = asked;
    if (!answers) return [worded`${progressed}. Answer by what the images are for: would one of them do?`];
    if (asked.beyond) return [`${progressed}. They are the same for you up to ${roughly(highest)}, where the tree ends: deepen it to continue.`];
    if (asked.below) return [`${progressed}. No pair is the same for you so far; only exact duplicates would go.`];
    const ends = fewest < most ? `${count(fewest)} to ${several(most, "image")}` : several(most, "image");
    return [el("b", {}, `The same up to ${roughly(threshold)}`), ` (90% interval: ${roughly(low)} to ${roughly(high)}): ${count(removed)} of ${several(images, "image")} go, ${percent(removed / images, images)}; at the ends of the interval ${ends}. ${progressed}.`];
  }

  dialog.addEventListener("keydown", (event) => {
    const act = { y: yes, n: no, u: back }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act.click();
  });
  body.append(el("div", { class: "compare-tools" }, yes, no, back, progress, take, farther), words, stage);
  draw();
  yes.focus();
}
