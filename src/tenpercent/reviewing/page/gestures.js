// Gestures on the map: drag, wheel, pinch and keys; and the line drawn around points.

const STEP = 60; // pixels of an arrow key
const STILL = 5; // pixels that a click may slip
const CLOSEST = 400; // times

/** The piece of the map that is seen: its middle and how many times it is enlarged. */
export class Camera {
  x = 0.5;
  y = 0.5;
  zoom = 1;
  width = 1;
  height = 1;

  /** Pixels of the whole square's side. */
  get side() {
    return 0.94 * Math.min(this.width, this.height) * this.zoom;
  }

  /** From a place on screen to one on the map, 0 to 65,535. */
  toMap(x, y) {
    return [65535 * (this.x + (x - this.width / 2) / this.side), 65535 * (this.y - (y - this.height / 2) / this.side)];
  }

  toScreen(x, y) {
    return [(x / 65535 - this.x) * this.side + this.width / 2, this.height / 2 - (y / 65535 - this.y) * this.side];
  }

  move(dx, dy) {
    this.x = Math.min(1, Math.max(0, this.x - dx / this.side));
    this.y = Math.min(1, Math.max(0, this.y + dy / this.side));
  }

  /** Enlarge around a place on screen, which stays where it is. */
  enlarge(times, x = this.width / 2, y = this.height / 2) {
    const [mx, my] = this.toMap(x, y);
    this.zoom = Math.min(CLOSEST, Math.max(0.8, this.zoom * times));
    const [sx, sy] = this.toScreen(mx, my);
    this.move(x - sx, y - sy);
  }

  fit() {
    Object.assign(this, { x: 0.5, y: 0.5, zoom: 1 });
  }

  /** Scale and shift for the drawing, from 0…1 to −1…1. */
  get view() {
    const sx = (2 * this.side) / this.width;
    const sy = (2 * this.side) / this.height;
    return [sx, sy, -this.x * sx, -this.y * sy];
  }
}

/**
 * Listen on a canvas. `does` has: moved(), hovered(x, y) or hovered(null), clicked(x, y, event), drawing(line),
 * drawn(line), lassoing(): whether a drag draws a line.
 */
export function listen(canvas, camera, does) {
  const pointers = new Map();
  let line = null;
  let start = null;
  let spread = 0;
  const at = (event) => [event.offsetX, event.offsetY];

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    start = at(event);
    line = pointers.size === 1 && (does.lassoing() || event.altKey) ? [at(event)] : null;
    if (pointers.size === 2) spread = distance(...pointers.values());
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") does.hovered(...at(event));
      return;
    }
    const now = at(event);
    pointers.set(event.pointerId, now);
    if (line) {
      if (distance(line.at(-1), now) > 3) line.push(now);
      does.drawing(line);
      return;
    }
    camera.move((now[0] - before[0]) / pointers.size, (now[1] - before[1]) / pointers.size);
    if (pointers.size === 2) {
      const [a, b] = [...pointers.values()];
      const wider = distance(a, b);
      if (spread > 0) camera.enlarge(wider / spread, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      spread = wider;
    }
    does.hovered(null);
    does.moved();
  });
  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const drawn = line;
    line = null;
    if (drawn) does.drawing(null);
    if (event.type === "pointercancel") return;
    // A line that was drawn may well end where it began.
    if (drawn?.length > 2) does.drawn(drawn, event);
    else if (start && distance(start, at(event)) < STILL) does.clicked(...at(event), event);
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => does.hovered(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.enlarge(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0018)), ...at(event));
    does.moved();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (by) camera.move(by[0] * STEP, by[1] * STEP);
    else if (event.key === "+" || event.key === "=") camera.enlarge(1.4);
    else if (event.key === "-") camera.enlarge(1 / 1.4);
    else if (event.key === "Enter" || event.key === " ") does.clicked(camera.width / 2, camera.height / 2, event);
    else return;
    event.preventDefault();
    does.hovered(camera.width / 2, camera.height / 2);
    does.moved();
  });
}

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
