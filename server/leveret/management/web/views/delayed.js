/** Messages that delayed exchanges hold until they are due. */

import { get, send, url } from "../lib/api.js";
import { attempt, confirm, errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { bytes, plural, time } from "../lib/format.js";
import { rowsOf } from "../lib/listing.js";
import { objectLink, pageHead } from "../lib/page.js";
import { table } from "../lib/table.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Row */

export const title = () => "Delayed messages";

const TYPE = "x-delayed-message";

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "due", title: "Due", priority: 1, show: (row) => time(row.due) },
  { name: "routing_key", title: "Routing key", priority: 1, show: (row) => h("code", null, row.routing_key) },
  { name: "payload_bytes", title: "Size", number: true, priority: 2, show: (row) => bytes(row.payload_bytes) },
  { name: "properties", title: "Properties", priority: 3, show: (row) => h("code", null, JSON.stringify(row.properties ?? {})) },
  { name: "payload", title: "Payload", priority: 1, show: (row) => h("code", null, String(row.payload ?? "").slice(0, 120)) },
];

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state }) {
  const bar = h("div", { class: "table-bar" });
  const place = h("div");
  const problem = h("div", { class: "problem", role: "alert" });
  container.append(pageHead("Delayed messages"), bar, problem, place);
  /** @type {import("../lib/table.js").Table | undefined} */
  let list;
  let shown = "";
  /** @type {Row[]} */
  let exchanges = [];
  const show = () => {
    const wanted = state.get("exchange") || JSON.stringify(exchanges.map(({ vhost, name }) => [vhost, name])[0] ?? []);
    if (wanted === shown) {
      return;
    }
    shown = wanted;
    list?.destroy();
    list = undefined;
    const [vhost, name] = parsed(wanted);
    morph(bar, chooser(exchanges, wanted, (value) => state.set({ exchange: value, page: null })), name ? objectLink("exchange", name, vhost) : null);
    if (!name) {
      morph(place, nothing());
      return;
    }
    morph(place);
    const path = url`/api/exchanges/${vhost}/${name}/delayed`;
    list = table(place, {
      name: "delayed messages",
      columns: COLUMNS,
      state,
      key: (row) => String(row.id),
      fields: ["id"],
      path,
      sort: "due",
      empty: () => h("p", null, "No message waits here until it is due."),
      actions: [{ label: "Cancel", danger: true, run: (rows) => cancel(path, rows) }],
    });
  };
  const unlisten = state.listen(show);
  get("/api/exchanges").then(
    (body) => {
      exchanges = rowsOf(body).filter(({ type }) => type === TYPE);
      show();
    },
    (error) => morph(problem, errorText(error)),
  );
  return () => {
    unlisten();
    list?.destroy();
  };
}

/** @param {string} text */
function parsed(text) {
  try {
    const [vhost, name] = JSON.parse(text);
    return [String(vhost ?? ""), String(name ?? "")];
  } catch {
    return ["", ""];
  }
}

/**
 * @param {Row[]} exchanges
 * @param {string} wanted
 * @param {(value: string) => void} choose
 */
function chooser(exchanges, wanted, choose) {
  const select = h("select", { "aria-label": "Exchange", onchange: () => choose(select.value) });
  for (const { vhost, name } of exchanges) {
    select.append(h("option", { value: JSON.stringify([vhost, name]) }, `${name} in ${vhost}`));
  }
  select.value = wanted;
  return select;
}

function nothing() {
  return h("p", null, "There is no exchange of the type ", h("code", null, TYPE), ". Such an exchange holds each message for the milliseconds that its header ", h("code", null, "x-delay"), " says.");
}

/**
 * @param {string} path
 * @param {Row[]} rows
 */
async function cancel(path, rows) {
  const isSure = await confirm({
    title: `Cancel ${plural(rows.length, "delayed message")}?`,
    text: "They never reach a queue.",
    loses: rows.map(({ routing_key: key, payload }) => `${key || "(no routing key)"}: ${String(payload ?? "").slice(0, 60)}`),
    action: "Cancel the messages",
    danger: true,
  });
  if (isSure) {
    await attempt(
      () => Promise.all(rows.map(({ id }) => send("DELETE", path + url`/${id}`))),
      () => `Cancelled ${plural(rows.length, "delayed message")}.`,
    );
  }
}
