// Exports of the current cut: stored in the run, as a file, or as the command that gives the same.

import { download, post } from "./api.js";
import { button, byId, el, icon, openDialog } from "./dom.js";
import { say } from "./notices.js";
import { cutting, state } from "./state.js";
import { count, dissimilarity, percent, several, worded } from "./words.js";

export function startExport() {
  byId("export").addEventListener("click", open);
}

function open() {
  const { dialog, body } = openDialog("Export this selection", { className: "export" });
  const { cut, run, deeper } = state;
  if (!cut || deeper) {
    body.append(el("p", {}, "There is no selection at this fraction yet, because the tree does not reach it."));
    return;
  }
  const asked = state.threshold === null ? `Keep ${percent(state.keep, run.n)}` : `Up to dissimilarity ${dissimilarity(state.threshold)}`;
  const store = button("Store in the run folder", { icon: "check", kind: "strong", onclick: () => keep(store) });
  body.append(
    el("p", {}, `${asked}: ${count(cut.kept)} of ${several(run.n, "image")} kept, ${count(cut.removed)} removed, decisions included.`),
    el("section", {}, el("h3", {}, "As the run’s selection"), el("p", { class: "quiet" }, "Used by report, export and evaluate; the same as the command below."), store),
    el(
      "section",
      {},
      el("h3", {}, "As a file"),
      el("p", { class: "actions" }, file("selection.csv", worded("All images (CSV)")), file("kept.txt", worded("Ids of kept images (text)"))),
    ),
    el("section", {}, el("h3", {}, "As a command"), lines("Command", cut.cli)),
    el("section", {}, el("h3", {}, "In Python"), lines("Python", cut.python)),
  );
  store.focus();
  async function keep(from) {
    from.disabled = true;
    try {
      const stored = await post("api/select", cutting());
      say(`Stored: ${count(stored.kept)} kept, ${count(stored.removed)} removed.`);
      dialog.close();
    } catch (error) {
      say(error.message, { bad: true });
      from.disabled = false;
    }
  }
}

const file = (name, words) => el("a", { class: "button", href: download(name), download: name }, icon("export"), el("span", {}, words));

function lines(what, text) {
  const code = el("code", {}, text);
  const copy = button("Copy", { icon: "copy", kind: "small", "aria-label": `Copy: ${what}`, onclick: () => toClipboard(text, code) });
  return el("div", { class: "code" }, el("pre", { tabindex: 0, role: "region", "aria-label": what }, code), copy);
}

async function toClipboard(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    // The clipboard belongs to secure pages alone: then the text is marked, ready for Ctrl c.
    getSelection().selectAllChildren(node);
    say("Press Ctrl+C to copy the selected text.");
  }
}
