// The map once it is loaded: tools, drawing, the image under the pointer, and the line drawn around many.

import { isAbort, Latest, get } from "./api.js";
import { frame } from "./card.js";
import { classColour, isDark, styled } from "./colours.js";
import { button, el, icon } from "./dom.js";
import { Camera, listen } from "./gestures.js";
import { MapData } from "./map-data.js";
import { say } from "./notices.js";
import { clearSelection, openPanel, pick, pickAll } from "./pick.js";
import { within } from "./points.js";
import { Raster } from "./raster.js";
import { Scatter } from "./scatter.js";
import { cutting, onChange, remembered, state, targets } from "./state.js";
import { className, count, dissimilarity, several, shortened, worded } from "./words.js";

const NEAR = 14; // pixels within which a point is meant
const LEGEND = 14; // classes that are named beside the map
const PAUSE = 90; // ms over a point before its name is asked for

export class MapPlot {
  constructor(method) {
    this.data = new MapData();
    this.camera = new Camera();
    this.canvas = el("canvas", { class: "points", tabindex: 0, role: "application", "aria-roledescription": "map", "aria-label": worded`Map of ${several(state.run.n, "image")}: arrow keys move it, plus and minus zoom, Enter picks the image in the middle` });
    this.over = el("canvas", { class: "over", "aria-hidden": "true" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.legend = el("ul", { class: "legend", "aria-label": "Colours" });
    this.mode = state.run.labelled ? "class" : "kept";
    this.mode = remembered.get("map-colours", this.mode);
    if (this.mode === "class" && !state.run.labelled) this.mode = "kept";
    this.asking = new Latest();
    this.aboutMethod = method;
    this.lassoing = false;
    this.hover = -1;
    this.above = new Uint32Array(0);
  }

  async load(tell) {
    await Promise.all([this.data.load(tell), this.data.loadKept(), this.data.loadGroup(state.active)]);
  }

  nodes() {
    const modes = { class: "class", kept: "kept and removed", group: worded("group of the current image") };
    if (!state.run.labelled) delete modes.class;
    const colour = el("select", { id: "map-colour", onchange: (event) => this.setMode(event.target.value) }, Object.entries(modes).map(([value, words]) => el("option", { value, selected: value === this.mode }, words)));
    this.lasso = button("Lasso", { icon: "lasso", "aria-pressed": "false", title: worded("Draw a line around images to select them (or drag with Alt)"), onclick: () => this.setLasso(!this.lassoing) });
    const zoom = (words, name, times) => el("button", { type: "button", class: "icon-button", "aria-label": words, title: words, onclick: () => { this.camera.enlarge(times); this.draw(); } }, icon(name));
    return [
      el(
        "div",
        { class: "bar" },
        el("h2", { id: "map-title" }, "Map"),
        el("label", { class: "field inline" }, el("span", {}, "Colour by"), colour),
        this.lasso,
        button("Select all in view", { icon: "several", onclick: () => this.selectView() }),
        el("span", { class: "zoom" }, zoom("Zoom in", "plus", 1.5), zoom("Zoom out", "minus", 1 / 1.5), el("button", { type: "button", class: "icon-button", "aria-label": "Show all", title: "Show all", onclick: () => { this.camera.fit(); this.draw(); } }, icon("fit"))),
      ),
      el("div", { class: "plot" }, this.canvas, this.over, this.tip, this.legend),
      el("p", { class: "quiet" }, worded`Nearby points are similar images; large distances mean little. ${worded(this.aboutMethod ?? "")}`),
    ];
  }

  /** Begin to draw: the canvas has its place now. */
  wake() {
    try {
      this.drawing = new Scatter(this.canvas);
      this.drawing.onrestored = () => this.draw();
    } catch {
      const plain = this.canvas.cloneNode(); // a canvas that was asked for WebGL gives nothing else
      this.canvas.replaceWith(plain);
      this.canvas = plain;
      this.drawing = new Raster(plain);
    }
    this.drawing.setPoints(this.data.points);
    listen(this.canvas, this.camera, {
      moved: () => this.draw(),
      hovered: (x, y) => this.hovered(x, y),
      clicked: (x, y, event) => this.clicked(x, y, event),
      drawing: (line) => { this.line = line; this.drawOver(); },
      drawn: (line, event) => this.select(within(this.data.points, line.map(([x, y]) => this.camera.toMap(x, y))), event.shiftKey),
      lassoing: () => this.lassoing,
    });
    new ResizeObserver(() => this.resize()).observe(this.canvas.parentNode);
    onChange("cut", () => this.fresh(() => this.data.loadKept()));
    onChange("active cut", () => this.fresh(() => (this.mode === "group" ? this.data.loadGroup(state.active) : null)));
    onChange("active selected severally", () => this.drawOver());
    addEventListener("themechange", () => this.recolour());
    this.resize();
    this.recolour();
  }

  async fresh(work) {
    if (state.view !== "map" || state.deeper) {
      this.stale = true;
      return;
    }
    try {
      await work();
      this.recolour();
    } catch (error) {
      if (!isAbort(error) && !state.offline) say(error.message, { bad: true });
    }
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentNode;
    if (!width || !this.drawing) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    Object.assign(this.camera, { width, height });
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.ratio = ratio;
    if (this.stale) {
      this.stale = false;
      this.fresh(() => Promise.all([this.data.loadKept(), this.data.loadGroup(state.active)]));
    }
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    remembered.set("map-colours", mode);
    this.fresh(() => (mode === "group" ? this.data.loadGroup(state.active) : null));
  }

  setLasso(on) {
    this.lassoing = on;
    this.lasso.setAttribute("aria-pressed", String(on));
    this.canvas.classList.toggle("lassoing", on);
  }

  recolour() {
    this.ink = styled("--ink");
    this.drawing.setColours(this.data.colours(this.mode));
    this.above = this.data.above(this.mode);
    this.drawLegend();
    this.draw();
  }

  draw() {
    if (this.framed) return;
    this.framed = true;
    requestAnimationFrame(() => {
      this.framed = false;
      const n = state.run.n;
      const room = Math.sqrt((this.camera.width * this.camera.height) / n); // pixels a point has to itself
      const size = this.ratio * Math.min(9, Math.max(1.2, 0.42 * room * Math.sqrt(this.camera.zoom)));
      const alpha = n > 20000 ? Math.min(1, 0.35 + 0.12 * Math.log2(this.camera.zoom + 1) + 15000 / n) : 0.9;
      this.drawing.draw(this.camera.view, { size, alpha, above: this.above, aboveSize: Math.max(size * 1.5, 3 * this.ratio) });
      this.drawOver();
    });
  }

  /** What lies over the points: rings around those selected and under the pointer, and the line being drawn. */
  drawOver() {
    if (!this.ratio) return;
    const pen = this.over.getContext("2d");
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.camera.width, this.camera.height);
    pen.strokeStyle = this.ink;
    pen.lineWidth = 2;
    const ring = (p, radius) => {
      const [x, y] = this.camera.toScreen(this.data.points[2 * p], this.data.points[2 * p + 1]);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.stroke();
    };
    const chosen = targets();
    for (const p of chosen) ring(p, chosen.length > 300 ? 3 : 6);
    if (this.hover >= 0) ring(this.hover, 8);
    if (this.line) {
      pen.setLineDash([5, 4]);
      pen.beginPath();
      for (const [x, y] of this.line) pen.lineTo(x, y);
      pen.closePath();
      pen.stroke();
      pen.fillStyle = "rgb(128 128 128 / 15%)";
      pen.fill();
      pen.setLineDash([]);
    }
    if (this.canvas.matches(":focus-visible")) {
      const [x, y] = [this.camera.width / 2, this.camera.height / 2];
      pen.lineWidth = 1;
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(x + 5 * dx, y + 5 * dy);
        pen.lineTo(x + 14 * dx, y + 14 * dy);
      }
      pen.stroke();
    }
  }

