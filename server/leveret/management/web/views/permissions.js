/** Permissions and topic permissions: the tables of them on the page of a user and of a virtual host. */

import { send, url } from "../lib/api.js";
import { attempt, confirm, form } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { rowsOf, vhostField } from "../lib/listing.js";
import { objectLink, section } from "../lib/page.js";
import { table } from "../lib/table.js";
import { PERMISSION_FIELDS } from "./users.js";

/** @typedef {{[name: string]: any}} Row */
/** @typedef {{user: string} | {vhost: string}} Side Whose page it is. */

/** @param {string} pattern */
const pattern = (pattern) => (pattern ? h("code", null, pattern) : h("span", { class: "none" }, "nothing"));

/**
 * @param {Side} side
 * @param {string[]} names
 * @returns {import("../lib/table.js").Column[]}
 */
function columns(side, names) {
  return [
    "user" in side
      ? { name: "vhost", title: "Virtual host", priority: 1, show: (row) => objectLink("vhost", row.vhost) }
      : { name: "user", title: "User", priority: 1, show: (row) => objectLink("user", row.user) },
    ...names.map(
      (name) =>
        /** @type {import("../lib/table.js").Column} */ ({
          name,
          title: name.charAt(0).toUpperCase() + name.slice(1),
          priority: 1,
          show: (/** @type {Row} */ row) => (name === "exchange" ? objectLink("exchange", row.exchange, row.vhost) : pattern(row[name])),
        }),
    ),
  ];
}

/**
 * @param {HTMLElement} container
 * @param {Side} side
 * @param {import("../lib/state.js").State} state
 * @param {import("../lib/watching.js").Watching} watching
 */
export function permissions(container, side, state, watching) {
  const owner = "user" in side ? url`/api/users/${side.user}` : url`/api/vhosts/${side.vhost}`;
  for (const isTopic of [false, true]) {
    const name = isTopic ? "topic permissions" : "permissions";
    const place = h("div");
    const setButton = h("button", { type: "button", onclick: () => set(side, isTopic) }, isTopic ? "Set a topic permission" : "Set permissions");
    container.append(section(isTopic ? "Topic permissions" : "Permissions", place, { beside: setButton }));
    const list = table(place, {
      name,
      prefix: isTopic ? "topic." : "permissions.",
      columns: columns(side, isTopic ? ["exchange", "write", "read"] : ["configure", "write", "read"]),
      state,
      key: (row) => JSON.stringify([row.user, row.vhost, row.exchange]),
      empty: () => h("p", null, isTopic ? "None: every routing key is permitted that the permissions permit." : "None: nobody gets in here by this."),
      actions: [{ label: "Clear", danger: true, run: (rows) => clear(rows, isTopic) }],
    });
    watching.add(() => list.destroy());
    watching.watch(`${owner}/${isTopic ? "topic-permissions" : "permissions"}`, (body) => list.setRows(rowsOf(body)));
  }
}

/**
 * @param {Side} side
 * @param {boolean} isTopic
 */
async function set(side, isTopic) {
  const who = "user" in side ? await vhostField() : /** @type {import("../lib/dialog.js").Field} */ ({ name: "user", label: "User", required: true });
  const topicFields = [
    { name: "exchange", label: "Exchange", required: true, hint: "A topic exchange." },
    { name: "write", label: "Write", value: ".*", hint: "A regular expression: routing keys with which the user may publish." },
    { name: "read", label: "Read", value: ".*", hint: "Routing keys with which the user may bind." },
  ];
  await form({
    title: isTopic ? "Set a topic permission" : "Set permissions",
    action: "Set",
    fields: [who, ...(isTopic ? topicFields : PERMISSION_FIELDS)],
    submit: async ({ user, vhost, ...body }) => {
      const of = { user, vhost, ...side };
      const kind = isTopic ? "topic-permissions" : "permissions";
      await send("PUT", `/api/${kind}` + url`/${of.vhost}/${of.user}`, body);
    },
  });
}

/**
 * @param {Row[]} rows
 * @param {boolean} isTopic
 */
async function clear(rows, isTopic) {
  const kind = isTopic ? "topic-permissions" : "permissions";
  const isSure = await confirm({
    title: isTopic ? "Clear topic permissions?" : "Clear permissions?",
    text: isTopic ? "All topic permissions of these users in these virtual hosts go." : "These users cannot connect to these virtual hosts any more.",
    loses: rows.map(({ user, vhost }) => `what ${user} may do in ${vhost}`),
    action: "Clear",
    danger: true,
  });
  if (isSure) {
    const paths = new Set(rows.map(({ user, vhost }) => `/api/${kind}` + url`/${vhost}/${user}`));
    await attempt(
      () => Promise.all([...paths].map((path) => send("DELETE", path))),
      () => `Cleared ${plural(rows.length, "permission")}.`,
    );
  }
}
