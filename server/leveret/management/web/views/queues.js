/** The list of queues. */

import { h } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { addressOf, objectLink, pageHead } from "../lib/page.js";
import { table } from "../lib/table.js";

export function title() {
  return "Queues";
}

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  {
    name: "name",
    title: "Name",
    show: (row) => objectLink("queue", row.name, row.vhost),
    priority: 1,
  },
  { name: "vhost", title: "Virtual host", priority: 3 },
  { name: "consumers", title: "Consumers", number: true },
  { name: "messages_ready", title: "Ready", number: true, priority: 1 },
  { name: "messages_unacknowledged", title: "Unacked", number: true },
  { name: "messages", title: "Total", number: true, show: (row) => number(row.messages) },
];

/**
 * @param {HTMLElement} container
 * @param {import("../views.js").Params} _params
 * @param {import("../views.js").Context} context
 */
export function render(container, _params, { state }) {
  container.append(pageHead("Queues"));
  const view = table(container, {
    name: "queues",
    path: "/api/queues",
    columns: COLUMNS,
    fields: ["name", "vhost"],
    state,
    sort: "name",
    key: (row) => `${row.vhost} ${row.name}`,
    href: (row) => addressOf("queue", row.name, row.vhost),
    filterHint: "ready>1000 consumers=0 name~mail",
    empty: () => h("p", null, "There are no queues."),
  });
  return () => view.destroy();
}
