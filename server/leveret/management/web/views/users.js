/** The list of users. */

import { get, send, url } from "../lib/api.js";
import { attempt, confirm, form } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { rowsOf } from "../lib/listing.js";
import { objectLink, pageHead, status } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Row */

export const title = () => "Users";

/** What the tags permit, in the words of the field. */
export const TAGS = [
  { value: "", label: "none: no access to this page, clients only" },
  { value: "management", label: "management: what is in the virtual hosts of the user" },
  { value: "policymaker", label: "policymaker: policies as well" },
  { value: "monitoring", label: "monitoring: all connections and figures as well" },
  { value: "administrator", label: "administrator: everything" },
];

/**
 * The tags of a user as a list.
 *
 * @param {string | string[] | undefined} tags
 */
export const tagsOf = (tags) => [tags ?? []].flat().flatMap((each) => each.split(",")).filter(Boolean);

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "name", title: "Name", priority: 1, show: (row) => objectLink("user", row.name) },
  { name: "tags", title: "Tags", priority: 1, show: (row) => tagsOf(row.tags).join(", ") || h("span", { class: "none" }, "none") },
  {
    name: "password_hash",
    title: "Login",
    show: (row) => (row.password_hash ? status("ok", "password") : status("idle", "no password")),
  },
  { name: "vhosts", title: "Virtual hosts", show: (row) => vhostLinks(row.vhosts) },
  { name: "limits", title: "Limits", priority: 3, show: (row) => limitsText(row.limits) },
];

/** @param {string[] | undefined} vhosts */
function vhostLinks(vhosts) {
  if (!vhosts || vhosts.length === 0) {
    return status("warning", "none", "Without permissions in a virtual host a client cannot connect");
  }
  return vhosts.map((name, index) => [index > 0 ? ", " : "", objectLink("vhost", name)]);
}

/** @param {{[name: string]: number} | undefined} limits */
export function limitsText(limits) {
  const texts = Object.entries(limits ?? {}).map(([name, value]) => `${name} = ${value}`);
  return texts.join(", ") || h("span", { class: "none" }, "none");
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, navigate }) {
  const watching = new Watching();
  const problem = problemBox();
  const place = h("div");
  container.append(
    pageHead("Users", { actions: h("button", { type: "button", class: "primary", onclick: () => add(navigate) }, "Add a user") }),
    problem,
    place,
  );
  /** @type {Row[]} */
  let users = [];
  /** @type {Map<string, string[]>} */
  const vhosts = new Map();
  const list = table(place, {
    name: "users",
    columns: COLUMNS,
    state,
    key: (row) => row.name,
    sort: "name",
    filterHint: "tags~administrator",
    href: (row) => url`/users/${row.name}`,
    empty: () => h("p", null, "No user: nobody can log in."),
    actions: [{ label: "Delete", danger: true, run: (rows) => removeUsers(rows.map(({ name }) => name)) }],
  });
  watching.add(() => list.destroy());
  const show = () => list.setRows(users.map((user) => ({ ...user, vhosts: vhosts.get(user.name) ?? [] })));
  watching.watch(
    "/api/users",
    (body) => {
      users = rowsOf(body);
      show();
    },
    problem,
  );
  watching.watch("/api/permissions", (body) => {
    vhosts.clear();
    for (const { user, vhost } of rowsOf(body)) {
      vhosts.set(user, [...(vhosts.get(user) ?? []), vhost]);
    }
    show();
  });
  return () => watching.stop();
}

/** @type {import("../lib/dialog.js").Field[]} */
export const PERMISSION_FIELDS = [
  { name: "configure", label: "Configure", value: ".*", hint: "A regular expression: names of what the user may declare and delete. Empty is nothing." },
  { name: "write", label: "Write", value: ".*", hint: "Names of what the user may publish to and bind." },
  { name: "read", label: "Read", value: ".*", hint: "Names of what the user may consume from." },
];

/** @param {(address: string) => void} navigate */
async function add(navigate) {
  const vhosts = rowsOf(await get("/api/vhosts")).map(({ name }) => ({ value: name, label: name }));
  await form({
    title: "Add a user",
    action: "Add",
    fields: [
      { name: "name", label: "Name", required: true },
      { name: "password", label: "Password", type: "password", required: true },
      { name: "tags", label: "Tag", type: "select", options: TAGS },
      {
        name: "vhost",
        label: "Permissions in the virtual host",
        type: "select",
        options: [...vhosts, { value: "", label: "none, for the moment" }],
        hint: "Others can be given on the page of the user.",
      },
      ...PERMISSION_FIELDS,
    ],
    submit: async ({ name, password, tags, vhost, configure, write, read }) => {
      await send("PUT", url`/api/users/${name}`, { password, tags });
      if (vhost) {
        await send("PUT", url`/api/permissions/${vhost}/${name}`, { configure, write, read });
      }
      navigate(url`/users/${name}`);
    },
  });
}

/**
 * @param {string[]} names
 * @returns {Promise<boolean>} whether they were deleted
 */
export async function removeUsers(names) {
  const isSure = await confirm({
    title: `Delete ${names.length === 1 ? `the user ${names[0]}` : plural(names.length, "user")}?`,
    text: "Clients that log in as such a user cannot connect again.",
    loses: names.map((name) => `user ${name}, with password, permissions and limits`),
    action: "Delete",
    danger: true,
  });
  return (
    isSure &&
    attempt(
      () => Promise.all(names.map((name) => send("DELETE", url`/api/users/${name}`))),
      () => `Deleted ${plural(names.length, "user")}.`,
    )
  );
}