  at(x, y) {
    const [mx, my] = this.camera.toMap(x, y);
    return this.data.grid.nearest(mx, my, (NEAR / this.camera.side) * 65535);
  }

  hovered(x, y) {
    const p = x === null ? -1 : this.at(x, y);
    if (p === this.hover) return;
    this.hover = p;
    this.drawOver();
    clearTimeout(this.timer);
    this.tip.hidden = p < 0;
    if (p < 0) return;
    const [sx, sy] = this.camera.toScreen(this.data.points[2 * p], this.data.points[2 * p + 1]);
    this.tip.classList.toggle("left", sx > this.camera.width / 2);
    this.tip.classList.toggle("up", sy > this.camera.height / 2);
    this.tip.style.left = `${sx}px`;
    this.tip.style.top = `${sy}px`;
    const words = el("p", {}, el("b", {}, this.data.isKept(p) ? "kept" : "removed"));
    this.tip.replaceChildren(...(state.run.has_images ? [frame({ p, id: "", missing: false }, 160)] : []), words);
    this.timer = setTimeout(async () => {
      try {
        const image = await this.asking.run((signal) => get(`api/images/${p}`, cutting(), signal));
        if (this.hover !== p) return;
        words.replaceChildren(
          el("b", {}, image.role),
          image.d !== null && image.role !== "kept" ? ` ${dissimilarity(image.d)}` : "",
          image.class_name === null ? "" : el("span", {}, el("bdi", {}, className(image.class_name))),
          el("bdi", { class: "quiet" }, shortened(image.id, 34)),
        );
      } catch {
        // The picture is there; its name is not worth a message.
      }
    }, PAUSE);
  }

  clicked(x, y, event) {
    const p = this.at(x, y);
    if (p < 0) {
      if (targets().length) clearSelection();
      return;
    }
    pick(p, { adding: event.ctrlKey || event.metaKey || event.shiftKey || state.severally });
    openPanel();
  }

  selectView() {
    const { width, height } = this.camera;
    this.select(within(this.data.points, [[0, 0], [width, 0], [width, height], [0, height]].map(([x, y]) => this.camera.toMap(x, y))), false);
  }

  select(found, adding) {
    const all = adding ? [...new Set([...state.selected, ...found])] : found;
    if (!all.length) say(worded("No image is inside."));
    else pickAll(all);
  }

  drawLegend() {
    const entry = (colour, words) => {
      const dot = el("i", {});
      dot.style.background = colour;
      return el("li", {}, dot, el("bdi", {}, words));
    };
    let entries;
    if (this.mode === "class") {
      const { classes, n_classes: many } = state.run;
      entries = classes.slice(0, LEGEND).map(({ code, name }) => entry(classColour(code, isDark()), shortened(className(name), 24)));
      const left = (many ?? classes.length) - entries.length;
      if (left > 0) entries.push(el("li", {}, `and ${count(left)} more`));
    } else if (this.mode === "group") {
      entries = state.active === null ? [el("li", {}, worded("Click an image to see its group."))] : [entry("var(--kept)", "kept"), entry("var(--outside)", "removed"), entry("var(--faint)", "other groups")];
    } else entries = [entry("var(--faint)", "kept"), entry("var(--outside)", "removed")];
    this.legend.replaceChildren(...entries);
  }
}


