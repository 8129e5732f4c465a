/** The list of virtual hosts. */

import { get, send, url } from "../lib/api.js";
import { attempt, confirm, form } from "../lib/dialog.js";
import { withNode } from "../lib/cluster.js";
import { h } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { countOf, rowsOf } from "../lib/listing.js";
import { objectLink, pageHead, status } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";

/** @typedef {import("../views.js").Context} Context */

export const title = () => "Virtual hosts";

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "name", title: "Name", priority: 1, show: (row) => objectLink("vhost", row.name) },
  { name: "description", title: "Description", priority: 2 },
  { name: "tags", title: "Tags", priority: 3, show: (row) => [row.tags ?? []].flat().join(", ") },
  { name: "messages_ready", title: "Ready", number: true, priority: 1 },
  { name: "messages_unacknowledged", title: "Unacknowledged", number: true, priority: 2 },
  { name: "messages", title: "Messages", number: true, priority: 3 },
  {
    name: "protected_from_deletion",
    title: "Protected",
    priority: 3,
    show: (row) => (row.protected_from_deletion ? "yes" : "no"),
    hint: "Whether it can be deleted",
  },
];

/**
 * The node that serves a virtual host, or that it is down.
 *
 * @param {import("../lib/table.js").Row} row
 */
function nodeOf(row) {
  const [[node, running] = ["", ""]] = Object.entries(row.cluster_state ?? {});
  return running === "running" ? node : status("error", "down", "No node serves it");
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, navigate, session }) {
  const watching = new Watching();
  const problem = problemBox();
  const place = h("div");
  const mayChange = session.tags.includes("administrator");
  container.append(
    pageHead("Virtual hosts", {
      actions: mayChange ? h("button", { type: "button", onclick: () => add(navigate) }, "Add a virtual host") : null,
    }),
    problem,
    place,
  );
  const list = table(place, {
    name: "virtual hosts",
    columns: withNode(COLUMNS, session, { name: "cluster_state", sort: null, show: nodeOf }),
    state,
    key: (row) => row.name,
    sort: "name",
    href: (row) => url`/vhosts/${row.name}`,
    empty: () => h("p", null, "You have access to no virtual host."),
  });
  watching.add(() => list.destroy());
  watching.watch("/api/vhosts", (body) => list.setRows(rowsOf(body)), problem);
  return () => watching.stop();
}

/** @param {(address: string) => void} navigate */
function add(navigate) {
  return form({
    title: "Add a virtual host",
    action: "Add",
    fields: [
      { name: "name", label: "Name", required: true },
      { name: "description", label: "Description" },
      { name: "tags", label: "Tags", hint: "With commas between." },
    ],
    submit: async ({ name, description, tags }) => {
      await send("PUT", url`/api/vhosts/${name}`, { description, tags });
      navigate(url`/vhosts/${name}`);
    },
  });
}

/**
 * Asks with all that would be lost, and deletes.
 *
 * @param {string} name
 * @returns {Promise<boolean>} whether it was deleted
 */
export async function removeVhost(name) {
  const [vhost, queues, exchanges, connections] = await Promise.all([
    get(url`/api/vhosts/${name}`),
    countOf(url`/api/queues/${name}`),
    countOf(url`/api/exchanges/${name}`),
    countOf(url`/api/vhosts/${name}/connections`),
  ]);
  const messages = vhost.messages ?? 0;
  const isSure = await confirm({
    title: `Delete the virtual host ${name}?`,
    text: "Its connections are closed, and everything in it goes for good. Definitions that were exported can bring it back, but not its messages.",
    loses: [
      `${plural(queues, "queue")} with ${plural(messages, "message")}`,
      `${plural(exchanges, "exchange")} and all bindings`,
      `${plural(connections, "open connection")}`,
      "its permissions, policies and limits",
    ],
    action: "Delete",
    typed: queues > 0 ? name : undefined,
    danger: true,
  });
  return (
    isSure &&
    attempt(
      () => send("DELETE", url`/api/vhosts/${name}`),
      () => `Deleted the virtual host ${name} with ${number(messages)} messages.`,
    )
  );
}
