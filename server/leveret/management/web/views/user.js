/** One user: tags, password, permissions and limits. */

import { get, send, url } from "../lib/api.js";
import { form } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { facts, pageHead, status } from "../lib/page.js";
import { problemBox, Watching } from "../lib/watching.js";
import { limitsOf } from "./limits.js";
import { permissions } from "./permissions.js";
import { removeUsers, TAGS, tagsOf } from "./users.js";

/** @typedef {import("../views.js").Context} Context */

/** @param {{[name: string]: string}} params */
export const title = ({ name = "" }) => `User ${name}`;

/**
 * @param {HTMLElement} container
 * @param {{[name: string]: string}} params
 * @param {Context} context
 */
export function render(container, { name = "" }, { state, navigate }) {
  const path = url`/api/users/${name}`;
  const watching = new Watching();
  const problem = problemBox();
  const about = h("div", { class: "about" });
  const remove = async () => {
    if (await removeUsers([name])) {
      navigate("/users");
    }
  };
  container.append(
    pageHead(name, {
      trail: [{ title: "Users", href: "/users" }],
      actions: [
        h("button", { type: "button", onclick: () => changeTags(path) }, "Change tags"),
        h("button", { type: "button", onclick: () => changePassword(path) }, "Change the password"),
        h("button", { type: "button", class: "danger", onclick: remove }, "Delete"),
      ],
    }),
    problem,
    about,
  );
  watching.watch(path, (body) => morph(about, aboutUser(body)), problem);
  permissions(container, { user: name }, state, watching);
  limitsOf(container, "user", name, state, watching);
  return () => watching.stop();
}

/** @param {any} body */
function aboutUser(body) {
  return facts([
    ["Tags", tagsOf(body.tags).join(", ") || "none"],
    ["Login", body.password_hash ? status("ok", "with a password") : status("idle", "without a password: not by AMQP's PLAIN")],
    ["Hashing algorithm", body.hashing_algorithm],
    ["Connections", h("a", { href: `/connections?filter=${encodeURIComponent(`user=${body.name}`)}` }, "Show them")],
  ]);
}

/** @param {string} path */
async function changeTags(path) {
  const user = await get(path);
  const tags = tagsOf(user.tags);
  await form({
    title: `Change the tags of ${user.name}`,
    action: "Change",
    fields: TAGS.filter(({ value }) => value).map(({ value, label }) => ({ name: value, label, type: "checkbox", value: tags.includes(value) })),
    submit: async (values) => {
      const known = TAGS.map(({ value }) => value);
      const wanted = [...tags.filter((tag) => !known.includes(tag)), ...Object.keys(values).filter((tag) => values[tag])];
      const { password_hash, hashing_algorithm } = user;
      await send("PUT", path, { tags: wanted.join(","), password_hash, hashing_algorithm });
    },
  });
}

/** @param {string} path */
async function changePassword(path) {
  const user = await get(path);
  await form({
    title: `Change the password of ${user.name}`,
    text: "Connections that are open stay.",
    action: "Change",
    fields: [{ name: "password", label: "New password", type: "password", required: true }],
    submit: async ({ password }) => {
      await send("PUT", path, { tags: tagsOf(user.tags).join(","), password });
    },
  });
}
