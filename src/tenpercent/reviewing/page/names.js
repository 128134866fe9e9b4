// Names of images where room is short: a line ends after a separator, not inside a word.

import { el } from "./dom.js";
import { shortened } from "./words.js";

const PIECES = /[^\s_.,#/\\-]*[\s_.,#/\\-]+|[^\s_.,#/\\-]+/gu; // each with the separators after it

const pieces = (text) => text.match(PIECES) ?? [text];

/** A name whose lines end after separators where they can. */
export const breakable = (text) => pieces(text).flatMap((piece, number) => (number ? [el("wbr"), piece] : [piece]));

/** How many lines of so many letters a name takes. */
export function linesOf(text, letters) {
  let lines = 1;
  let left = letters;
  for (const { length } of pieces(text)) {
    if (length > left && left < letters) [lines, left] = [lines + 1, letters];
    for (left -= length; left < 0; left += letters) lines += 1;
  }
  return lines;
}

/** A name as it fits into lines of so many letters, its middle left out where it does not. */
export function fitted(text, { letters, lines }) {
  let limit = letters * lines;
  let found = text;
  while (limit > 3 && linesOf(found, letters) > lines) found = shortened(text, limit--);
  return found;
}
