/** The broker as a whole: what is wrong, how it moves, how it does, and what was changed. */

import { may } from "../lib/api.js";
import { findingList } from "../lib/diagnosis.js";
import { h, morph } from "../lib/dom.js";
import { bytes, duration, number, plain, plural, rate, time } from "../lib/format.js";
import { firstSteps } from "../lib/first_steps.js";
import { depthChart, historyCharts, ratesChart } from "../lib/history_charts.js";
import { rowsOf } from "../lib/listing.js";
import { facts, objectLink, pageHead, section, status } from "../lib/page.js";
import { problemBox, Watching } from "../lib/watching.js";
import { warningList } from "./cluster.js";

/**
 * @typedef {import("../lib/dom.js").Child} Child
 * @typedef {import("../views.js").Context} Context
 */

const HISTORY_FIELDS = "message_stats,queue_totals";
const CHANGES_MS = 3600000;
/** Milliseconds for which a change is shown: the last hour. */
const CHANGES_MAX = 20;
const LOG_LINES = 500;
/** Lines of the log in which changes are looked for. */
const ALIKE_MAX = 3;
/** Findings of one kind that are shown at once. */

export function title() {
  return "Overview";
}

/**
 * @param {HTMLElement} container
 * @param {import("../views.js").Params} _params
 * @param {Context} context
 */
export function render(container, _params, { state, session }) {
  const watching = new Watching();
  const head = h("div");
  const problem = problemBox();
  const alarms = h("div");
  const stuck = h("div");
  const empty = h("div");
  const numbers = h("div");
  const charts = h("div", { class: "charts part" });
  const health = h("div");
  const changes = h("div");
  container.append(head, problem, alarms, empty, stuck, numbers, charts, h("div", { class: "columns-2" }, health, changes));
  morph(head, pageHead("Overview"));
  /** @type {any} */
  let node = {};
  /** @type {any[]} */
  let nodes = [];
  let name = "";
  let looked = 0;
  watching.watch(
    "/api/overview",
    (overview) => {
      morph(head, headOf(overview));
      morph(empty, isEmpty(overview) ? section("First steps", firstSteps(...amqpOf(overview)), { class: "panel" }) : null);
      morph(numbers, numbersOf(overview));
      morph(alarms, [warningList(overview.warnings ?? []), alarmsOf(overview, nodes, session.clustered)]);
      name = overview.node;
    },
    problem,
  );
  if (may(session, "monitoring")) {
    watching.watch("/api/nodes", (body) => {
      const before = node;
      const seconds = looked ? (Date.now() - looked) / 1000 : 0;
      // In a cluster there is one for each member; this is about the one that was asked.
      nodes = rowsOf(body);
      node = nodes.find((each) => each.name === name) ?? nodes[0] ?? {};
      looked = Date.now();
      morph(health, healthOf(node, before, seconds));
    });
  }
  watching.watch("/api/diagnosis", (findings) => morph(stuck, stuckSection(findings)));
  watching.add(
    historyCharts(charts, {
      state,
      path: `/api/overview?columns=${HISTORY_FIELDS}`,
      kinds: ["lengths", "msg_rates"],
      charts: [
        depthChart((body) => body.queue_totals),
        ratesChart("publish", "deliver_get", "ack", "redeliver", "drop_unroutable"),
      ],
    }),
  );
  if (may(session)) {
    watching.watch(`/api/logs?lines=${LOG_LINES}`, (lines) => morph(changes, changesSection(lines)));
  }
  return () => watching.stop();
}

/** @param {any} overview */
function headOf(overview) {
  return pageHead("Overview", {
    beside: [
      h("span", { class: "soft" }, `${overview.product_name ?? "Leveret"} ${overview.product_version ?? ""}`),
      overview.uptime
        ? h("span", { class: "soft" }, `up for ${duration(overview.uptime)}`)
        : null,
    ],
  });
}

/** @param {any} overview */
function isEmpty({ object_totals: totals = {} }) {
  return totals.queues === 0 && totals.connections === 0;
}

/**
 * Host and port of the AMQP listener.
 *
 * @param {any} overview
 * @returns {[string, number]}
 */
