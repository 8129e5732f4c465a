/**
 * The HTTP API: requests, the session, and errors that say what to do.
 *
 * A session is a cookie, which scripts cannot read. The header X-Requested-With tells the broker
 * that a request is from this page and not from a foreign one.
 */

import { preference, setPreference } from "./state.js";

const OF_THE_SESSION = ["/api/session", "/api/whoami"];
const HEADERS = { "X-Requested-With": "leveret", Accept: "application/json" };

/** An answer that is no success, or no answer. */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 if there was no answer
   * @param {string} reason what the broker said
   * @param {string} what the method and the path of the request
   */
  constructor(status, reason, what) {
    super(reason);
    this.status = status;
    this.reason = reason;
    this.what = what;
  }

  /** What whoever reads this can do about it. */
  get advice() {
    // RabbitMQ's API answers a lack of a permission with the status of a failed login.
    return advice(this.reason.includes("refused for user") ? 403 : this.status);
  }
}

/**
 * What to do about an answer of a status.
 *
 * @param {number} status
 */
export function advice(status) {
  if (status === 0) {
    return "The broker does not answer. Check that it runs and that this address is right; the page tries again by itself.";
  }
  if (status === 401) {
    return "Log in as a user with a tag that permits this (administrator, policymaker, monitoring or management).";
  }
  if (status === 403) {
    return "Ask an administrator for the permission, or log in as another user.";
  }
  if (status === 404) {
    return "It was deleted, or it is in another virtual host. Go back to the list, or search for it with /.";
  }
  if (status === 405) {
    return "This version of the broker cannot do it.";
  }
  if (status === 429) {
    return "Too many logins failed from this address. Wait a minute and try again.";
  }
  if (status >= 500) {
    return "The broker failed to answer. Its log says why: look at Log, and report it.";
  }
  return "Correct what the message names, and try again.";
}

/** @type {Set<() => void>} */
const expired = new Set();

/**
 * @param {() => void} callback is called when the broker does not know the session (any more)
 */
export function onSessionEnd(callback) {
  expired.add(callback);
}

/** Tells the page that the session is over. */
export function sessionEnded() {
  for (const callback of expired) {
    callback();
  }
}

/**
 * A path in which each value is one segment, whatever characters it has.
 *
 * @param {TemplateStringsArray} texts
 * @param {...(string | number)} values
 */
export function url(texts, ...values) {
  return texts.reduce(
    (path, text, index) => path + encodeURIComponent(String(values[index - 1])) + text,
  );
}

/**
 * A path with a query. Values that are null, undefined or "" are left out.
 *
 * @param {string} path
 * @param {{[name: string]: string | number | boolean | null | undefined}} values
 */
export function withQuery(path, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") {
      query.set(name, String(value));
    }
  }
  const text = query.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function get(path, signal) {
  return request("GET", path, undefined, { signal });
}

/**
 * A request that may change something.
 *
 * @param {"POST" | "PUT" | "PATCH" | "DELETE"} method
 * @param {string} path
 * @param {unknown} [body] is sent as JSON
 * @param {{[name: string]: string}} [headers]
 * @returns {Promise<any>} the JSON of the answer, or null if there is none
 */
export function send(method, path, body, headers) {
  return request(method, path, body, { headers });
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {{signal?: AbortSignal, headers?: {[name: string]: string}}} options
 * @returns {Promise<any>}
 */
async function request(method, path, body, { signal, headers }) {
  /** @type {RequestInit} */
  const init = { method, headers: { ...HEADERS, ...headers }, signal, credentials: "same-origin" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0, "no answer from the broker", `${method} ${path}`);
  }
  const text = await response.text();
  if (!response.ok) {
    if (response.status === 401 && !OF_THE_SESSION.includes(path)) {
      await checkSession();
    }
    throw new ApiError(response.status, reasonOf(text, response), `${method} ${path}`);
  }
  return text ? JSON.parse(text) : null;
}

/**
 * @param {string} text
 * @param {Response} response
 */
function reasonOf(text, response) {
  try {
    const { reason, error } = JSON.parse(text);
    return String(reason ?? error);
  } catch {
    return text.slice(0, 300) || `${response.status} ${response.statusText}`;
  }
}

/** A 401 is a lack of rights, or the end of the session: whoami tells them apart. */
async function checkSession() {
  const response = await fetch("/api/whoami", { headers: HEADERS });
  if (response.status === 401) {
    sessionEnded();
  }
}

/** Whether there was a login since the page was loaded: not all browsers keep what they are told. */
let isKnown = false;

function forget() {
  setPreference("login", null);
  isKnown = false;
}

/**
 * Who is logged in.
 *
 * @typedef {{name: string, tags: string[], clustered: boolean}} Session `clustered`: whether the
 *   broker has others beside it
 */

/**
 * @returns {Promise<Session | null>} null if nobody is
 */
export async function whoami() {
  if (!isKnown && preference("login") === null) {
    // Scripts cannot see whether there is a cookie, and a refused request is an error in the console.
    return null;
  }
  try {
    return sessionOf(await request("GET", "/api/whoami", undefined, {}));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      forget();
      return null;
    }
    throw error;
  }
}

/**
 * @param {string} username
 * @param {string} password
 * @returns {Promise<Session>}
 */
export async function login(username, password) {
  const session = sessionOf(await send("POST", "/api/session", { username, password }));
  setPreference("login", "1");
  isKnown = true;
  return session;
}

export async function logout() {
  forget();
  await send("DELETE", "/api/session");
}

/**
 * @param {any} found
 * @returns {Session}
 */
function sessionOf(found) {
  const tags = typeof found.tags === "string" ? found.tags.split(",") : found.tags;
  return {
    name: found.name,
    tags: tags.map((/** @type {string} */ tag) => tag.trim()),
    clustered: Boolean(found.clustered),
  };
}

/**
 * Whether somebody has one of the tags, or the tag of an administrator.
 *
 * @param {Session} session
 * @param {...string} tags
 */
export function may(session, ...tags) {
  return session.tags.includes("administrator") || tags.some((tag) => session.tags.includes(tag));
}
