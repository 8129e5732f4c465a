/** The list of exchanges. */

import { get, send, url } from "../lib/api.js";
import { ARGUMENTS_HINT, parseArguments } from "../lib/arguments.js";
import { attempt, confirm, form } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { plural, rate } from "../lib/format.js";
import { vhostField } from "../lib/listing.js";
import { objectLink, pageHead } from "../lib/page.js";
import { table } from "../lib/table.js";

/** @typedef {import("../views.js").Context} Context */

export const title = () => "Exchanges";

/** Types that every broker has; the overview knows all. */
const TYPES = ["direct", "fanout", "topic", "headers"];

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  {
    name: "name",
    title: "Name",
    needs: ["name", "vhost"],
    priority: 1,
    show: (row) => objectLink("exchange", row.name, row.vhost),
  },
  { name: "vhost", title: "Virtual host", priority: 1, show: (row) => objectLink("vhost", row.vhost) },
  { name: "type", title: "Type" },
  {
    name: "durable",
    title: "Features",
    needs: ["durable", "auto_delete", "internal", "arguments"],
    priority: 3,
    show: (row) => features(row),
  },
  { name: "policy", title: "Policy", priority: 3 },
  {
    name: "message_stats.publish_in_details.rate",
    title: "In",
    number: true,
    priority: 1,
    needs: ["message_stats"],
    show: (row) => rate(row.message_stats?.publish_in_details?.rate),
    hint: "Messages a second that were published to it",
  },
  {
    name: "message_stats.publish_out_details.rate",
    title: "Out",
    number: true,
    needs: ["message_stats"],
    show: (row) => rate(row.message_stats?.publish_out_details?.rate),
    hint: "Messages a second that it passed on to queues",
  },
];

/** @param {{[name: string]: any}} row */
export function features(row) {
  const words = [
    row.durable ? "durable" : "transient",
    row.auto_delete ? "auto-delete" : "",
    row.internal ? "internal" : "",
    Object.keys(row.arguments ?? {}).length > 0 ? "arguments" : "",
  ];
  return words.filter(Boolean).join(", ");
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, navigate }) {
  container.append(
    pageHead("Exchanges", {
      actions: h("button", { type: "button", onclick: () => add(navigate) }, "Add an exchange"),
    }),
  );
  const list = table(container, {
    name: "exchanges",
    columns: COLUMNS,
    state,
    key: (row) => JSON.stringify([row.vhost, row.name]),
    fields: ["name", "vhost"],
    path: "/api/exchanges",
    sort: "name",
    filterHint: "type=topic name~orders",
    href: (row) => url`/exchanges/${row.vhost}/${row.name || "amq.default"}`,
    empty: () => h("p", null, "No exchange in the virtual hosts that you can see."),
    actions: [{ label: "Delete", danger: true, run: remove }],
  });
  return () => list.destroy();
}

/** @param {(address: string) => void} navigate */
async function add(navigate) {
  const [vhost, overview] = await Promise.all([vhostField(), get("/api/overview")]);
  const known = overview.exchange_types?.map((/** @type {{name: string}} */ each) => each.name);
  await form({
    title: "Add an exchange",
    action: "Add",
    fields: [
      vhost,
      { name: "name", label: "Name", required: true },
      {
        name: "type",
        label: "Type",
        type: "select",
        options: (known ?? TYPES).map((/** @type {string} */ value) => ({ value, label: value })),
      },
      { name: "durable", label: "Durable: it survives a restart of the broker", type: "checkbox", value: true },
      { name: "auto_delete", label: "Delete it when its last binding goes", type: "checkbox" },
      { name: "internal", label: "Internal: clients cannot publish to it", type: "checkbox" },
      { name: "arguments", label: "Arguments", type: "textarea", hint: ARGUMENTS_HINT },
    ],
    submit: async ({ vhost: where, name, ...values }) => {
      const body = { ...values, arguments: parseArguments(values.arguments) };
      await send("PUT", url`/api/exchanges/${where}/${name}`, body);
      navigate(url`/exchanges/${where}/${name}`);
    },
  });
}

/** @param {{[name: string]: any}[]} rows */
async function remove(rows) {
  const names = rows.map(({ vhost, name }) => `exchange ${name} in ${vhost}, with its bindings`);
  const isSure = await confirm({
    title: `Delete ${plural(rows.length, "exchange")}?`,
    text: "Publishing to a deleted exchange closes the channel of the publisher.",
    loses: names,
    action: "Delete",
    danger: true,
  });
  if (isSure) {
    await attempt(
      () => Promise.all(rows.map(({ vhost, name }) => send("DELETE", url`/api/exchanges/${vhost}/${name}`))),
      () => `Deleted ${plural(rows.length, "exchange")}.`,
    );
  }
}
