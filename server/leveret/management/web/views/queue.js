/** One queue: why it is stuck, how it moves, who consumes it, and what it is made of. */

import { get, may, send, url } from "../lib/api.js";
import { confirm, attempt, errorText, form } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { findingList } from "../lib/diagnosis.js";
import { bytes, duration, number, plain, rate, time } from "../lib/format.js";
import { depthChart, historyCharts, ratesChart } from "../lib/history_charts.js";
import { watch } from "../lib/live.js";
import { facts, objectLink, pageHead, section, status } from "../lib/page.js";
import * as actions from "../lib/queue_actions.js";
import { parseArguments } from "../lib/arguments.js";
import { settingsOf } from "../lib/settings.js";
import { table } from "../lib/table.js";
import { stateOf } from "./queues.js";

/**
 * @typedef {import("../views.js").Params} Params
 * @typedef {import("../views.js").Context} Context
 * @typedef {import("../lib/table.js").Row} Row
 */

const HISTORY_FIELDS =
  "message_stats,messages_details,messages_ready_details,messages_unacknowledged_details";

/** @param {Params} params */
export function title(params) {
  return params.name;
}

/**
 * @param {HTMLElement} container
 * @param {Params} params
 * @param {Context} context
 */
export function render(container, { vhost, name }, { state, session, navigate }) {
  const path = url`/api/queues/${vhost}/${name}`;
  const head = h("div");
  const problem = h("div", { class: "problem", role: "alert" });
  const stuck = h("div");
  const numbers = h("div");
  const charts = h("div", { class: "charts" });
  const consumers = h("div");
  const settings = h("div");
  const bindings = h("div");
  container.append(
    head,
    problem,
    stuck,
    numbers,
    charts,
    section("Consumers", consumers),
    h("div", { class: "columns-2" }, settings, section("Bindings to it", bindings)),
  );
  /** @type {any} */
  let queue = { vhost, name };
  const showHead = () =>
    morph(head, headOf(queue, may(session, "management", "policymaker", "monitoring"), navigate));
  showHead();
  const consumerTable = makeConsumerTable(consumers, state, () => queue);
  const bindingTable = makeBindingTable(bindings, state, vhost, name);
  /** @type {(() => void)[]} */
  const stops = [];
  stops.push(
    watch(
      path,
      (body) => {
        queue = body;
        morph(problem);
        showHead();
        morph(numbers, numbersOf(body));
        morph(settings, settingsSection(body));
        consumerTable.setRows(body.consumer_details ?? []);
      },
      (error) => {
        morph(problem, errorText(error));
        if (error.status === 404) {
          stops.splice(0).forEach((stop) => stop());
          container.replaceChildren(head, problem);
        }
      },
    ),
    watch(`${path}/diagnosis`, (findings) =>
      morph(
        stuck,
        findings.length > 0
          ? section("Why is it stuck?", findingList(findings, { ofQueue: true }))
          : h("p", { class: "part" }, status("ok", "Nothing keeps its messages from moving.")),
      ),
    ),
    watch(
      `${path}/bindings`,
      (rows) => bindingTable.setRows(rows),
      () => bindingTable.setRows([]),
    ),
    historyCharts(charts, {
      path: `${path}?columns=${HISTORY_FIELDS}`,
      kinds: ["lengths", "msg_rates"],
      state,
      charts: [
        depthChart((body) => body),
        ratesChart("publish", "deliver_get", "ack", "redeliver"),
      ],
    }),
    () => consumerTable.destroy(),
    () => bindingTable.destroy(),
  );
  return () => stops.forEach((stop) => stop());
}

/**
 * @param {any} queue
 * @param {boolean} mayChange
 * @param {(address: string) => void} navigate
 */
function headOf(queue, mayChange, navigate) {
  const button = (/** @type {string} */ label, /** @type {() => unknown} */ run, kind = "") =>
    h("button", { key: label, type: "button", class: kind || null, onclick: run }, label);
  const isPaused = queue.state === "paused";
  const trail = [
    { title: "Queues", href: "/queues" },
    { title: `Virtual host ${queue.vhost}`, href: `/queues?vhost=${encodeURIComponent(queue.vhost)}` },
  ];
  return pageHead(queue.name, {
    trail,
    beside: queue.state ? stateOf(queue) : null,
    actions: [
      h(
        "a",
        { key: "messages", class: "button primary", href: `${url`/queues/${queue.vhost}/${queue.name}`}/messages` },
        "Messages",
      ),
      mayChange && queue.state
        ? [
            button("Publish", () => actions.publish(queue)),
            isPaused
              ? button("Resume", () => actions.resume([queue]))
              : button("Pause", () => actions.pause([queue])),
            button("Move all", async () => actions.moveAll(queue, await otherQueues(queue))),
            button("Purge", () => actions.purge([queue]), "danger"),
            button(
              "Delete",
              async () => {
                if (await actions.remove([queue])) {
                  navigate("/queues");
                }
              },
              "danger",
            ),
          ]
        : null,
    ],
  });
}

