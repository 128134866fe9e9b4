// Requests to the server. Addresses are relative: the page may also run behind a notebook's proxy.

import { cutting, set, state } from "./state.js";

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error ?? `The server answered ${status}.`);
    this.status = status;
    this.body = body ?? {};
  }
}

/** Whether an error is only a request that was given up for a newer one. */
export const isAbort = (error) => error?.name === "AbortError";

function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function request(url, options) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (!isAbort(error)) set({ offline: true });
    throw error;
  }
  if (answer.status >= 502 && answer.status <= 504) set({ offline: true }); // a proxy before a server that is gone
  else if (state.offline) set({ offline: false });
  if (answer.ok) return answer;
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // No JSON: the status says enough.
  }
  throw new ApiError(answer.status, body);
}

export async function get(path, params, signal) {
  return (await request(address(path, params), { signal })).json();
}

export async function getBytes(path, params, signal) {
  return (await request(address(path, params), { signal })).arrayBuffer();
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** The address of an image's picture. The origin is in it so that no picture of an earlier embedding is shown. */
export function picture(position, side) {
  return address(`api/images/${position}/picture`, { side, of: state.run.origin.slice(0, 12) });
}

/** The address of a download at the present cut. */
export const download = (name) => address(`download/${name}`, cutting());

/** Runs one request at a time of its sort; a newer one gives the older up. */
export class Latest {
  #controller = null;

  run(work) {
    this.#controller?.abort();
    this.#controller = new AbortController();
    return work(this.#controller.signal);
  }

  stop() {
    this.#controller?.abort();
  }
}

/**
 * Follows a value that changes faster than the server answers: one request under way, and after it one for the newest
 * value. Unlike giving up each request for the next, something new is on screen all the time.
 */
export class Follower {
  #running = null;
  #wanted = null;

  constructor(work) {
    this.work = work;
  }

  /** Ends once nothing newer is wanted. */
  follow(value) {
    this.#wanted = { value };
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run() {
    try {
      while (this.#wanted) {
        const { value } = this.#wanted;
        this.#wanted = null;
        await this.work(value);
      }
    } finally {
      this.#running = null;
    }
  }
}
