/** The cluster: its members, their stores, and the database that they share. */

import { h, morph } from "../lib/dom.js";
import { allow, drain, forget, memberState, move, storeState, undrain, unmove } from "../lib/cluster.js";
import { bytes, duration, number, plural, time } from "../lib/format.js";
import { facts, objectLink, pageHead, section, status } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";

/**
 * @typedef {import("../lib/dom.js").Child} Child
 * @typedef {import("../views.js").Context} Context
 */

export const title = () => "Cluster";

const SILENT_MS = 30000;
/** Milliseconds without a reply after which a standby is called silent: it replies every ten seconds. */

/** @type {import("../lib/table.js").Column[]} */
const MEMBERS = [
  { name: "name", title: "Node", priority: 1 },
  { name: "state", title: "State", priority: 1, sort: null, show: (row) => memberState(/** @type {any} */ (row)) },
  { name: "stores_count", title: "Stores", number: true, priority: 1, hint: "Stores that it owns" },
  { name: "silent_ms", title: "Last sign", number: true, priority: 2, show: (row) => `${duration(row.silent_ms)} ago` },
  { name: "started_at", title: "Since", priority: 3, show: (row) => time(row.started_at) },
  { name: "version", title: "Version", priority: 3 },
  { name: "address", title: "Address for others", priority: 3 },
];

/** @type {import("../lib/table.js").Column[]} */
const STORES = [
  { name: "store", title: "Store", priority: 1 },
  { name: "node", title: "Node", priority: 1, hint: "The broker that owns it" },
  { name: "state", title: "State", priority: 1, show: (row) => storeState(/** @type {any} */ (row)) },
  {
    name: "vhosts",
    title: "Virtual hosts",
    priority: 2,
    show: (row) => row.vhosts.map((/** @type {string} */ name, /** @type {number} */ at) => [at ? ", " : "", objectLink("vhost", name)]),
  },
  { name: "lease_left_ms", title: "Lease", number: true, priority: 3, hint: "Until it ends", show: (row) => duration(row.lease_left_ms) },
  { name: "epoch", title: "Epoch", number: true, priority: 3, hint: "The number of its owner: it grows with each" },
  { name: "wanted", title: "Wanted at", priority: 3, hint: "The node that an operator has moved it to" },
  { name: "reason", title: "Reason", priority: 3, wide: true, hint: "Why it is refused, or was given up last" },
];

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, session }) {
  const watching = new Watching();
  const problem = problemBox();
  const [warnings, database, members, stores] = [h("div"), h("div"), h("div"), h("div")];
  const parts = h("div", { hidden: true }, section("Nodes", members), section("Stores", stores), database);
  const alone = h("div");
  container.append(pageHead("Cluster"), problem, warnings, alone, parts);
  /** @type {any} */
  let found = { members: [], stores: [] };
  const mayChange = session.tags.includes("administrator");
  const memberTable = table(members, {
    name: "nodes",
    prefix: "nodes.",
    columns: MEMBERS,
    state,
    key: (row) => row.name,
    sort: "name",
    empty: () => h("p", null, "No node is known."),
    actions: mayChange
      ? [
          { label: "Drain", run: (rows) => drain(/** @type {any} */ (rows), found.stores) },
          { label: "Undo drain", run: (rows) => undrain(/** @type {any} */ (rows)) },
          { label: "Forget", danger: true, run: (rows) => forget(/** @type {any} */ (rows)) },
        ]
      : undefined,
  });
  const storeTable = table(stores, {
    name: "stores",
    prefix: "stores.",
    columns: STORES,
    state,
    key: (row) => String(row.store),
    sort: "store",
    empty: () => h("p", null, "No store is known."),
    actions: mayChange
      ? [
          { label: "Move", run: (rows) => move(/** @type {any} */ (rows), found.members) },
          { label: "Undo move", run: (rows) => unmove(/** @type {any} */ (rows)) },
          { label: "Allow", danger: true, run: (rows) => allow(/** @type {any} */ (rows)) },
        ]
      : undefined,
  });
  watching.add(() => memberTable.destroy());
  watching.add(() => storeTable.destroy());
  watching.watch(
    "/api/cluster",
    (cluster) => {
      found = cluster;
      parts.hidden = !cluster.clustered;
      morph(alone, cluster.clustered ? null : h("p", { class: "panel" }, "This broker shares its storage with no other: it is no member of a cluster."));
      morph(warnings, warningList(cluster.warnings));
      morph(database, cluster.database ? databaseSection(cluster.database) : null);
      memberTable.setRows(cluster.members);
      storeTable.setRows(cluster.stores);
    },
    problem,
  );
  return () => watching.stop();
}

/** @param {string[]} texts */
export function warningList(texts) {
  return texts.map((text) => h("p", { key: text, class: "problem", role: "alert" }, status("warning", text)));
}

/**
 * A standby that follows, or what it does instead. One that was lost is listed for a while, but does
 * not reply.
 *
 * @param {any} standby
 */
function standbyLine(standby) {
  const isSilent = standby.silent_ms !== null && standby.silent_ms > SILENT_MS;
  const follows = standby.state === "streaming" && !isSilent;
  const behind = standby.behind_bytes === null ? "" : `, ${bytes(standby.behind_bytes)} behind`;
  const reply = isSilent ? `, last reply ${duration(standby.silent_ms)} ago` : "";
  return h(
    "div",
    { key: `${standby.name} ${standby.address}` },
    status(follows ? "ok" : "warning", `${standby.name}: ${standby.state || "not shown"}${behind}${reply}`),
  );
}

/** @param {any} database */
function databaseSection(database) {
  /** @type {[string, Child][]} */
  const pairs = [
    ["Primary", database.server || "–"],
    ["Looked for at", database.hosts.join(", ")],
    ["Version", `PostgreSQL ${database.version}${database.tls ? ", with TLS" : ""}`],
    ["Timeline", number(database.timeline)],
    ["Replicas", database.replicas === null ? "a matter of its provider" : `${number(database.replicas)} at the last connect`],
    ["Standbys", database.standbys.length ? database.standbys.map(standbyLine) : "none is listed"],
    ["Commits wait for", database.synchronous_standby_names || "–"],
    ["Failovers", `${number(database.failovers)} since the start of this broker`],
    ["Away", `${plural(database.away_count, "time")}, ${duration(database.away_seconds * 1000)} altogether`],
  ];
  if (database.away) {
    pairs.push(["Away since", [time(database.away_since), ": ", database.away]]);
  }
  return section("Database", h("div", { class: "panel" }, facts(pairs)), {
    beside: database.away ? status("error", "does not answer") : status("ok", "answers"),
  });
}
