// State of the page, in one place, and its listeners.

const values = {
  run: null, // the answer of api/run
  keep: 0.9, // the fraction asked for, or that a threshold comes to: the slider's place
  threshold: null, // the dissimilarity asked for instead
  hold: "height", // what decisions leave as it is at a fraction: "height" (fewer are removed) or "count" (others are removed instead)
  cut: null, // the answer of api/cut for it; older while the new one is on its way
  deeper: null, // {keep, deepest} where the tree does not reach what is asked for
  version: 0, // of the decisions that are on screen: what this person has seen
  looked: null, // the answer of api/images/… for the image looked at
  filter: { order: "size", class: "", min_size: "", max_size: "", text: "", decided: "any" },
  view: "groups",
  active: null, // position of the image looked at: the panel shows it
  selected: new Set(), // positions; empty until several are selected one by one
  severally: false, // each click adds or takes away
  listed: null, // groups in the list under the filters; null before the first answer
  opened: null, // {group}: on small screens the panel is to be laid over the page, at its group
  offline: false,
};
const listeners = new Map();

export const state = new Proxy(values, {
  set() {
    throw new TypeError("state is changed by set()");
  },
});

/** The cut asked for, as the server takes it. */
export function cutting() {
  return values.threshold === null ? { keep: values.keep, hold: values.hold } : { threshold: values.threshold };
}

/** The images that a decision is about: those selected; else the one looked at, unless each click selects. */
export function targets() {
  if (values.selected.size || values.severally) return [...values.selected];
  return values.active === null ? [] : [values.active];
}

/** Take new values, then tell those who listen to them: all at once, so that nobody sees half a change. */
export function set(changes) {
  const changed = Object.keys(changes).filter((name) => values[name] !== changes[name]);
  Object.assign(values, changes);
  const told = new Set(changed.flatMap((name) => [...(listeners.get(name) ?? [])]));
  for (const listener of told) listener();
}

/** Call a function whenever one of some values changes. */
export function onChange(names, listener) {
  for (const name of names.split(" ")) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
  }
}

/** What is remembered in this browser from one visit to the next; nothing where that is forbidden. */
export const remembered = {
  get(name, otherwise) {
    try {
      return localStorage.getItem(`tenpercent.${name}`) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`tenpercent.${name}`, value);
    } catch {
      // Forbidden: then it holds for this visit.
    }
  },
};
