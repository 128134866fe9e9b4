// Progress of what the server computes: a bar, and asking again where no event tells.

import { get } from "./api.js";
import { el } from "./dom.js";

const AGAIN = 1500; // ms; events tell sooner, where nothing between server and page holds them back

/** Follows a computation: its state is asked for at a path, and `told` to the page. */
export class Progress {
  #timer = null;

  constructor(path, label, told) {
    this.bar = el("progress", { max: 1, "aria-label": label });
    this.ask = () => get(path).then(told, () => this.show(null));
  }

  /** Show how far it is, from 0 to 1 where that is known, and ask again in a while. */
  show(done) {
    if (typeof done === "number") this.bar.value = done;
    else this.bar.removeAttribute("value");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.ask, AGAIN);
  }
}
