/** The list of connections. */

import { url } from "../lib/api.js";
import { withNode } from "../lib/cluster.js";
import { h } from "../lib/dom.js";
import { bytes, time } from "../lib/format.js";
import { objectLink, pageHead, status } from "../lib/page.js";
import { table } from "../lib/table.js";
import { closeConnections } from "./connection.js";

/** @typedef {import("../views.js").Context} Context */

export const title = () => "Connections";

/** @param {any} details */
const bytesRate = (details) => (details ? `${bytes(details.rate)}/s` : "–");

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  {
    name: "name",
    title: "Name",
    priority: 1,
    needs: ["name", "user_provided_name"],
    show: (row) => [
      objectLink("connection", row.name),
      row.user_provided_name ? h("small", { class: "hint" }, ` ${row.user_provided_name}`) : null,
    ],
  },
  { name: "vhost", title: "Virtual host", priority: 3, show: (row) => objectLink("vhost", row.vhost) },
  { name: "user", title: "User", priority: 2 },
  { name: "state", title: "State", priority: 1, show: (row) => connectionState(row.state) },
  {
    name: "client_properties.product",
    title: "Client",
    priority: 3,
    needs: ["client_properties"],
    show: (row) => clientName(row.client_properties),
  },
  { name: "channels", title: "Channels", number: true, priority: 2 },
  {
    name: "recv_oct_details.rate",
    title: "Received",
    number: true,
    priority: 2,
    needs: ["recv_oct_details"],
    show: (row) => bytesRate(row.recv_oct_details),
  },
  {
    name: "send_oct_details.rate",
    title: "Sent",
    number: true,
    priority: 2,
    needs: ["send_oct_details"],
    show: (row) => bytesRate(row.send_oct_details),
  },
  { name: "ssl", title: "TLS", priority: 3, show: (row) => (row.ssl ? "yes" : "no") },
  { name: "connected_at", title: "Since", priority: 3, show: (row) => time(row.connected_at) },
];

/** @param {string} state */
export function connectionState(state) {
  if (state === "blocked") {
    return status("error", "blocked", "It publishes, and an alarm blocks publishers");
  }
  if (state === "flow") {
    return status("warning", "slowed", "It publishes more than its queues or the disk take");
  }
  return status("ok", state || "running");
}

/** @param {{[name: string]: unknown} | undefined} properties */
export function clientName(properties) {
  return [properties?.product, properties?.version].filter(Boolean).join(" ") || "unknown";
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, session }) {
  container.append(pageHead("Connections"));
  const list = table(container, {
    name: "connections",
    columns: withNode(COLUMNS, session),
    state,
    key: (row) => row.name,
    fields: ["name"],
    path: "/api/connections",
    sort: "name",
    filterHint: "state=blocked user=app",
    href: (row) => url`/connections/${row.name}`,
    empty: () => h("p", null, "No client is connected. The overview says how one connects."),
    actions: [{ label: "Close", danger: true, run: (rows) => closeConnections(rows.map(({ name }) => name)) }],
  });
  return () => list.destroy();
}
