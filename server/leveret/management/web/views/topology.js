/** The topology of a virtual host as a picture. */

import { get, url, withQuery } from "../lib/api.js";
import { h, morph } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { bundled, matching, part } from "../lib/layered.js";
import { rowsOf } from "../lib/listing.js";
import { addressOf, pageHead } from "../lib/page.js";
import { topologyPicture } from "../lib/topology.js";
import { problemBox, Watching } from "../lib/watching.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {import("../lib/layered.js").Binding} Binding */

export const title = () => "Topology";

const BINDINGS_MAX = 500;
/** Bindings that are asked for: as many as a page of a listing has at most. */
const OBJECTS_MAX = 250;
/** Exchanges and queues that are drawn: more are no picture. */
const TYPING_MS = 200;

/** What a broker has by itself is drawn only if it is used. */
const PREDECLARED = /^(amq\..*)?$/;

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, navigate }) {
  const view = new TopologyView(container, state, navigate);
  return () => view.stop();
}

class TopologyView {
  /**
   * @param {HTMLElement} container
   * @param {import("../lib/state.js").State} state
   * @param {(address: string) => void} navigate
   */
  constructor(container, state, navigate) {
    this.state = state;
    this.watching = new Watching();
    /** @type {Map<string, Binding[]>} by the query that found them */
    this.found = new Map();
    /** @type {Map<string, string>} */
    this.types = new Map();
    /** @type {Map<string, number>} */
    this.messages = new Map();
    this.drawn = "";

    this.problem = problemBox();
    this.note = h("p", { class: "hint", role: "status", "aria-live": "polite" });
    this.readOut = h("p", { class: "topology-read", "aria-live": "polite" });
    const place = h("div");
    this.picture = topologyPicture(place, {
      href: ({ kind, name }) => addressOf(kind, name, this.vhost),
      note: ({ kind, name }) => (kind === "exchange" ? (this.types.get(name) ?? "") : this.count(name)),
      onRead: (text) => morph(this.readOut, text),
      onOpen: navigate,
    });
    container.append(pageHead("Topology"), this.bar(), this.problem, this.note, place, this.readOut);
    this.stopListening = state.listen(() => this.load());
    this.load();
  }

  stop() {
    this.stopListening();
    this.watching.stop();
    this.picture.destroy();
  }

  get vhost() {
    return this.state.get("vhost", "/");
  }

  /** @param {string} queue */
  count(queue) {
    const count = this.messages.get(queue);
    return count === undefined ? "" : number(count);
  }

  bar() {
    const choice = h("select", {
      "aria-label": "Virtual host",
      onchange: () => this.state.set({ vhost: choice.value === "/" ? null : choice.value }),
    });
    choice.append(h("option", { value: this.vhost }, this.vhost));
    get("/api/vhosts").then(
      (body) => {
        choice.replaceChildren(...rowsOf(body).map(({ name }) => h("option", { value: name }, name)));
        choice.value = this.vhost;
      },
      // The one that is shown stays the only choice; the listings below say what is wrong.
      () => undefined,
    );
    let typing = 0;
    const filter = h("input", {
      type: "search",
      class: "filter",
      value: this.state.get("filter"),
      placeholder: "Name or routing key",
      "aria-label": "Filter by a part of a name or a routing key",
      oninput: () => {
        clearTimeout(typing);
        typing = window.setTimeout(() => this.state.set({ filter: filter.value }), TYPING_MS);
      },
    });
    /**
     * @param {string} label
     * @param {string} text
     * @param {() => void} onclick
     */
    const button = (label, text, onclick) => h("button", { type: "button", "aria-label": label, title: label, onclick }, text);
    return h(
      "div",
      { class: "table-bar" },
      choice,
      filter,
      button("Zoom in", "+", () => this.picture.zoomBy(1)),
      button("Zoom out", "−", () => this.picture.zoomBy(-1)),
      button("Fit into the width", "Fit", () => this.picture.fit()),
    );
  }

