/** The list of channels. */

import { url } from "../lib/api.js";
import { withNode } from "../lib/cluster.js";
import { h } from "../lib/dom.js";
import { rate } from "../lib/format.js";
import { objectLink, pageHead, status } from "../lib/page.js";
import { table } from "../lib/table.js";

/** @typedef {import("../views.js").Context} Context */

export const title = () => "Channels";

/**
 * @param {string} name
 * @param {string} heading
 * @param {string} field
 * @param {string} hint
 * @returns {import("../lib/table.js").Column}
 */
const rateColumn = (name, heading, field, hint) => ({
  name,
  title: heading,
  number: true,
  hint,
  needs: ["message_stats"],
  show: (row) => rate(row.message_stats?.[field]?.rate),
});

/** @type {import("../lib/table.js").Column[]} */
export const CHANNEL_COLUMNS = [
  { name: "name", title: "Name", priority: 1, show: (row) => objectLink("channel", row.name) },
  { name: "state", title: "State", priority: 1, show: (row) => channelState(row.state) },
  {
    name: "confirm",
    title: "Mode",
    priority: 3,
    needs: ["confirm", "transactional"],
    show: (row) => channelMode(row) || h("span", { class: "none" }, "–"),
  },
  { name: "prefetch_count", title: "Prefetch", number: true, hint: "What each consumer may hold; 0 is any number" },
  { name: "consumer_count", title: "Consumers", number: true },
  {
    name: "messages_unacknowledged",
    title: "Unacknowledged",
    number: true,
    priority: 1,
    hint: "Delivered, and not acknowledged",
  },
  { name: "messages_unconfirmed", title: "Unconfirmed", number: true, hidden: true, hint: "Published, and not confirmed" },
  rateColumn("message_stats.publish_details.rate", "Publish", "publish_details", "Messages a second"),
  rateColumn("message_stats.deliver_get_details.rate", "Deliver", "deliver_get_details", "Messages a second"),
  rateColumn("message_stats.ack_details.rate", "Acknowledge", "ack_details", "Messages a second"),
];

/** @param {any} row */
export function channelMode(row) {
  return row.transactional ? "transactions" : row.confirm ? "confirms" : "";
}

/** @param {string} state */
export function channelState(state) {
  return state === "running" ? status("ok", "running") : status("warning", state);
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, session }) {
  container.append(pageHead("Channels"));
  const list = table(container, {
    name: "channels",
    columns: withNode(
      [
        ...CHANNEL_COLUMNS.slice(0, 1),
        { name: "vhost", title: "Virtual host", priority: 3 },
        { name: "user", title: "User", priority: 2 },
        ...CHANNEL_COLUMNS.slice(1),
      ],
      session,
    ),
    state,
    key: (row) => row.name,
    fields: ["name"],
    path: "/api/channels",
    sort: "name",
    filterHint: "messages_unacknowledged>100 user=app",
    href: (row) => url`/channels/${row.name}`,
    empty: () => h("p", null, "No client has a channel open."),
  });
  return () => list.destroy();
}
