// Search among points of the map: the nearest to a place, all within a drawn line.

/** Points sorted into the cells of a grid over the square, so that a search looks at few of them. */
export class Grid {
  constructor(points) {
    const n = points.length / 2;
    this.points = points;
    this.cells = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(n / 4))));
    const cell = new Uint32Array(n);
    this.starts = new Uint32Array(this.cells * this.cells + 1);
    for (let p = 0; p < n; p += 1) {
      cell[p] = this.#at(points[2 * p + 1]) * this.cells + this.#at(points[2 * p]);
      this.starts[cell[p] + 1] += 1;
    }
    for (let c = 0; c < this.cells * this.cells; c += 1) this.starts[c + 1] += this.starts[c];
    this.order = new Uint32Array(n);
    const next = this.starts.slice();
    for (let p = 0; p < n; p += 1) this.order[next[cell[p]]++] = p;
  }

  #at(value) {
    return Math.max(0, Math.min(this.cells - 1, Math.floor((value / 65536) * this.cells)));
  }

  /** The point nearest to (x, y) within a radius, −1 where there is none; of equals the first. */
  nearest(x, y, radius) {
    let best = -1;
    let least = radius * radius;
    for (let row = this.#at(y - radius); row <= this.#at(y + radius); row += 1) {
      const first = this.starts[row * this.cells + this.#at(x - radius)];
      const last = this.starts[row * this.cells + this.#at(x + radius) + 1];
      for (let entry = first; entry < last; entry += 1) {
        const p = this.order[entry];
        const dx = this.points[2 * p] - x;
        const dy = this.points[2 * p + 1] - y;
        const far = dx * dx + dy * dy;
        if (far < least || (far === least && p < best)) {
          best = p;
          least = far;
        }
      }
    }
    return best;
  }
}

/** The points within a closed line, given as [x, y] corners; by the even-odd rule. */
export function within(points, line) {
  const xs = line.map(([x]) => x);
  const ys = line.map(([, y]) => y);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found = [];
  for (let p = 0; p < points.length / 2; p += 1) {
    const x = points[2 * p];
    const y = points[2 * p + 1];
    if (x < left || x > right || y < low || y > high) continue;
    let inside = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a, a += 1) {
      if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) inside = !inside;
    }
    if (inside) found.push(p);
  }
  return found;
}
