/**
 * What the broker says by itself: one stream of server-sent events for all that the page watches.
 *
 * The stream is opened again when what is watched changes, when the broker was away, and when the
 * tab is seen again; a hidden tab has none. What did not change meanwhile causes no callback.
 */

import { ApiError, sessionEnded, whoami } from "./api.js";

const EVERY_S = 2;
/** Seconds between two looks of the broker at what is watched. */

const HIDDEN_MS = 15000;
/** Milliseconds after which a hidden tab gives up its stream: a browser has six a server. */

const RETRY_MS = [500, 1000, 2000, 3000];
/** Milliseconds until the next attempt; the last one holds from then on. */

/**
 * @typedef {(body: any) => void} OnBody
 * @typedef {(error: ApiError) => void} OnError
 * @typedef {{onBody: OnBody, onError: OnError}} Watcher
 * @typedef {{watchers: Set<Watcher>, last: string | null}} Watched
 * @typedef {"live" | "connecting" | "lost" | "paused"} StreamState
 */

/** @type {Map<string, Watched>} */
const watched = new Map();

/** @type {EventSource | null} */
let source = null;
/** @type {StreamState} */
let state = "connecting";
let attempts = 0;
/** @type {number | undefined} */
let opening;
/** @type {number | undefined} */
let hiding;

/** @type {Set<(state: StreamState, retryMs: number) => void>} */
const observers = new Set();

/**
 * Watches what a GET of a path answers.
 *
 * @param {string} path with its query
 * @param {OnBody} onBody is called with the body at once, and after each change
 * @param {OnError} [onError] is called when the answer is no success
 * @returns {() => void} ends that
 */
export function watch(path, onBody, onError = () => {}) {
  let found = watched.get(path);
  if (!found) {
    found = { watchers: new Set(), last: null };
    watched.set(path, found);
    openSoon(0);
  }
  const watcher = { onBody, onError };
  found.watchers.add(watcher);
  if (found.last !== null) {
    pass(found.last, [watcher]);
  }
  return () => {
    found.watchers.delete(watcher);
    if (found.watchers.size === 0 && watched.get(path) === found) {
      watched.delete(path);
      // A stream that watches too much is cheaper than one that is opened again.
      if (watched.size === 0) {
        close();
      } else {
        openSoon(1000);
      }
    }
  };
}

/**
 * @param {(state: StreamState, retryMs: number) => void} observer is called when the stream is lost
 *   and when it is back
 */
export function onStreamState(observer) {
  observers.add(observer);
}

/** Opens the stream again at once. */
export function retryNow() {
  attempts = 0;
  lost();
}

/** Ends all, when nobody is logged in. */
export function stopAll() {
  watched.clear();
  close();
}

/**
 * @param {StreamState} given
 * @param {number} [retryMs]
 */
function setState(given, retryMs = 0) {
  state = given;
  for (const observer of observers) {
    observer(given, retryMs);
  }
}

/** @param {number} afterMs */
function openSoon(afterMs) {
  clearTimeout(opening);
  opening = window.setTimeout(open, afterMs);
}

function close() {
  clearTimeout(opening);
  source?.close();
  source = null;
}

function open() {
  close();
  if (watched.size === 0 || (document.hidden && state === "paused")) {
    return;
  }
  const query = [...watched.keys()].map((path) => `watch=${encodeURIComponent(path)}`).join("&");
  const opened = new EventSource(`/api/live?${query}&every=${EVERY_S}`);
  source = opened;
  opened.addEventListener("change", (event) => {
    if (source !== opened) {
      return;
    }
    if (state !== "live") {
      attempts = 0;
      setState("live");
    }
    receive(event.data);
  });
  opened.onerror = () => {
    if (source === opened) {
      lost();
    }
  };
}

/** @param {string} data */
function receive(data) {
  const { watch: path } = JSON.parse(data);
  const found = watched.get(path);
  if (found && found.last !== data) {
    found.last = data;
    pass(data, found.watchers);
  }
}

/**
 * @param {string} data
 * @param {Iterable<Watcher>} watchers
 */
function pass(data, watchers) {
  const { watch: path, status, body } = JSON.parse(data);
  for (const { onBody, onError } of [...watchers]) {
    if (status === 200) {
      onBody(body);
    } else {
      onError(new ApiError(status, body?.reason ?? `status ${status}`, `GET ${path}`));
    }
  }
}

/** Tries again, when the stream has ended. */
async function lost() {
  close();
  const retryMs = RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)];
  attempts += 1;
  try {
    // A broker that was restarted may not know the session; the stream does not say so.
    if ((await whoami()) === null) {
      sessionEnded();
    } else {
      openSoon(attempts === 1 ? 0 : retryMs);
    }
  } catch {
    setState("lost", retryMs);
    clearTimeout(opening);
    opening = window.setTimeout(lost, retryMs);
  }
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = window.setTimeout(() => {
      close();
      setState("paused");
    }, HIDDEN_MS);
  } else if (!source) {
    retryNow();
  }
});

window.addEventListener("online", retryNow);
