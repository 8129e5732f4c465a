/** Policies and operator policies, and what they apply to. */

import { get, send, url, withQuery } from "../lib/api.js";
import { ARGUMENTS_HINT, argumentsList, argumentsText, parseArguments } from "../lib/arguments.js";
import { attempt, confirm, form } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { countOf, rowsOf, vhostField } from "../lib/listing.js";
import { choice, objectLink, pageHead } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Row */
/** @typedef {"policies" | "operator-policies"} Kind */

export const title = () => "Policies";

/** @type {{value: Kind, label: string}[]} */
const KINDS = [
  { value: "policies", label: "Policies" },
  { value: "operator-policies", label: "Operator policies" },
];

const APPLY_TO = [
  { value: "all", label: "queues and exchanges" },
  { value: "queues", label: "queues" },
  { value: "exchanges", label: "exchanges" },
  { value: "classic_queues", label: "classic queues" },
  { value: "quorum_queues", label: "quorum queues" },
];

const SHOWN_MAX = 20;
/** Objects that are named of those that a policy applies to. */

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "name", title: "Name", priority: 1 },
  { name: "vhost", title: "Virtual host", show: (row) => objectLink("vhost", row.vhost) },
  { name: "pattern", title: "Pattern", priority: 1, show: (row) => h("code", null, row.pattern) },
  { name: "apply-to", title: "Applies to", priority: 2 },
  { name: "priority", title: "Priority", number: true, priority: 2, hint: "The highest one that matches applies, and no other" },
  { name: "definition", title: "Definition", priority: 1, show: (row) => argumentsList(row.definition, "empty") },
];

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state }) {
  const watching = new Watching();
  const problem = problemBox();
  const head = h("div");
  const choices = h("div");
  const place = h("div");
  container.append(head, choices, problem, place);
  const kind = () => /** @type {Kind} */ (state.get("kind", "policies"));
  const list = table(place, {
    name: "policies",
    columns: COLUMNS,
    state,
    key: (row) => JSON.stringify([row.vhost, row.name]),
    sort: "name",
    filterHint: "vhost=/ definition~max-length",
    empty: () => h("p", null, "None. A policy sets arguments of all queues or exchanges whose names match a pattern, and can be changed at any time."),
    actions: [
      { label: "What it applies to", run: (rows) => reach(rows, kind()) },
      { label: "Change", run: async (rows) => edit(kind(), rows[0]) },
      { label: "Delete", danger: true, run: (rows) => remove(rows, kind()) },
    ],
  });
  let shown = "";
  const show = () => {
    if (kind() === shown) {
      return;
    }
    shown = kind();
    morph(choices, choice("Kind", KINDS, shown, (value) => state.set({ kind: value === "policies" ? null : value, page: null })));
    morph(
      head,
      pageHead("Policies", {
        actions: h("button", { type: "button", class: "primary", onclick: () => edit(kind()) }, kind() === "policies" ? "Add a policy" : "Add an operator policy"),
      }),
    );
    watching.stop();
    list.setRows([]);
    watching.watch(`/api/${shown}`, (body) => list.setRows(rowsOf(body)), problem);
  };
  const unlisten = state.listen(show);
  show();
  return () => {
    unlisten();
    watching.stop();
    list.destroy();
  };
}

/**
 * @param {Kind} kind
 * @param {Row} [row] the policy that is changed; missing: a new one
 */
async function edit(kind, row) {
  const word = kind === "policies" ? "policy" : "operator policy";
  await form({
    title: row ? `Change the ${word} ${row.name}` : `Add ${kind === "policies" ? "a policy" : "an operator policy"}`,
    text: "Of all policies that match a name the one with the highest priority applies. An operator policy applies beside it, and the lower value of a limit counts.",
    action: row ? "Change" : "Add",
    fields: [
      ...(row ? [] : [await vhostField(), /** @type {import("../lib/dialog.js").Field} */ ({ name: "name", label: "Name", required: true })]),
      { name: "pattern", label: "Pattern", value: row?.pattern ?? "", required: true, hint: "A regular expression: ^orders\\. is every name that begins with “orders.”" },
      { name: "apply-to", label: "Applies to", type: "select", options: APPLY_TO, value: row?.["apply-to"] ?? "all" },
      { name: "priority", label: "Priority", type: "number", value: row?.priority ?? 0 },
      {
        name: "definition",
        label: "Definition",
        type: "textarea",
        value: argumentsText(row?.definition),
        hint: `${ARGUMENTS_HINT} Such as message-ttl=60000, max-length=1000, dead-letter-exchange=failed.`,
      },
    ],
    submit: async ({ vhost = row?.vhost, name = row?.name, definition, ...values }) => {
      const body = { ...values, priority: values.priority ?? 0, definition: parseArguments(definition) };
      await send("PUT", `/api/${kind}` + url`/${vhost}/${name}`, body);
    },
  });
}

/**
 * Names what policies apply to.
 *
 * @param {Row[]} rows
 * @param {Kind} kind
 */
async function reach(rows, kind) {
  const field = kind === "policies" ? "policy" : "operator_policy";
  const parts = await Promise.all(
    rows.map(async ({ vhost, name }) => {
      const query = { page: 1, page_size: SHOWN_MAX, columns: "name,vhost", filter: `${field}="${name}"`, sort: "name" };
      const [queues, exchanges] = await Promise.all(
        ["queues", "exchanges"].map((noun) => get(withQuery(`/api/${noun}` + url`/${vhost}`, query))),
      );
      return [h("h3", null, `${name} in ${vhost}`), reached("queue", queues), reached("exchange", exchanges)];
    }),
  );
  await confirm({ title: "What it applies to", text: parts.flat(), action: "Close" });
}

/**
 * @param {"queue" | "exchange"} kind
 * @param {any} body
 */
function reached(kind, body) {
  const rows = rowsOf(body);
  const count = body.filtered_count ?? rows.length;
  return h(
    "div",
    null,
    h("p", null, `${plural(count, kind)}${count > rows.length ? `, of which the first ${rows.length}:` : ""}`),
    h(
      "ul",
      null,
      rows.map((row) => h("li", null, objectLink(kind, row.name, row.vhost))),
    ),
  );
}

/**
 * @param {Row[]} rows
 * @param {Kind} kind
 */
async function remove(rows, kind) {
  const field = kind === "policies" ? "policy" : "operator_policy";
  const loses = await Promise.all(
    rows.map(async ({ vhost, name }) => {
      const count = await countOf(url`/api/queues/${vhost}`, { filter: `${field}="${name}"` });
      return `${name} in ${vhost}, which sets arguments of ${plural(count, "queue")}`;
    }),
  );
  const isSure = await confirm({
    title: `Delete ${plural(rows.length, "policy", "policies")}?`,
    text: "What a policy has set goes at once: without a limit of length or time, queues keep more; without a dead-letter exchange, rejected and expired messages are dropped.",
    loses,
    action: "Delete",
    danger: true,
  });
  if (isSure) {
    await attempt(
      () => Promise.all(rows.map(({ vhost, name }) => send("DELETE", `/api/${kind}` + url`/${vhost}/${name}`))),
      () => `Deleted ${plural(rows.length, "policy", "policies")}.`,
    );
  }
}
