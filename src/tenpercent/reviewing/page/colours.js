// Colours of the map's points: by class, by kept or removed, by the group of the current image.

const CLASSES = {
  light: ["#1f6fb2", "#d1550f", "#12815f", "#a63d78", "#8a6d00", "#5b4bb3", "#b3261e", "#2f8fa8", "#7a4a2b", "#5d6b2f"],
  dark: ["#6db3f2", "#f5925a", "#3ccf9f", "#e08bbd", "#d9bb3f", "#a99bff", "#ff8a80", "#6fd3e6", "#c99b7a", "#b5c66a"],
};
const GOLDEN = 137.508; // degrees between one hue and the next: neighbours in number are far apart in colour

/** The colour of a class as CSS has it: ten that are told apart well, then hues all around. */
export function classColour(code, dark) {
  const chosen = CLASSES[dark ? "dark" : "light"];
  if (code < 0) return dark ? "#727a83" : "#8d959e";
  if (code < chosen.length) return chosen[code];
  return `hsl(${(code * GOLDEN) % 360} ${55 + (code % 3) * 15}% ${dark ? 62 + (code % 2) * 10 : 36 + (code % 2) * 10}%)`;
}

export const isDark = () => getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";

const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const seen = new Map();

/** A CSS colour as four bytes in one number, as they lie in memory. */
export function packed(css) {
  if (!seen.has(css)) {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = css;
    probe.fillRect(0, 0, 1, 1);
    seen.set(css, new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer)[0]);
  }
  return seen.get(css);
}

/** What a custom property of the page's style holds, resolved to a colour. */
export function styled(name) {
  const node = document.createElement("i");
  node.style.color = `var(${name})`;
  document.body.append(node);
  const { color } = getComputedStyle(node);
  node.remove();
  return color;
}