function amqpOf({ listeners = [] }) {
  const found = listeners.find((/** @type {any} */ each) => each.protocol === "amqp");
  return [location.hostname, found?.port ?? 5672];
}

/** @param {any} overview */
function numbersOf(overview) {
  const { queue_totals: totals = {}, message_stats: stats = {}, object_totals: objects = {} } = overview;
  const rateOf = (/** @type {string} */ field) => rate(stats[`${field}_details`]?.rate ?? 0);
  const link = (/** @type {string} */ href, /** @type {Child} */ text) => h("a", { href }, text);
  return h(
    "div",
    { class: "panel part" },
    facts([
      ["Ready", link("/queues?sort=-messages_ready", number(totals.messages_ready ?? 0))],
      ["Unacknowledged", link("/queues?sort=-messages_unacknowledged", number(totals.messages_unacknowledged ?? 0))],
      ["Published", rateOf("publish")],
      ["Delivered", rateOf("deliver_get")],
      ["Acknowledged", rateOf("ack")],
      ["Redelivered", rateOf("redeliver")],
      ["Queues", link("/queues", number(objects.queues))],
      ["Exchanges", link("/exchanges", number(objects.exchanges))],
      ["Connections", link("/connections", number(objects.connections))],
      ["Channels", link("/channels", number(objects.channels))],
      ["Consumers", link("/consumers", number(objects.consumers))],
    ]),
  );
}

/**
 * Alarms in words: what happens, why, and what ends it.
 *
 * @param {any} overview
 * @param {any[]} nodes those that are known
 * @param {boolean} clustered
 */
function alarmsOf(overview, nodes, clustered) {
  return (overview.alarms ?? []).flatMap((/** @type {{node: string, alarm: string}} */ { node, alarm }) =>
    alarmTexts(alarm, nodes.find((each) => each.name === node) ?? {}, clustered ? ` at ${node}` : "").map((text, at) =>
      h("p", { key: `${node} ${at}`, class: "problem", role: "alert" }, status("error", text)),
    ),
  );
}

/**
 * @param {string} alarm of one node
 * @param {any} node as of /api/nodes
 * @param {string} where which node it is, where there are several
 */
function alarmTexts(alarm, node, where) {
  const texts = [];
  if (alarm.includes("memory")) {
    texts.push(
      `Memory alarm${where}: ${bytes(node.mem_used)} of ${bytes(node.mem_limit)} are used. Connections that publish are blocked until memory is free: let consumers catch up, or raise memory.limit.`,
    );
  }
  if (alarm.includes("disk")) {
    texts.push(
      `Disk alarm${where}: ${bytes(node.disk_free)} are free, ${bytes(node.disk_free_limit)} have to be. Connections that publish are blocked until there is space: consume or purge queues, or make the disk larger.`,
    );
  }
  if (texts.length === 0) {
    texts.push(`Alarm${where}: ${alarm}. Connections that publish are blocked.`);
  }
  return texts;
}

/** @param {import("../lib/diagnosis.js").Finding[]} findings the worst first */
function stuckSection(findings) {
  if (findings.length === 0) {
    return h("p", { class: "part" }, status("ok", "Nothing is stuck."));
  }
  /** @type {Map<string, import("../lib/diagnosis.js").Finding[]>} */
  const alike = new Map();
  for (const finding of findings) {
    alike.set(finding.code, [...(alike.get(finding.code) ?? []), finding]);
  }
  // Many queues with one trouble must not hide what is wrong with others.
  return section(
    "Why is it stuck?",
    [...alike].map(([code, found]) => {
      const rest = found.slice(ALIKE_MAX);
      return [
        h("div", { key: code, class: "alike" }, findingList(found.slice(0, ALIKE_MAX))),
        rest.length > 0
          ? h(
              "details",
              { key: `${code} rest`, class: "rest" },
              h("summary", null, `${plural(rest.length, "more queue")} like this`),
              findingList(rest),
            )
          : null,
      ];
    }),
    { class: "stuck" },
  );
}

/**
 * Log, disk and memory.
 *
 * @param {any} node as of /api/nodes
 * @param {any} before the node as it was some seconds ago
 * @param {number} seconds
 */
