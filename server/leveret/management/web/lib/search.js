/**
 * The search over everything: views, queues, exchanges, connections, users, policies and virtual
 * hosts. `/` opens it.
 */

import { get, may, withQuery } from "./api.js";
import { h, morph } from "./dom.js";
import { number } from "./format.js";
import { addressOf } from "./page.js";
import { VIEWS } from "../views.js";

/**
 * @typedef {import("./api.js").Session} Session
 * @typedef {{title: string, beside: string, href: string}} Hit
 * @typedef {{title: string, path: string, kind: string, columns: string,
 *   beside: (row: any) => string, tags?: string[]}} Source
 */

const TYPING_MS = 80;
/** Milliseconds after the last key before the broker is asked. */
const HITS_MAX = 6;
/** Hits of each kind that are shown. */

const inVhost = (/** @type {any} */ row) => `in ${row.vhost}`;

/** @type {Source[]} */
const SOURCES = [
  {
    title: "Queues",
    path: "/api/queues",
    kind: "queue",
    columns: "name,vhost,messages",
    beside: (row) => `${number(row.messages)} messages, in ${row.vhost}`,
  },
  {
    title: "Exchanges",
    path: "/api/exchanges",
    kind: "exchange",
    columns: "name,vhost,type",
    beside: (row) => `${row.type}, in ${row.vhost}`,
  },
  {
    title: "Connections",
    path: "/api/connections",
    kind: "connection",
    columns: "name,user,user_provided_name,vhost",
    beside: (row) => [row.user_provided_name, row.user].filter(Boolean).join(", "),
  },
  {
    title: "Policies",
    path: "/api/policies",
    kind: "policy",
    columns: "name,vhost,pattern",
    beside: inVhost,
    tags: ["policymaker"],
  },
  {
    title: "Users",
    path: "/api/users",
    kind: "user",
    columns: "name,tags",
    beside: (row) => [row.tags].flat().join(", "),
    tags: [],
  },
  {
    title: "Virtual hosts",
    path: "/api/vhosts",
    kind: "vhost",
    columns: "name,description",
    beside: (row) => row.description ?? "",
  },
];

/**
 * Opens the search.
 *
 * @param {Session} session
 * @param {(address: string) => void} navigate
 */
export function openSearch(session, navigate) {
  if (!document.querySelector("dialog[open]")) {
    new Search(session, navigate);
  }
}

class Search {
  /**
   * @param {Session} session
   * @param {(address: string) => void} navigate
   */
  constructor(session, navigate) {
    this.session = session;
    this.navigate = navigate;
    /** @type {Map<string, Hit[]>} */
    this.found = new Map();
    /** @type {Hit[]} */
    this.hits = [];
    this.chosen = 0;
    /** @type {number | undefined} */
    this.typing = undefined;
    this.asking = new AbortController();
    this.list = h("div", { id: "search-hits", role: "listbox", "aria-label": "What was found" });
    this.said = h("p", { class: "unseen", role: "status" });
    this.input = h("input", {
      // Of a search field, Escape would empty it, and not close the dialog.
      type: "text",
      role: "combobox",
      "aria-label": "Search everything",
      "aria-expanded": "true",
      "aria-controls": "search-hits",
      "aria-autocomplete": "list",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "Queue, exchange, connection, user, policy, virtual host, view",
      oninput: () => this.onInput(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.onKey(event),
    });
    this.dialog = h(
      "dialog",
      { class: "search", "aria-label": "Search" },
      this.input,
      this.list,
      this.said,
    );
    this.dialog.addEventListener("close", () => {
      this.asking.abort();
      clearTimeout(this.typing);
      this.dialog.remove();
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) {
        this.dialog.close();
      }
    });
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.input.focus();
    this.ask();
  }

