// Numbers, names and decisions in words: the same on every part of the page, and as in the report.

import { state } from "./state.js";

const WHOLE = new Intl.NumberFormat("en");
const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

export const count = (number) => WHOLE.format(number);

/**
 * A text of this page with the run's own word for an image: object or frame. As a tag it leaves the values alone, which
 * may be names of files and classes.
 */
export function worded(text, ...values) {
  const noun = state.run?.noun ?? "image";
  const a = /^[aeiou]/u.test(noun) ? "n " : " ";
  const put = (part) => (noun === "image" ? part : part.replace(/\b([Aa])n (?=image)/gu, `$1${a}`).replace(/image/gu, noun).replace(/Image/gu, noun[0].toUpperCase() + noun.slice(1)));
  return typeof text === "string" ? put(text) : String.raw({ raw: text.map(put) }, ...values);
}

/** "1 image", "12 images". */
export const several = (number, one, many = `${one}s`) => `${count(number)} ${worded(number === 1 ? one : many)}`;

/** A dissimilarity with four decimals, or in powers of ten where these would hide it. */
export function dissimilarity(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value >= 0.001) return value.toFixed(4);
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const power = [...String(Number(exponent))].map((letter) => SUPERSCRIPT[letter]).join("");
  return `${mantissa} × 10${power}`;
}

/** A dissimilarity in two digits, where it is a scale and not a measure. */
export const roughly = (value) => (value >= 0.001 ? String(Number(value.toPrecision(2))) : dissimilarity(value));

/** The scale of this set's dissimilarities, for they differ from embedding to embedding. */
export const typically = () => (state.run.typical === null ? "" : worded`Two images of this set are ${roughly(state.run.typical)} apart on average.`);

/** A fraction times 100 with as many decimals as tell neighbouring cuts of n images apart, at most three. */
export function hundredfold(fraction, n = 1000) {
  const decimals = Math.min(3, Math.max(1, Math.ceil(Math.log10(Math.max(n, 10))) - 2));
  return (100 * fraction).toFixed(decimals).replace(/(\.\d)0+$/, "$1");
}

export const percent = (fraction, n) => `${Number(hundredfold(fraction, n))}%`;

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  let value = number;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? several(number, "byte") : `${value.toPrecision(3)} ${units[unit]}`;
}

/** "class 7" where a class is named by a number, else its name. */
export function className(name) {
  return /^\d+$/u.test(name) ? `class ${name}` : name;
}

/** The last part of an id that is a path. */
export const fileName = (id) => id.split("/").at(-1) || id;

/** A long name with its two ends, the middle left out: folders begin alike, files end alike. */
export function shortened(text, limit = 40) {
  const letters = [...new Intl.Segmenter().segment(text)].map((part) => part.segment);
  if (letters.length <= limit) return text;
  const head = Math.floor((limit - 1) / 3);
  return `${letters.slice(0, head).join("")}…${letters.slice(letters.length - (limit - 1 - head)).join("")}`;
}

export function time(text) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return text;
  return moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export const KINDS = {
  keep: { name: "Keep", done: "kept too", icon: "plus", about: "Keep these images beside their group’s representative." },
  remove: { name: "Remove", done: "removed", icon: "remove", about: "Remove these images, even from groups of one." },
  prefer: { name: "Make representative", done: "made representative", icon: "star", many: "made representatives", about: "This image represents its group." },
  apart: { name: "Never together", done: "never together", icon: "apart", about: "These two images never share a group." },
  alone: { name: "Always alone", done: "always alone", icon: "alone", about: "This image shares a group with no other." },
  accept: { name: "Accept group", done: "accepted", icon: "check", about: "This group is right as it is." },
  same: { name: "The same", done: "called the same", icon: "check" }, // answers to the questions of calibrate.js
  different: { name: "Different", done: "called different", icon: "apart" },
};

/** What a decision did, in a few words: "2 images never together". */
export function decided(decision) {
  const kind = KINDS[decision.kind];
  const number = decision.n_images ?? decision.images.length;
  const images = several(number, "image");
  if (decision.kind === "accept") return `Group of ${images} accepted`;
  return `${images} ${(number > 1 && kind?.many) || (kind?.done ?? decision.kind)}`;
}

/** Names of images, those that are left counted: "03.png, 04.png and 2 more". */
export function named(images, total) {
  const names = images.slice(0, 2).map(({ id }) => shortened(fileName(id), 36));
  const left = total - names.length;
  return left > 0 ? `${names.join(", ")} and ${count(left)} more` : names.join(" and ");
}

const are = (number) => (number === 1 ? "is" : "are");

/** Which images decisions keep and which they remove: "03.png is kept now; 04.png is removed instead"; empty where there are none. */
export function effect({ back, n_back: kept, instead, n_instead: gone }) {
  const goes = gone ? `${named(instead, gone)} ${are(gone)} removed instead` : "";
  if (!kept) return goes;
  return `${named(back, kept)} ${are(kept)} kept now; ${goes || worded("no other image is removed instead")}`;
}
