/** What views have in common: the head, sections, facts, states, and the address of each object. */

import { url } from "./api.js";
import { h } from "./dom.js";

/**
 * @typedef {import("./dom.js").Child} Child
 */

/** The address of the picture of the product. */
export const ICON = new URL("../icon.svg", import.meta.url).pathname;

/**
 * The head of a view.
 *
 * @param {string} title
 * @param {{trail?: {title: string, href: string}[], beside?: Child, actions?: Child}} [more]
 *   trail: the views above it; beside: what stands after the title
 */
export function pageHead(title, { trail = [], beside, actions } = {}) {
  return h(
    "div",
    { class: "page-head" },
    trail.length > 0
      ? h(
          "nav",
          { class: "trail", "aria-label": "Above this" },
          trail.map((each, index) => [
            index > 0 ? h("span", { "aria-hidden": "true" }, "›") : null,
            h("a", { href: each.href }, each.title),
          ]),
        )
      : null,
    h("div", { class: "title" }, h("h1", null, title), beside),
    actions ? h("div", { class: "actions" }, actions) : null,
  );
}

/**
 * A part of a view with a heading.
 *
 * @param {string} title
 * @param {Child} content
 * @param {{class?: string, beside?: Child, key?: string}} [more]
 */
export function section(title, content, more = {}) {
  return h(
    "section",
    { class: `part ${more.class ?? ""}`, "aria-label": title, key: more.key ?? null },
    h("div", { class: "part-head" }, h("h2", null, title), more.beside),
    content,
  );
}

/**
 * Facts as pairs of a word and a value.
 *
 * @param {[string, Child][]} pairs
 */
export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs.map(([name, value]) => [h("div", { key: name }, h("dt", null, name), h("dd", null, value))]),
  );
}

/** @typedef {"ok" | "info" | "warning" | "error" | "idle" | "paused"} Kind */

/**
 * A state as a shape, a colour and a word; each of the three is enough.
 *
 * @param {Kind} kind
 * @param {Child} word
 * @param {string} [title]
 */
export function status(kind, word, title) {
  return h(
    "span",
    { class: `status ${kind}`, title },
    h("span", { class: "shape", "aria-hidden": "true" }, SHAPES[kind]),
    word,
  );
}

/** @type {{[kind in Kind]: string}} */
const SHAPES = { ok: "●", info: "◆", warning: "▲", error: "■", idle: "○", paused: "‖" };

/**
 * @typedef {"queue" | "exchange" | "connection" | "channel" | "consumer" | "policy" | "user" | "vhost"} ObjectKind
 */

/**
 * The address of an object's view.
 *
 * @param {ObjectKind | string} kind
 * @param {string} name
 * @param {string | null} [vhost]
 */
export function addressOf(kind, name, vhost) {
  switch (kind) {
    case "queue":
      return url`/queues/${vhost ?? "/"}/${name}`;
    case "exchange":
      return url`/exchanges/${vhost ?? "/"}/${name || "amq.default"}`;
    case "connection":
      return url`/connections/${name}`;
    case "channel":
      return url`/channels/${name}`;
    case "policy":
      return `/policies?filter=${encodeURIComponent(`name=${name}`)}`;
    case "user":
      return url`/users/${name}`;
    case "vhost":
      return url`/vhosts/${name}`;
    default:
      return `/${kind}s?filter=${encodeURIComponent(`name=${name}`)}`;
  }
}

/**
 * A link to an object's view.
 *
 * @param {ObjectKind | string} kind
 * @param {string} name
 * @param {string | null} [vhost]
 * @param {Child} [text] if not the name
 */
export function objectLink(kind, name, vhost, text) {
  const shown = text ?? (name === "" ? "(default exchange)" : name);
  return h("a", { href: addressOf(kind, name, vhost), class: "name" }, shown);
}

/**
 * A choice between a few values, as buttons beside each other.
 *
 * @param {string} label
 * @param {{value: string, label: string}[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function choice(label, choices, chosen, choose) {
  return h(
    "div",
    { class: "choice", role: "group", "aria-label": label },
    choices.map(({ value, label: text }) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": value === chosen ? "true" : "false",
          onclick: () => choose(value),
        },
        text,
      ),
    ),
  );
}
