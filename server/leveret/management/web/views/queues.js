/** The list of queues. */

import { url } from "../lib/api.js";
import { withNode } from "../lib/cluster.js";
import { h } from "../lib/dom.js";
import { bytes, number, rate, time } from "../lib/format.js";
import { firstSteps } from "../lib/first_steps.js";
import { addressOf, objectLink, pageHead, status } from "../lib/page.js";
import { declare, pause, purge, remove, resume } from "../lib/queue_actions.js";
import { table } from "../lib/table.js";
import { vhostChooser, vhostNames } from "../lib/vhosts.js";

/**
 * @typedef {import("../lib/table.js").Column} Column
 * @typedef {import("../lib/table.js").Row} Row
 */

const IDLE_MS = 60000;
/** Milliseconds without an event after which a queue is called idle. */

export function title() {
  return "Queues";
}

/**
 * @param {string} name
 * @param {string} shown
 * @param {string} hint
 * @param {Partial<Column>} [more]
 * @returns {Column}
 */
function rateColumn(name, shown, hint, more) {
  const field = `message_stats.${name}_details.rate`;
  return {
    name: field,
    title: shown,
    show: (row) => rate(row.message_stats?.[`${name}_details`]?.rate ?? 0),
    number: true,
    priority: 3,
    hint,
    ...more,
  };
}

/** @type {Column[]} */
const COLUMNS = [
  { name: "name", title: "Name", show: (row) => objectLink("queue", row.name, row.vhost), priority: 1 },
  { name: "vhost", title: "Virtual host", priority: 3 },
  { name: "type", title: "Type", hidden: true },
  {
    name: "features",
    title: "Features",
    needs: ["durable", "auto_delete", "exclusive", "arguments"],
    show: features,
    sort: null,
    hidden: true,
  },
  { name: "policy", title: "Policy", priority: 3, show: (row) => policyLink(row) },
  { name: "state", title: "State", needs: ["state", "idle_since"], show: stateOf },
  { name: "consumers", title: "Consumers", number: true, priority: 1 },
  { name: "messages_ready", title: "Ready", number: true, priority: 1, hint: "Messages that wait for a consumer" },
  {
    name: "messages_unacknowledged",
    title: "Unacked",
    number: true,
    hint: "Messages that consumers hold and have not acknowledged",
  },
  { name: "messages", title: "Total", number: true, priority: 3 },
  rateColumn("publish", "In", "Messages published to the queue, a second", { priority: 2 }),
  rateColumn("deliver_get", "Out", "Messages delivered from the queue, a second", { priority: 2 }),
  rateColumn("ack", "Acked", "Messages acknowledged, a second"),
  rateColumn("redeliver", "Redelivered", "Messages delivered again, a second", { hidden: true }),
  { name: "message_bytes", title: "Bytes", number: true, hidden: true, show: (row) => bytes(row.message_bytes) },
  { name: "memory", title: "Memory", number: true, hidden: true, show: (row) => bytes(row.memory) },
  {
    name: "consumer_utilisation",
    title: "Utilisation",
    number: true,
    hidden: true,
    hint: "The part of the time in which consumers could take a message",
    show: (row) =>
      typeof row.consumer_utilisation === "number" ? `${number(row.consumer_utilisation * 100)} %` : "–",
  },
  { name: "idle_since", title: "Idle since", hidden: true, show: (row) => time(msOf(row.idle_since)) },
];

/** Those of a cluster, with room for the node: the total is the sum of the two before it. */
const NARROWER = COLUMNS.map((each) => (each.name === "messages" ? { ...each, hidden: true } : each));

/** @param {Row} row */
function features(row) {
  const names = [
    row.durable ? "durable" : "transient",
    row.auto_delete ? "auto-delete" : "",
    row.exclusive ? "exclusive" : "",
    ...Object.keys(row.arguments ?? {}),
  ];
  return names.filter(Boolean).join(", ");
}

/** @param {Row} row */
function policyLink(row) {
  return row.policy ? objectLink("policy", row.policy, row.vhost) : h("span", { class: "none" }, "–");
}

/** @param {Row} row */
export function stateOf(row) {
  if (row.state === "paused") {
    return status("paused", "paused");
  }
  const idleSince = msOf(row.idle_since);
  return idleSince && Date.now() - idleSince > IDLE_MS
    ? status("idle", "idle", "Nothing has happened to it for a minute")
    : status("ok", row.state ?? "running");
}

/**
 * RabbitMQ gives some times as text.
 *
 * @param {string | number | null | undefined} value
 */
function msOf(value) {
  return typeof value === "string" ? Date.parse(value) : value;
}

/**
 * @param {HTMLElement} container
 * @param {import("../views.js").Params} _params
 * @param {import("../views.js").Context} context
 */
export function render(container, _params, { state, navigate, session }) {
  const listing = () => (state.get("vhost") ? url`/api/queues/${state.get("vhost")}` : "/api/queues");
  container.append(
    pageHead("Queues", {
      actions: h(
        "button",
        {
          type: "button",
          onclick: async () =>
            declare(await vhostNames(), state.get("vhost"), ({ vhost, name }) =>
              navigate(addressOf("queue", name, vhost)),
            ),
        },
        "New queue",
      ),
    }),
  );
  const view = table(container, {
    name: "queues",
    path: listing(),
    columns: withNode(session.clustered ? NARROWER : COLUMNS, session),
    fields: ["name", "vhost", "messages", "messages_ready", "consumers"],
    state,
    sort: "name",
    key: (row) => `${row.vhost} ${row.name}`,
    href: (row) => addressOf("queue", row.name, row.vhost),
    filterHint: "ready>1000 consumers=0 name~mail",
    tools: vhostChooser(state, () => view.setPath(listing())),
    empty: () => firstSteps(),
    spark: {
      title: "Last 10 min",
      details: "messages_details",
      query: { lengths_age: 600, lengths_incr: 30 },
    },
    actions: [
      { label: "Pause", run: (rows) => pause(queuesOf(rows)) },
      { label: "Resume", run: (rows) => resume(queuesOf(rows)) },
      { label: "Purge", danger: true, run: (rows) => purge(queuesOf(rows)) },
      { label: "Delete", danger: true, run: (rows) => remove(queuesOf(rows)) },
    ],
  });
  return () => view.destroy();
}

/**
 * @param {Row[]} rows
 * @returns {import("../lib/queue_actions.js").Queue[]}
 */
function queuesOf(rows) {
  return /** @type {any} */ (rows);
}