  load() {
    this.watching.stop();
    this.found.clear();
    const { vhost } = this;
    const text = this.state.get("filter").trim();
    const list = { page: 1, page_size: 500 };
    this.watching.watch(
      withQuery(url`/api/exchanges/${vhost}`, { ...list, columns: "name,type" }),
      (body) => {
        this.types = new Map(rowsOf(body).map(({ name, type }) => [name, type]));
        this.draw();
      },
      this.problem,
    );
    this.watching.watch(
      withQuery(url`/api/queues/${vhost}`, { ...list, columns: "name,messages", sort: "messages", sort_reverse: true }),
      (body) => {
        this.messages = new Map(rowsOf(body).map(({ name, messages }) => [name, messages]));
        this.picture.refresh();
      },
    );
    this.watchBindings("", (rows) => {
      // With those of the default exchange at the end, all others are there.
      const isWhole = rows.length < BINDINGS_MAX || rows[rows.length - 1].source === "";
      if (text && !isWhole && this.found.size === 1) {
        for (const column of ["source", "destination", "routing_key"]) {
          this.watchBindings(`${column}~"${text.replaceAll('"', "")}"`);
        }
      }
    });
  }

  /**
   * @param {string} filter
   * @param {(rows: Binding[]) => void} [onRows]
   */
  watchBindings(filter, onRows) {
    // The bindings of the default exchange, one for each queue, come last: its name is empty.
    const query = { page: 1, page_size: BINDINGS_MAX, sort: "source", sort_reverse: true, filter };
    this.watching.watch(
      withQuery(url`/api/bindings/${this.vhost}`, query),
      (body) => {
        const rows = rowsOf(body);
        this.found.set(filter, rows.filter(({ source }) => source !== ""));
        this.draw();
        onRows?.(rows);
      },
      this.problem,
    );
  }

  draw() {
    const text = this.state.get("filter").trim();
    /** @type {Map<string, Binding>} */
    const unique = new Map();
    for (const binding of [...this.found.values()].flat()) {
      const { source, destination, destination_type: type, routing_key: key, arguments: given } = binding;
      unique.set(JSON.stringify([source, type, destination, key, given]), binding);
    }
    const bindings = [...unique.values()];
    const whole = {
      exchanges: [
        ...new Set([
          ...[...this.types.keys()].filter((name) => !PREDECLARED.test(name)),
          ...bindings.map(({ source }) => source),
          ...bindings.filter((each) => each.destination_type === "exchange").map((each) => each.destination),
        ]),
      ].sort(),
      queues: [...new Set(bindings.filter((each) => each.destination_type === "queue").map((each) => each.destination))].sort(),
      bindings,
    };
    const wanted = matching(whole, text);
    const shown = limited(wanted);
    const drawn = JSON.stringify(shown);
    this.say(wanted, shown);
    if (drawn === this.drawn) {
      this.picture.refresh();
      return;
    }
    this.drawn = drawn;
    this.picture.draw(shown);
  }

  /**
   * @param {import("../lib/layered.js").Topology} wanted
   * @param {import("../lib/layered.js").Topology} shown
   */
  say(wanted, shown) {
    const all = wanted.exchanges.length + wanted.queues.length;
    const drawn = shown.exchanges.length + shown.queues.length;
    if (this.found.size === 0) {
      return;
    }
    if (all === 0) {
      morph(this.note, this.state.get("filter") ? "Nothing has this in its name or its routing keys." : "No exchange but those that every broker has, and no binding to them.");
    } else if (drawn < all) {
      morph(this.note, `${number(drawn)} of ${number(all)} objects are drawn. A filter shows the others.`);
    } else {
      morph(this.note, `${number(drawn)} objects. Queues that are bound to the default exchange only, by their names, are left out.`);
    }
  }
}

/**
 * As much of a topology as can be looked at, with whole exchanges.
 *
 * @param {import("../lib/layered.js").Topology} topology
 */
function limited(topology) {
  if (topology.exchanges.length + topology.queues.length <= OBJECTS_MAX) {
    return topology;
  }
  /** @type {Set<string>} */
  const ids = new Set();
  for (const { from, to } of bundled(topology.bindings)) {
    if (ids.size >= OBJECTS_MAX) {
      break;
    }
    ids.add(from).add(to);
  }
  return part(topology, ids);
}
