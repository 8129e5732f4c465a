/**
 * The messages of a queue: look through them, search them, select some, and do something with them.
 * A look changes nothing. The search and the open message are in the address.
 */

import { send, url } from "../lib/api.js";
import { errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number, plural, time } from "../lib/format.js";
import { messageDetail, preview } from "../lib/message.js";
import { discard, sendAllBack, sendBack, transfer } from "../lib/message_actions.js";
import { addressOf, pageHead } from "../lib/page.js";
import { moveAll, publish } from "../lib/queue_actions.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";
import { otherQueues } from "./queue.js";

/**
 * @typedef {import("../lib/message.js").Message} Message
 * @typedef {import("../views.js").Context} Context
 */

const COUNT = 50;
/** Messages of a page. */
const BODY_BYTES = 1048576;
/** Bytes of a body that are loaded. */

/** What can be searched: the name in the address, that in the API, and the label. */
const SEARCHES = [
  { name: "key", field: "routing_key", label: "Routing key contains" },
  { name: "header", field: "header", label: "Header or property" },
  { name: "value", field: "header_value", label: "and its value contains" },
  { name: "body", field: "payload", label: "Body contains" },
];

/** @param {import("../views.js").Params} params */
export function title({ name }) {
  return `Messages of ${name}`;
}

/**
 * @param {HTMLElement} container
 * @param {import("../views.js").Params} params
 * @param {Context} context
 */
export function render(container, params, context) {
  const view = new MessagesView(container, params, context);
  return () => view.destroy();
}

class MessagesView {
  /**
   * @param {HTMLElement} container
   * @param {import("../views.js").Params} params
   * @param {Context} context
   */
  constructor(container, { vhost, name }, { state }) {
    this.state = state;
    this.place = { vhost, name };
    this.path = url`/api/queues/${vhost}/${name}`;
    /** @type {any} */
    this.queue = { vhost, name };
    /** @type {Message[]} */
    this.messages = [];
    /** @type {number | null} */
    this.next = null;
    /** Counts the searches, so that one that was replaced ends. */
    this.turn = 0;
    this.head = h("div");
    this.problem = problemBox();
    this.said = h("p", { class: "said", role: "status" });
    this.list = h("div", { class: "message-list" });
    this.detail = h("div", { class: "message-detail" });
    container.append(
      this.head,
      this.problem,
      this.searchForm(),
      this.said,
      h("div", { class: "split" }, this.list, this.detail),
    );
    this.table = this.makeTable();
    this.watching = new Watching();
    this.showHead();
    this.watching.watch(
      `${this.path}?columns=name,vhost,messages,messages_ready,messages_unacknowledged`,
      (queue) => {
        this.queue = { ...this.place, ...queue };
        this.showHead();
      },
      this.problem,
    );
    this.search();
  }

  destroy() {
    this.turn += 1;
    this.watching.stop();
    this.table.destroy();
  }

  showHead() {
    const { vhost, name } = this.place;
    const { messages_ready: ready, messages_unacknowledged: unacknowledged } = this.queue;
    const button = (/** @type {string} */ label, /** @type {() => unknown} */ run) =>
      h("button", { key: label, type: "button", onclick: run }, label);
    morph(
      this.head,
      pageHead("Messages", {
        trail: [
          { title: "Queues", href: "/queues" },
          { title: `Virtual host ${vhost}`, href: `/queues?vhost=${encodeURIComponent(vhost)}` },
          { title: name, href: addressOf("queue", name, vhost) },
        ],
        beside:
          ready === undefined
            ? null
            : h("span", { class: "soft" }, `${number(ready)} ready, ${number(unacknowledged)} unacknowledged`),
        actions: [
          button("Publish", () => this.after(publish(this.queue))),
          button("Send all back", () => this.after(sendAllBack(this.queue))),
          button("Move all", async () => this.after(moveAll(this.queue, await otherQueues(this.place)))),
        ],
      }),
    );
  }

