/** The list of consumers. */

import { send, url } from "../lib/api.js";
import { attempt, confirm } from "../lib/dialog.js";
import { withNode } from "../lib/cluster.js";
import { h } from "../lib/dom.js";
import { plural, time } from "../lib/format.js";
import { objectLink, pageHead, status } from "../lib/page.js";
import { table } from "../lib/table.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Row */

export const title = () => "Consumers";

/** @type {import("../lib/table.js").Column[]} */
export const CONSUMER_COLUMNS = [
  { name: "consumer_tag", title: "Tag", priority: 1 },
  {
    name: "queue.name",
    title: "Queue",
    priority: 1,
    needs: ["queue"],
    show: (row) => objectLink("queue", row.queue.name, row.queue.vhost),
  },
  {
    name: "channel_details.name",
    title: "Channel",
    needs: ["channel_details"],
    show: (row) => objectLink("channel", row.channel_details.name),
  },
  {
    name: "channel_details.user",
    title: "User",
    priority: 3,
    needs: ["channel_details"],
    show: (row) => row.channel_details.user,
  },
  { name: "activity_status", title: "State", priority: 1, show: (row) => consumerState(row.activity_status) },
  { name: "prefetch_count", title: "Prefetch", number: true },
  { name: "messages_unacknowledged", title: "Unacked", number: true, hint: "Messages that it holds" },
  {
    name: "oldest_unacknowledged",
    title: "Holds the oldest since",
    show: (row) => time(row.oldest_unacknowledged),
  },
  {
    name: "ack_required",
    title: "Acknowledges",
    priority: 3,
    show: (row) => (row.ack_required ? "yes" : "no"),
    hint: "Without, a message is gone once it is sent",
  },
  { name: "exclusive", title: "Exclusive", priority: 3, hidden: true, show: (row) => (row.exclusive ? "yes" : "no") },
];

/** @param {string | undefined} state */
function consumerState(state) {
  if (state === "waiting") {
    return status("idle", "waiting", "Another consumer of the queue is the active one");
  }
  return status("ok", "active");
}

/** @param {Row} row */
export const consumerKey = (row) => JSON.stringify([row.channel_details.name, row.consumer_tag]);

/** @param {Row[]} rows */
export async function cancelConsumers(rows) {
  const isSure = await confirm({
    title: `Cancel ${plural(rows.length, "consumer")}?`,
    text: "The client is told that its consumer was cancelled, and gets no more messages. It keeps what it has not acknowledged. Many clients do not begin to consume again by themselves.",
    loses: rows.map(({ consumer_tag: tag, queue }) => `consumer ${tag} of ${queue.name}`),
    action: "Cancel the consumers",
    danger: true,
  });
  if (isSure) {
    await attempt(
      () => Promise.all(rows.map((row) => send("DELETE", pathOf(row)))),
      () => `Cancelled ${plural(rows.length, "consumer")}.`,
    );
  }
}

/** @param {Row} row */
function pathOf({ queue, channel_details: channel, consumer_tag: tag }) {
  return url`/api/consumers/${queue.vhost}/${channel.connection_name}/${channel.number}/${tag}`;
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, session }) {
  container.append(pageHead("Consumers"));
  const list = table(container, {
    name: "consumers",
    columns: withNode(CONSUMER_COLUMNS, session, {
      name: "channel_details.node",
      needs: ["channel_details"],
      show: (row) => row.channel_details.node,
    }),
    state,
    key: consumerKey,
    fields: ["channel_details", "consumer_tag", "queue"],
    path: "/api/consumers",
    sort: "queue.name",
    filterHint: "queue.name~orders activity_status=waiting",
    empty: () => h("p", null, "No client consumes from a queue."),
    actions: [{ label: "Cancel", danger: true, run: cancelConsumers }],
  });
  return () => list.destroy();
}
