/** What the views of a cluster have in common: the column of nodes, states in words, and orders. */

import { send, url } from "./api.js";
import { attempt, confirm, form } from "./dialog.js";
import { plural } from "./format.js";
import { status } from "./page.js";

/**
 * @typedef {import("./table.js").Column} Column
 *
 * @typedef {object} Member
 * @property {string} name
 * @property {boolean} running
 * @property {boolean} draining
 * @property {boolean} answers
 * @property {number[]} stores
 *
 * @typedef {object} Store
 * @property {number} store
 * @property {string} node
 * @property {string} state
 * @property {boolean} served
 * @property {string[]} vhosts
 * @property {string} wanted
 * @property {string} reason
 */

/**
 * Columns with that of the node, where there is more than one.
 *
 * @param {Column[]} columns
 * @param {import("./api.js").Session} session
 * @param {Partial<Column>} [more]
 * @returns {Column[]}
 */
export function withNode(columns, session, more) {
  if (!session.clustered) {
    return columns;
  }
  /** @type {Column} */
  const node = { name: "node", title: "Node", priority: 3, hint: "The broker that serves it", ...more };
  return [...columns.slice(0, 2), node, ...columns.slice(2)];
}

/** @param {Member} member */
export function memberState(member) {
  if (!member.running) {
    return status("error", "down", "It has given no sign of life for the length of a lease");
  }
  if (!member.answers) {
    return status("warning", "does not answer", "It lives, and has not answered this broker lately");
  }
  return member.draining
    ? status("paused", "drained", "It is to own no store, and passes clients on")
    : status("ok", "running");
}

/** @param {Store} store */
export function storeState(store) {
  if (store.state === "refused") {
    return status("error", "refused", "Nobody may take it until it is allowed");
  }
  return store.served ? status("ok", "served") : status("warning", store.state);
}

/** @param {Store[]} stores */
const vhostsText = (stores) => {
  const names = stores.flatMap(({ vhosts }) => vhosts);
  return names.length === 0 ? "none" : names.join(", ");
};

/**
 * @param {Member[]} members
 * @param {Store[]} stores all there are
 */
export async function drain(members, stores) {
  const names = members.map(({ name }) => name);
  const theirs = stores.filter(({ node }) => names.includes(node));
  const isSure = await confirm({
    title: `Drain ${names.join(", ")}?`,
    text: `The other brokers take over its stores, one after the other. The clients of their virtual hosts are disconnected, connect again, and lose nothing. It goes on to pass on the clients that come to it.`,
    loses: [`${plural(theirs.length, "store")} with the virtual hosts: ${vhostsText(theirs)}`],
    action: "Drain",
  });
  return isSure && order(members, "PUT", "is drained");
}

/** @param {Member[]} members */
export function undrain(members) {
  return order(members, "DELETE", "owns its share again");
}

/**
 * @param {Member[]} members
 * @param {"PUT" | "DELETE"} method
 * @param {string} done
 */
function order(members, method, done) {
  return attempt(
    () => Promise.all(members.map(({ name }) => send(method, url`/api/cluster/members/${name}/drain`))),
    () => `Ordered: ${members.map(({ name }) => name).join(", ")} ${done}.`,
  );
}

/** @param {Member[]} members */
export async function forget(members) {
  const isSure = await confirm({
    title: `Forget ${members.map(({ name }) => name).join(", ")}?`,
    text: "It is no member any more. A broker of that name that starts again is one at once. One that runs is refused.",
    action: "Forget",
    danger: true,
  });
  return (
    isSure &&
    attempt(
      () => Promise.all(members.map(({ name }) => send("DELETE", url`/api/cluster/members/${name}`))),
      () => `Forgotten: ${plural(members.length, "node")}.`,
    )
  );
}

/**
 * @param {Store[]} stores
 * @param {Member[]} members all there are
 */
export function move(stores, members) {
  const targets = members.filter(({ running, draining }) => running && !draining);
  return form({
    title: `Move ${plural(stores.length, "store")}`,
    text: `The owner hands over the virtual hosts ${vhostsText(stores)}. Their clients are disconnected, connect again, and lose nothing. The node has them whenever it runs, until they may be anywhere again.`,
    fields: [
      {
        name: "node",
        label: "To the node",
        type: "select",
        options: targets.map(({ name }) => ({ value: name, label: name })),
      },
    ],
    action: "Move",
    submit: async ({ node }) => {
      await Promise.all(stores.map(({ store }) => send("PUT", url`/api/cluster/stores/${store}/successor`, { node })));
    },
  });
}

/** @param {Store[]} stores */
export function unmove(stores) {
  return attempt(
    () => Promise.all(stores.map(({ store }) => send("DELETE", url`/api/cluster/stores/${store}/successor`))),
    () => `${plural(stores.length, "store")} may be owned by any node.`,
  );
}

/** @param {Store[]} stores */
export async function allow(stores) {
  const isSure = await confirm({
    title: `Allow ${plural(stores.length, "store")} to be taken?`,
    text: "Confirmed messages are missing or damaged there. The right way is to promote the standby of the database that has them. If it is gone, a broker goes on with what there is.",
    loses: stores.map(({ store, reason }) => `store ${store}: ${reason}`),
    action: "Allow",
    typed: "allow",
    danger: true,
  });
  return (
    isSure &&
    attempt(
      () => Promise.all(stores.map(({ store }) => send("DELETE", url`/api/cluster/stores/${store}/refusal`))),
      () => `Allowed: ${plural(stores.length, "store")}.`,
    )
  );
}
