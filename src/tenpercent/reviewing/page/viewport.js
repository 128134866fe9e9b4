// Positions of cards of one height in a list far longer than a browser lets an element be.
//
// Up to TALLEST pixels the list simply scrolls. Beyond, the scroll bar represents the whole list while small steps stay
// exact: `shift` is the lead of the list's own offset over the page's, reset with each jump of the scroll bar.

import { linesOf } from "./names.js";

const TALLEST = 8_000_000; // Firefox stops at about 17.9 million, Chromium at 33.5 million
const BESIDE = 500; // pixels drawn above and below the window
const MIN_TILES = 4; // that a card shows at least, where there is room
const LETTER = 7; // pixels of a letter of an image's name, in the default font size
const LINES = 3; // of a name at most
const PADDING = 14; // of a card, as in groups.css

const BARS = ".top, .cut"; // that stay at the top of the window

export class Viewport {
  columns = 1;
  perCard = MIN_TILES;
  names = null; // of images, as far as known
  room = { letters: 12, lines: 1 }; // that a name has under its image
  #shift = 0;
  #last = 0;
  #count = 0;
  #rowHeight = 190;
  #cardWidth = 320;
  #tile = 88;
  #gap = 8;
  #width = 0;

  constructor(root, draw) {
    this.root = root;
    this.draw = draw;
    let framed = false;
    addEventListener("scroll", () => {
      if (framed) return;
      framed = true;
      requestAnimationFrame(() => {
        framed = false;
        this.#scrolled();
      });
    }, { passive: true });
    new ResizeObserver(() => {
      if (Math.abs(root.clientWidth - this.#width) >= 1) this.measure();
    }).observe(root);
    addEventListener("resize", () => this.draw());
    const bars = new ResizeObserver(() => document.documentElement.style.setProperty("--covered", `${this.#covered}px`));
    for (const bar of document.querySelectorAll(BARS)) bars.observe(bar);
  }

  layout({ tile, gap }) {
    this.#tile = tile;
    this.#gap = gap;
    this.measure();
  }

  /** Fit columns and tiles into the width there is, and measure how high a card is with the reader's own font size. */
  measure() {
    const width = this.root.clientWidth;
    if (!width) return;
    const first = this.#count ? this.range(this.#count)[0] : 0;
    this.#width = width;
    const space = 14;
    const tile = width < 480 ? Math.min(this.#tile, 76) : this.#tile;
    const least = Math.min(width, MIN_TILES * tile + (MIN_TILES - 1) * this.#gap + 2 * PADDING);
    this.columns = Math.max(1, Math.floor((width + space) / (least + space)));
    this.#cardWidth = (width - (this.columns - 1) * space) / this.columns;
    const inner = this.#cardWidth - 2 * PADDING - 2;
    this.perCard = Math.max(2, Math.floor((inner + this.#gap) / (tile + this.#gap)));
    const side = Math.floor((inner - (this.perCard - 1) * this.#gap) / this.perCard);
    const letters = Math.max(1, Math.floor(side / LETTER));
    const lines = Math.min(LINES, Math.max(1, ...(this.names ?? []).map((name) => linesOf(name, letters))));
    this.room = { letters, lines };
    this.root.style.setProperty("--name", `${1.1 * lines}rem`);
    this.root.style.setProperty("--tile", `${side}px`);
    this.root.style.setProperty("--card-width", `${this.#cardWidth}px`);
    this.#rowHeight = side + this.#textHeight() + space;
    this.space = space;
    this.setCount(this.#count);
    if (first >= this.columns) this.toIndex(first, this.#count);
    this.draw();
  }

  /** What a card is higher than its tiles: measured, for the reader may have set another font size. */
  #textHeight() {
    const probe = this.root.ownerDocument.createElement("div");
    probe.className = "card-probe";
    this.root.append(probe);
    const height = probe.getBoundingClientRect().height;
    probe.remove();
    return Math.ceil(height);
  }

  get #whole() {
    return Math.ceil(this.#count / this.columns) * this.#rowHeight;
  }

  get #tall() {
    return Math.min(this.#whole, TALLEST);
  }

  setCount(count) {
    this.#count = count;
    this.root.style.height = `${this.#tall}px`;
    const ahead = this.#whole - this.#tall;
    this.#shift = Math.min(Math.max(this.#shift, 0), ahead);
  }

  /** The offset of the window's top within the list, in the page's own pixels. */
  get #top() {
    return -this.root.getBoundingClientRect().top;
  }

  #scrolled() {
    const top = this.#top;
    const ahead = this.#whole - this.#tall;
    if (ahead > 0 && Math.abs(top - this.#last) > 2 * innerHeight) {
      this.#shift = Math.round(Math.min(1, Math.max(0, top / (this.#tall - innerHeight))) * ahead);
    } else if (top <= 0) this.#shift = 0;
    else if (top >= this.#tall - innerHeight) this.#shift = ahead;
    this.#last = top;
    this.draw();
  }

  /** The first index that is drawn and the one after the last. */
  range(count) {
    const top = this.#top + this.#shift;
    const first = Math.max(0, Math.floor((top - BESIDE) / this.#rowHeight));
    const last = Math.ceil((top + innerHeight + BESIDE) / this.#rowHeight);
    return [Math.min(first * this.columns, count), Math.max(0, Math.min(last * this.columns, count))];
  }

  put(node, index) {
    const x = (index % this.columns) * (this.#cardWidth + this.space);
    const y = Math.floor(index / this.columns) * this.#rowHeight - this.#shift;
    const place = `translate(${x}px, ${y}px)`;
    if (node.style.transform !== place) node.style.transform = place;
    node.style.height = `${this.#rowHeight - this.space}px`;
  }

  /** Scroll so that a card's row stands under the bars at the top. */
  toIndex(index, count) {
    this.setCount(count);
    const row = Math.floor(index / this.columns) * this.#rowHeight;
    const ahead = this.#whole - this.#tall;
    const share = this.#whole > innerHeight ? Math.min(1, row / (this.#whole - innerHeight)) : 0;
    this.#shift = Math.round(ahead * share);
    this.#scrollTo(row - this.#shift - this.#covered - 12);
  }

  /** Scroll as little as shows a card whole; from far away, to it. */
  reveal(index) {
    const top = Math.floor(index / this.columns) * this.#rowHeight - this.#shift - this.#top;
    if (Math.abs(top) > 2 * innerHeight) {
      this.toIndex(index, this.#count);
      return;
    }
    const above = this.#covered + 8;
    if (top < above) this.#scrollTo(this.#top + top - above);
    else if (top + this.#rowHeight > innerHeight - 8) this.#scrollTo(this.#top + top + this.#rowHeight - innerHeight + 8);
  }

  toTop() {
    this.#shift = 0;
    if (this.#top > 0) this.#scrollTo(-this.#covered - 12);
  }

  #scrollTo(top) {
    const start = scrollY + this.root.getBoundingClientRect().top;
    scrollTo({ top: Math.max(0, start + top), behavior: "instant" });
    this.#last = this.#top;
  }

  /** How much of the window the bars that stay at the top cover. */
  get #covered() {
    const low = (bar) => {
      const { position, top } = getComputedStyle(bar);
      return position === "sticky" ? parseFloat(top) + bar.offsetHeight : 0;
    };
    return Math.max(...[...document.querySelectorAll(BARS)].map(low));
  }
}
