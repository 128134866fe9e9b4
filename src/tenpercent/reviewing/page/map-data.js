// Data of the map: points, labels, kept images; fetched in parts and turned into colours.

import { get, getBytes, Latest } from "./api.js";
import { classColour, isDark, packed, styled } from "./colours.js";
import { Grid } from "./points.js";
import { cutting, state } from "./state.js";

const PART = 200_000; // points of one answer
const MOST_MEMBERS = 5000; // of a group that is coloured

const keptNow = new Latest();

export class MapData {
  points = null;
  grid = null;
  labels = null;
  kept = null;
  group = []; // members of the group that is coloured

  /** Fetch the points and labels; `tell` is called with the share that is here. */
  async load(tell) {
    const { n, labelled } = state.run;
    const points = new Uint16Array(2 * n);
    const labels = labelled ? new Int16Array(n) : null;
    for (let offset = 0; offset < n; offset += PART) {
      const [places, codes] = await Promise.all([
        getBytes("api/map/points", { offset, limit: PART }),
        labels && getBytes("api/labels", { offset, limit: PART }).catch(() => null), // too many classes to colour
      ]);
      points.set(new Uint16Array(places), 2 * offset);
      if (codes) labels.set(new Int16Array(codes), offset);
      else if (labels) labels.fill(-1, offset, offset + PART);
      tell(Math.min(1, (offset + PART) / n));
    }
    this.points = points;
    this.labels = labels;
    this.grid = new Grid(points);
  }

  async loadKept() {
    this.kept = new Uint8Array(await keptNow.run((signal) => getBytes("api/kept", cutting(), signal)));
  }

  /** Fetch the members of an image's group. */
  async loadGroup(position) {
    const found = [];
    while (position !== null) {
      const { members, size } = await get(`api/groups/${position}`, { ...cutting(), offset: found.length, limit: 200 });
      found.push(...members);
      if (!members.length || found.length >= size || found.length >= MOST_MEMBERS) break;
    }
    this.group = found;
  }

  isKept(p) {
    return ((this.kept[p >> 3] >> (p & 7)) & 1) === 1;
  }

  /** Four bytes a point, by `class`, `kept` or `group`. */
  colours(mode) {
    const n = this.points.length / 2;
    const colours = new Uint32Array(n);
    const faint = packed(styled("--faint"));
    const kept = packed(styled("--kept"));
    const removed = packed(styled("--outside"));
    if (mode === "class" && this.labels) {
      const dark = isDark();
      const known = new Map();
      for (let p = 0; p < n; p += 1) {
        const code = this.labels[p];
        if (!known.has(code)) known.set(code, packed(classColour(code, dark)));
        colours[p] = known.get(code);
      }
    } else if (mode === "group") {
      colours.fill(faint);
      for (const member of this.group) colours[member.p] = member.role === "removed" ? removed : kept;
    } else {
      for (let p = 0; p < n; p += 1) colours[p] = this.isKept(p) ? faint : removed;
    }
    return new Uint8Array(colours.buffer);
  }

  /** The points to draw once more on top: those removed, or the group, and those selected. */
  above(mode) {
    const found = [];
    if (mode === "kept") for (let p = 0; p < this.points.length / 2; p += 1) if (!this.isKept(p)) found.push(p);
    if (mode === "group") found.push(...this.group.map((member) => member.p));
    return Uint32Array.from(found);
  }
}