/**
 * Names of other queues in the virtual host, as suggestions.
 *
 * @param {{name: string, vhost: string}} queue
 * @returns {Promise<string[]>}
 */
export async function otherQueues({ name, vhost }) {
  const listing = url`/api/queues/${vhost}`;
  const found = await get(`${listing}?page=1&page_size=200&sort=name&columns=name`);
  return found.items.map((/** @type {Row} */ row) => row.name).filter((/** @type {string} */ each) => each !== name);
}

/** @param {any} queue */
function numbersOf(queue) {
  const rateOf = (/** @type {string} */ field) => rate(queue.message_stats?.[`${field}_details`]?.rate ?? 0);
  return h(
    "div",
    { class: "panel part" },
    facts([
      ["Ready", number(queue.messages_ready)],
      ["Unacknowledged", number(queue.messages_unacknowledged)],
      ["Total", number(queue.messages)],
      ["In", rateOf("publish")],
      ["Out", rateOf("deliver_get")],
      ["Acknowledged", rateOf("ack")],
      ["Age of the head", ageOf(queue)],
      ["Bytes", bytes(queue.message_bytes)],
      ...(typeof queue.memory === "number"
        ? [/** @type {[string, any]} */ (["Memory", bytes(queue.memory)])]
        : []),
      ["Type", [queue.type, queue.durable ? "durable" : "transient", queue.exclusive ? "exclusive" : "", queue.auto_delete ? "auto-delete" : ""].filter(Boolean).join(", ")],
      ["Policy", queue.policy ? objectLink("policy", queue.policy, queue.vhost) : "none"],
      ["Operator policy", queue.operator_policy ?? "none"],
    ]),
  );
}

/**
 * How long the first message has waited.
 *
 * @param {any} queue
 */
function ageOf({ head_message_arrived: arrived }) {
  return typeof arrived === "number" ? duration(Math.max(0, Date.now() - arrived)) : "–";
}

/** @param {any} queue */
function settingsSection(queue) {
  const found = settingsOf(queue);
  return section(
    "Arguments and policies",
    h(
      "div",
      { class: "table-scroll panel-table", tabindex: 0, role: "region", "aria-label": "Settings" },
      h(
        "table",
        null,
        h("thead", null, h("tr", null, ["Setting", "Value", "From"].map((text) => h("th", { scope: "col" }, text)))),
        h(
          "tbody",
          null,
          found.map((setting) =>
            h(
              "tr",
              { key: setting.name, class: setting.isSet ? null : "soft" },
              h("th", { scope: "row", title: setting.name }, setting.means),
              h("td", null, setting.value),
              h("td", null, sourceOf(setting, queue.vhost)),
            ),
          ),
        ),
      ),
    ),
    {
      beside: h("button", { type: "button", onclick: () => actions.changeArguments(queue) }, "Change arguments"),
    },
  );
}

/**
 * @param {import("../lib/settings.js").ShownSetting} setting
 * @param {string} vhost
 */
function sourceOf(setting, vhost) {
  const policy = /'(.*)'/.exec(setting.source);
  if (setting.from === "policy" && policy) {
    return objectLink("policy", policy[1], vhost, setting.source);
  }
  return setting.from === "default" ? "default" : setting.source;
}

/**
 * @param {HTMLElement} container
 * @param {import("../lib/state.js").State} state
 * @param {() => any} queueOf
 */
