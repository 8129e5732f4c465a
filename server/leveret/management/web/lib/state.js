/**
 * The state of a view (filters, sort, range, columns): it is in the query string, so that the
 * address of a view can be shared. A value that is the default is not in the address.
 */

export class State {
  constructor() {
    this.query = new URLSearchParams(location.search);
    /** @type {Set<() => void>} */
    this.listeners = new Set();
  }

  /**
   * @param {string} name
   * @param {string} [otherwise] the value if the address has none
   * @returns {string}
   */
  get(name, otherwise = "") {
    return this.query.get(name) ?? otherwise;
  }

  /**
   * Changes values, the address, and whoever listens. Null removes one.
   *
   * @param {{[name: string]: string | number | null}} values
   * @param {{push?: boolean}} [how] push: whether "back" returns to the state before
   */
  set(values, { push = false } = {}) {
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === "") {
        this.query.delete(name);
      } else {
        this.query.set(name, String(value));
      }
    }
    const address = location.pathname + readable(this.query);
    if (address !== location.pathname + location.search) {
      history[push ? "pushState" : "replaceState"](null, "", address);
    }
    for (const listener of [...this.listeners]) {
      listener();
    }
  }

  /**
   * @param {() => void} listener is called after each change
   * @returns {() => void} ends that
   */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/**
 * A query string in which what needs no escape has none, because people read and write it.
 *
 * @param {URLSearchParams} query
 */
function readable(query) {
  const text = query
    .toString()
    .replace(/%(3E|3C|7E|3A|2C|2F|21|40|5B|5D)/gi, (escaped) => decodeURIComponent(escaped));
  return text ? `?${text}` : "";
}

/**
 * A choice of this browser that is not part of an address (theme, times).
 *
 * @param {string} name
 * @returns {string | null}
 */
export function preference(name) {
  try {
    return localStorage.getItem(`leveret.${name}`);
  } catch {
    // Storage is refused in some private modes: the choice holds until the page is left.
    return null;
  }
}

/**
 * @param {string} name
 * @param {string | null} value
 */
export function setPreference(name, value) {
  try {
    if (value === null) {
      localStorage.removeItem(`leveret.${name}`);
    } else {
      localStorage.setItem(`leveret.${name}`, value);
    }
  } catch {
    // As above.
  }
}