function healthOf(node, before, seconds) {
  const grown = (/** @type {string} */ name) => (node[name] ?? 0) - (before[name] ?? 0);
  const perSecond = (/** @type {string} */ name) => (seconds > 0 ? grown(name) / seconds : null);

  const used = node.mem_used && node.mem_limit ? node.mem_used / node.mem_limit : 0;
  /** @type {[string, Child][]} */
  const pairs = [
    ["Memory", [bytes(node.mem_used), " of ", bytes(node.mem_limit), meter("Memory used", used)]],
    ["Disk", [bytes(node.disk_free), " free; alarm below ", bytes(node.disk_free_limit)]],
    ["Syncs of the log", rate(perSecond("io_sync_count"))],
    ["A sync takes", syncTime(node, before)],
    ["Written to the log", seconds > 0 ? `${bytes(perSecond("io_write_bytes"))}/s` : "–"],
    ["Files", `${number(node.fd_used)} of ${number(node.fd_total)}`],
    ["Sockets", `${number(node.sockets_used)} of ${number(node.sockets_total)}`],
    ["Data", node.db_dir ?? "–"],
  ];
  return section("Log and machine", h("div", { class: "panel" }, facts(pairs)), {
    beside: status(
      node.mem_alarm || node.disk_free_alarm ? "error" : "ok",
      node.mem_alarm || node.disk_free_alarm ? "alarm" : "no alarm",
    ),
  });
}

/**
 * How long syncs have taken lately, or since the start if there was none.
 *
 * @param {any} node
 * @param {any} before
 */
function syncTime(node, before) {
  const total = (/** @type {any} */ at) => (at.io_sync_avg_time ?? 0) * (at.io_sync_count ?? 0);
  const count = (node.io_sync_count ?? 0) - (before.io_sync_count ?? 0);
  const ms = count > 0 ? (total(node) - total(before)) / count : node.io_sync_avg_time;
  return typeof ms === "number" ? `${ms.toFixed(1)} ms` : "–";
}

/**
 * @param {string} label
 * @param {number} part from 0 to 1
 */
function meter(label, part) {
  return h("meter", { "aria-label": label, min: 0, max: 1, high: 0.8, optimum: 0, value: part });
}

/** @param {any[]} lines of the log, the newest last */
function changesSection(lines) {
  const from = Date.now() - CHANGES_MS;
  const found = lines
    .map((line) => ({ ...line, ms: msOf(line) }))
    .filter((line) => (line.event ?? line.msg) === "audit" && line.ms >= from)
    .reverse();
  const shown = found.slice(0, CHANGES_MAX);
  return section(
    "Changed in the last hour",
    shown.length === 0
      ? h("p", { class: "panel soft" }, "Nothing was changed by hand.")
      : h(
          "ul",
          { class: "changes panel" },
          shown.map((line) =>
            h(
              "li",
              { key: `${line.ms} ${line.what} ${line.name}` },
              time(line.ms),
              h("span", null, `${line.what} `, subjectOf(line), h("span", { class: "soft" }, ` by ${line.who}`)),
            ),
          ),
          found.length > shown.length
            ? h("li", { key: "rest" }, h("a", { href: "/log?filter=audit" }, `${number(found.length - shown.length)} more in the log`))
            : null,
        ),
  );
}

/** @param {any} line */
function msOf(line) {
  const given = line.timestamp ?? line.time ?? line.ts;
  return typeof given === "number" ? given : Date.parse(given);
}

/**
 * What was changed, as a link where there is a view of it.
 *
 * @param {any} line
 */
function subjectOf(line) {
  const [first] = String(line.what).split(" ");
  const kind = first === "messages" ? "queue" : first;
  if (line.source !== undefined && line.destination !== undefined) {
    return h("code", null, `${line.source} → ${line.destination}`);
  }
  if (typeof line.name !== "string") {
    return plain(line.name ?? line.user ?? line.vhost ?? "");
  }
  return ["queue", "exchange", "user", "policy", "vhost"].includes(kind) && !/deleted|closed/.test(line.what)
    ? objectLink(kind, line.name, line.vhost)
    : h("code", null, line.name);
}