function makeConsumerTable(container, state, queueOf) {
  return table(container, {
    name: "consumers",
    prefix: "c.",
    state,
    sort: "-messages_unacknowledged",
    key: (row) => `${row.channel_details?.name} ${row.consumer_tag}`,
    columns: [
      { name: "consumer_tag", title: "Tag", priority: 1 },
      {
        name: "channel_details.name",
        title: "Channel",
        show: (row) => objectLink("channel", row.channel_details?.name ?? "", queueOf().vhost),
      },
      { name: "channel_details.user", title: "User", priority: 3 },
      { name: "active", title: "Active", show: (row) => (row.active ? "yes" : "waits") },
      { name: "ack_required", title: "Acknowledges", priority: 3, show: (row) => (row.ack_required ? "yes" : "no") },
      { name: "prefetch_count", title: "Prefetch", number: true },
      { name: "messages_unacknowledged", title: "Unacked", number: true, priority: 1 },
      {
        name: "oldest_unacknowledged",
        title: "Holds the oldest since",
        show: (row) => time(row.oldest_unacknowledged),
        priority: 1,
      },
    ],
    actions: [{ label: "Cancel", danger: true, run: (rows) => cancelConsumers(rows, queueOf()) }],
    empty: () => h("p", null, "No client consumes from this queue."),
  });
}

/**
 * @param {Row[]} rows
 * @param {any} queue
 */
async function cancelConsumers(rows, queue) {
  const sure = await confirm({
    title: rows.length === 1 ? `Cancel consumer ${rows[0].consumer_tag}?` : `Cancel ${rows.length} consumers?`,
    text: "They get no more messages; their clients are told (basic.cancel). What they hold stays theirs until they acknowledge it or their channels close.",
    action: "Cancel them",
    danger: true,
  });
  if (sure) {
    for (const { consumer_tag: tag, channel_details: channel } of rows) {
      await attempt(
        () => send("DELETE", url`/api/consumers/${queue.vhost}/${channel.connection_name}/${channel.number}/${tag}`),
        () => `Cancelled: ${tag}.`,
      );
    }
  }
}

/**
 * @param {HTMLElement} container
 * @param {import("../lib/state.js").State} state
 * @param {string} vhost
 * @param {string} name
 */
function makeBindingTable(container, state, vhost, name) {
  return table(container, {
    name: "bindings",
    prefix: "b.",
    state,
    sort: "source",
    key: (row) => `${row.source} ${row.properties_key}`,
    columns: [
      {
        name: "source",
        title: "From the exchange",
        priority: 1,
        show: (row) => objectLink("exchange", row.source, vhost),
      },
      { name: "routing_key", title: "Routing key", priority: 1 },
      {
        name: "arguments",
        title: "Arguments",
        show: (row) => (Object.keys(row.arguments ?? {}).length > 0 ? plain(row.arguments) : "–"),
      },
    ],
    tools: h("button", { type: "button", onclick: () => bind(vhost, name) }, "Bind"),
    actions: [{ label: "Unbind", danger: true, run: (rows) => unbind(rows, vhost, name) }],
    empty: () => h("p", null, "Nothing is bound to it."),
  });
}

/**
 * @param {string} vhost
 * @param {string} name
 */
async function bind(vhost, name) {
  const exchanges = await get(`${url`/api/exchanges/${vhost}`}?columns=name`);
  await form({
    title: `Bind ${name}`,
    fields: [
      {
        name: "source",
        label: "From the exchange",
        required: true,
        suggestions: (exchanges.items ?? exchanges)
          .map((/** @type {Row} */ row) => row.name)
          .filter((/** @type {string} */ each) => each !== ""),
      },
      { name: "routingKey", label: "Routing key" },
      { name: "arguments", label: "Arguments", type: "textarea", hint: "One a line: x-match=all" },
    ],
    action: "Bind",
    submit: async ({ source, routingKey, arguments: given }) => {
      const body = { routing_key: routingKey, arguments: parseArguments(given) };
      await send("POST", url`/api/bindings/${vhost}/e/${source}/q/${name}`, body);
    },
  });
}

/**
 * @param {Row[]} rows
 * @param {string} vhost
 * @param {string} name
 */
async function unbind(rows, vhost, name) {
  const removable = rows.filter((row) => row.source !== "");
  if (removable.length === 0) {
    await confirm({
      title: "The default exchange stays bound",
      text: "Every queue is bound to the default exchange with its name. Delete the queue to end that.",
      action: "Close",
    });
    return;
  }
  const sure = await confirm({
    title: "Unbind?",
    text: "What is published with these keys does not reach the queue any more.",
    loses: removable.map((row) => `the binding of ${row.source} with the key '${row.routing_key}'`),
    action: "Unbind",
    danger: true,
  });
  if (sure) {
    for (const row of removable) {
      await attempt(
        () => send("DELETE", `${url`/api/bindings/${vhost}/e/${row.source}/q/${name}`}/${row.properties_key}`),
        () => `Unbound: ${row.source}, ${row.routing_key}.`,
      );
    }
  }
}