  onInput() {
    clearTimeout(this.typing);
    this.typing = window.setTimeout(() => this.ask(), TYPING_MS);
    this.findViews();
    this.show();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const last = this.hits.length - 1;
    if (event.key === "ArrowDown") {
      this.choose(Math.min(this.chosen + 1, last));
    } else if (event.key === "ArrowUp") {
      this.choose(Math.max(this.chosen - 1, 0));
    } else if (event.key === "Enter") {
      this.go(this.hits[this.chosen]);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** @param {number} index */
  choose(index) {
    this.chosen = index;
    this.show();
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Hit | undefined} hit */
  go(hit) {
    if (hit) {
      this.dialog.close();
      this.navigate(hit.href);
    }
  }

  findViews() {
    const text = this.input.value.trim().toLowerCase();
    const views = VIEWS.filter(
      (view) =>
        view.title?.toLowerCase().includes(text) && (!view.tags || may(this.session, ...view.tags)),
    );
    this.found.set(
      "Views",
      views.map((view) => ({ title: view.title ?? "", beside: "", href: view.path })),
    );
  }

  ask() {
    this.asking.abort();
    this.asking = new AbortController();
    this.findViews();
    const text = this.input.value.trim();
    if (text === "") {
      SOURCES.forEach((source) => this.found.delete(source.title));
      this.show();
      return;
    }
    for (const source of SOURCES) {
      if (!source.tags || may(this.session, ...source.tags)) {
        this.askFor(source, text, this.asking.signal);
      }
    }
  }

  /**
   * @param {Source} source
   * @param {string} text
   * @param {AbortSignal} signal
   */
  async askFor(source, text, signal) {
    let rows = [];
    try {
      rows = await rowsLike(source, text, signal);
    } catch {
      // One kind that cannot be listed must not hide the others; its own view says why.
      rows = [];
    }
    if (!signal.aborted) {
      this.found.set(
        source.title,
        rows.slice(0, HITS_MAX).map((/** @type {any} */ row) => ({
          title: row.name || "(default exchange)",
          beside: source.beside(row),
          href: addressOf(source.kind, row.name, row.vhost),
        })),
      );
      this.show();
    }
  }

  show() {
    const order = [...SOURCES.map((source) => source.title)];
    const groups = (this.input.value.trim() === "" ? ["Views"] : [...order, "Views"])
      .map((title) => ({ title, hits: this.found.get(title) ?? [] }))
      .filter(({ hits }) => hits.length > 0);
    this.hits = groups.flatMap(({ hits }) => hits);
    this.chosen = Math.max(0, Math.min(this.chosen, this.hits.length - 1));
    let index = -1;
    morph(
      this.list,
      groups.map(({ title, hits }) =>
        h(
          "div",
          { key: title, role: "group", "aria-label": title },
          h("div", { class: "group", "aria-hidden": "true" }, title),
          hits.map((hit) => this.hitElement(hit, (index += 1))),
        ),
      ),
      this.hits.length === 0 ? h("p", { class: "blank" }, "Nothing has this in its name.") : null,
    );
    this.input.setAttribute("aria-activedescendant", `search-hit-${this.chosen}`);
    morph(this.said, `${this.hits.length} found`);
  }

  /**
   * @param {Hit} hit
   * @param {number} index
   */
  hitElement(hit, index) {
    return h(
      "a",
      {
        id: `search-hit-${index}`,
        role: "option",
        "aria-selected": index === this.chosen ? "true" : "false",
        href: hit.href,
        tabindex: -1,
        onclick: () => this.dialog.close(),
      },
      h("span", { class: "name" }, hit.title),
      h("span", { class: "beside" }, hit.beside),
    );
  }
}

/**
 * Rows with a text in their names; those that begin with it come first.
 *
 * @param {Source} source
 * @param {string} text
 * @param {AbortSignal} signal
 * @returns {Promise<any[]>}
 */
async function rowsLike({ path, columns }, text, signal) {
  const query = { page: 1, page_size: HITS_MAX, sort: "name", columns };
  const body = await get(withQuery(path, { ...query, name: text }), signal);
  if (Array.isArray(body)) {
    return namedLike(body, text);
  }
  if (body.filtered_count <= HITS_MAX) {
    return body.items;
  }
  const beginning = `(?i)^${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`;
  const first = await get(withQuery(path, { ...query, name: beginning, use_regex: true }), signal);
  const seen = new Set(first.items.map((/** @type {any} */ row) => `${row.vhost} ${row.name}`));
  const others = body.items.filter((/** @type {any} */ row) => !seen.has(`${row.vhost} ${row.name}`));
  return [...first.items, ...others];
}

/**
 * @param {any[]} rows
 * @param {string} text
 */
function namedLike(rows, text) {
  return rows.filter((row) => row.name.toLowerCase().includes(text.toLowerCase()));
}