  searchForm() {
    const inputs = SEARCHES.map(({ name, label }) => ({
      name,
      label,
      input: h("input", { id: `search-${name}`, type: "search", autocomplete: "off", spellcheck: "false" }),
    }));
    const from = h("input", { id: "search-from", type: "number", min: 0, step: 1 });
    const fill = () => {
      inputs.forEach(({ name, input }) => (input.value = this.state.get(name)));
      from.value = this.state.get("from", "0");
    };
    fill();
    return h(
      "form",
      {
        class: "search-form",
        role: "search",
        "aria-label": "Search the messages",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          const values = Object.fromEntries(inputs.map(({ name, input }) => [name, input.value || null]));
          this.state.set({ ...values, from: from.value === "0" ? null : from.value, at: null }, { push: true });
          this.search();
        },
      },
      inputs.map(({ name, label, input }) =>
        h("p", { class: "field" }, h("label", { for: `search-${name}` }, label), input),
      ),
      h("p", { class: "field" }, h("label", { for: "search-from" }, "Pass over first"), from),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "submit", class: "primary" }, "Look"),
        h(
          "button",
          {
            type: "button",
            onclick: () => {
              this.state.set({ key: null, header: null, value: null, body: null, from: null, at: null });
              fill();
              this.search();
            },
          },
          "Clear",
        ),
      ),
    );
  }

  makeTable() {
    return table(this.list, {
      name: "messages",
      state: this.state,
      prefix: "m.",
      withoutFilter: true,
      key: (row) => row.position,
      open: (row) => this.open(row.position),
      opened: () => this.state.get("at"),
      columns: [
        { name: "routing_key", title: "Routing key", priority: 1, sort: null },
        { name: "payload", title: "Body", wide: true, priority: 1, sort: null, show: (row) => preview(/** @type {any} */ (row)) },
        { name: "exchange", title: "Exchange", priority: 3, sort: null, show: (row) => row.exchange || "(default)" },
        { name: "payload_bytes", title: "Bytes", number: true, priority: 2, sort: null },
        {
          name: "properties.timestamp",
          title: "Timestamp",
          sort: null,
          priority: 3,
          show: (row) => time(row.properties.timestamp ? row.properties.timestamp * 1000 : null),
        },
        { name: "properties.message_id", title: "Message id", sort: null, hidden: true },
        { name: "properties.content_type", title: "Content type", sort: null, hidden: true },
        { name: "position", title: "Position", sort: null, hidden: true },
        {
          name: "redelivered",
          title: "Redelivered",
          sort: null,
          priority: 3,
          show: (row) => (row.redelivered ? "yes" : "no"),
        },
      ],
      actions: [
        { label: "Move", run: (rows) => this.transfer("move", messagesOf(rows)) },
        { label: "Copy to", run: (rows) => this.transfer("copy", messagesOf(rows)) },
        { label: "Send back", run: (rows) => this.after(sendBack(messagesOf(rows), this.place)) },
        { label: "Delete", danger: true, run: (rows) => this.after(discard(messagesOf(rows), this.place)) },
      ],
      empty: () =>
        this.isSearch()
          ? h("p", null, "No message that is ready matches.")
          : h("p", null, "No message is ready. Those that consumers hold cannot be looked at."),
    });
  }

  /**
   * @param {"move" | "copy"} how
   * @param {Message[]} messages
   */
  async transfer(how, messages) {
    await this.after(transfer(how, messages, this.place, await otherQueues(this.place)));
  }

  /**
   * Looks again after something was done.
   *
   * @param {Promise<boolean>} doing
   */
  async after(doing) {
    if (await doing) {
      await this.search();
    }
  }

  isSearch() {
    return SEARCHES.some(({ name }) => this.state.get(name) !== "");
  }

  /** Looks for messages until a page is full, the queue ends, or another search begins. */
  async search() {
    this.turn += 1;
    const turn = this.turn;
    const wanted = Object.fromEntries(SEARCHES.map(({ name, field }) => [field, this.state.get(name)]));
    const from = Number(this.state.get("from", "0")) || 0;
    /** @type {Message[]} */
    const found = [];
    let scanned = 0;
    /** @type {number | null} */
    let next = from;
    morph(this.problem);
    try {
      while (next !== null && found.length < COUNT) {
        const body = { ...wanted, offset: next, count: COUNT - found.length, truncate: BODY_BYTES };
        const answer = await send("POST", `${this.path}/peek`, body);
        if (turn !== this.turn) {
          return;
        }
        found.push(...answer.messages);
        if (answer.messages.length > 0 || from === next) {
          this.table.setRows([...found]);
        }
        scanned += answer.scanned;
        next = answer.next_offset;
        this.say(found.length, from, scanned, next, next !== null && found.length < COUNT);
        if (answer.scanned === 0) {
          break;
        }
      }
    } catch (error) {
      if (turn === this.turn) {
        morph(this.problem, errorText(error));
      }
    }
    if (turn === this.turn) {
      this.messages = found;
      this.next = next;
      this.say(found.length, from, scanned, next, false);
      this.table.setRows(found);
      this.showDetail();
    }
  }

  /**
   * @param {number} found
   * @param {number} from
   * @param {number} scanned
   * @param {number | null} next
   * @param {boolean} isSearching
   */
  say(found, from, scanned, next, isSearching) {
    const where = from === 0 ? "from the head" : `after the first ${number(from)}`;
    const text = this.isSearch()
      ? `${plural(found, "message")} of ${number(scanned)} that were looked at, ${where}.`
      : `${plural(found, "message")} ${where}.`;
    morph(
      this.said,
      text,
      isSearching
        ? h("button", { type: "button", onclick: () => this.stopSearch() }, "Stop")
        : [
            from > 0 ? h("button", { type: "button", onclick: () => this.goTo(0) }, "From the head") : null,
            next === null
              ? h("span", { class: "soft" }, "The queue ends here.")
              : h("button", { type: "button", onclick: () => this.goTo(next) }, "Next"),
            h("button", { type: "button", class: "plain", onclick: () => this.search() }, "Look again"),
          ],
    );
  }

  stopSearch() {
    this.turn += 1;
    morph(this.said, "Stopped.", h("button", { type: "button", onclick: () => this.search() }, "Look again"));
  }

  /** @param {number} offset */
  goTo(offset) {
    this.state.set({ from: offset === 0 ? null : offset, at: null }, { push: true });
    const input = document.getElementById("search-from");
    if (input instanceof HTMLInputElement) {
      input.value = String(offset);
    }
    this.search();
  }

  /** @param {string} position */
  open(position) {
    this.state.set({ at: position });
    this.showDetail();
    if (this.detail.getBoundingClientRect().top > window.innerHeight * 0.8) {
      this.detail.scrollIntoView();
    }
  }

  showDetail() {
    const at = this.state.get("at");
    const found = this.messages.find(({ position }) => position === at);
    const message = found ?? this.messages[0];
    if (!message) {
      morph(this.detail);
      return;
    }
    if (!found) {
      this.state.set({ at: message.position });
    }
    morph(
      this.detail,
      at && !found
        ? h("p", { class: "hint" }, "The message that was open has left the queue, or is not among these. This is the first one.")
        : null,
      messageDetail(
        message,
        this.state.get("as"),
        (form) => {
          this.state.set({ as: form });
          this.showDetail();
        },
        { vhost: this.place.vhost, queue: this.place.name },
      ),
    );
  }
}

/**
 * @param {import("../lib/table.js").Row[]} rows
 * @returns {Message[]}
 */
function messagesOf(rows) {
  return /** @type {any} */ (rows);
}
