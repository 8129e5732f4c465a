/** Limits of users and of virtual hosts. */

import { send, url } from "../lib/api.js";
import { attempt, confirm, form } from "../lib/dialog.js";
import { h } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { rowsOf } from "../lib/listing.js";
import { objectLink, pageHead, section } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Row */
/** @typedef {"user" | "vhost"} Kind */

export const title = () => "Limits";

/** @type {{[kind in Kind]: {word: string, limits: {value: string, label: string}[]}}} */
const KINDS = {
  vhost: {
    word: "virtual host",
    limits: [
      { value: "max-connections", label: "max-connections: connections" },
      { value: "max-queues", label: "max-queues: queues" },
    ],
  },
  user: {
    word: "user",
    limits: [
      { value: "max-connections", label: "max-connections: connections" },
      { value: "max-channels", label: "max-channels: channels" },
    ],
  },
};

/** @type {import("../lib/table.js").Column[]} */
const COLUMNS = [
  { name: "kind", title: "Of", priority: 1, show: (row) => KINDS[/** @type {Kind} */ (row.kind)].word },
  { name: "name", title: "Name", priority: 1, show: (row) => objectLink(row.kind, row.name) },
  { name: "limit", title: "Limit", priority: 1 },
  { name: "value", title: "Value", number: true, priority: 1 },
];

/**
 * One row for each limit.
 *
 * @param {Kind} kind
 * @param {any} body
 * @returns {Row[]}
 */
function limitRows(kind, body) {
  return rowsOf(body).flatMap((each) =>
    Object.entries(each.value).map(([limit, value]) => ({ kind, name: each[kind], limit, value })),
  );
}

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state }) {
  const watching = new Watching();
  const problem = problemBox();
  const place = h("div");
  const buttons = /** @type {Kind[]} */ (["vhost", "user"]).map((kind) =>
    h("button", { type: "button", onclick: () => set(kind) }, `Set a limit of a ${KINDS[kind].word}`),
  );
  container.append(pageHead("Limits", { actions: buttons }), problem, place);
  const list = limitTable(place, state, "");
  watching.add(() => list.destroy());
  /** @type {Map<Kind, Row[]>} */
  const found = new Map();
  for (const kind of /** @type {Kind[]} */ (["vhost", "user"])) {
    watching.watch(
      `/api/${kind}-limits`,
      (body) => {
        found.set(kind, limitRows(kind, body));
        list.setRows([...found.values()].flat());
      },
      problem,
    );
  }
  return () => watching.stop();
}

/**
 * The limits of one user or virtual host, as a section of its page.
 *
 * @param {HTMLElement} container
 * @param {Kind} kind
 * @param {string} name
 * @param {import("../lib/state.js").State} state
 * @param {Watching} watching
 */
export function limitsOf(container, kind, name, state, watching) {
  const place = h("div");
  const setButton = h("button", { type: "button", onclick: () => set(kind, name) }, "Set a limit");
  container.append(section("Limits", place, { beside: setButton }));
  const list = limitTable(place, state, "limits.");
  watching.add(() => list.destroy());
  watching.watch(`/api/${kind}-limits/${encodeURIComponent(name)}`, (body) => list.setRows(limitRows(kind, body)));
}

/**
 * @param {HTMLElement} place
 * @param {import("../lib/state.js").State} state
 * @param {string} prefix
 */
function limitTable(place, state, prefix) {
  return table(place, {
    name: "limits",
    prefix,
    columns: prefix ? COLUMNS.slice(2) : COLUMNS,
    state,
    key: (row) => JSON.stringify([row.kind, row.name, row.limit]),
    empty: () => h("p", null, "None: any number of connections, channels and queues, as far as the broker's own limits go."),
    actions: [{ label: "Clear", danger: true, run: clear }],
  });
}

/**
 * @param {Kind} kind
 * @param {string} [of]
 */
function set(kind, of) {
  const { word, limits } = KINDS[kind];
  return form({
    title: `Set a limit of ${of === undefined ? `a ${word}` : `the ${word} ${of}`}`,
    action: "Set",
    fields: [
      ...(of === undefined ? [{ name: "name", label: `Name of the ${word}`, required: true }] : []),
      { name: "limit", label: "Limit", type: "select", options: limits },
      { name: "value", label: "Value", type: "number", required: true, hint: "0 permits none, -1 any number." },
    ],
    submit: async ({ name = of, limit, value }) => {
      await send("PUT", `/api/${kind}-limits` + url`/${name}/${limit}`, { value });
    },
  });
}

/** @param {Row[]} rows */
async function clear(rows) {
  const isSure = await confirm({
    title: `Clear ${plural(rows.length, "limit")}?`,
    text: "What was limited is not limited by this any more.",
    loses: rows.map(({ kind, name, limit, value }) => `${limit} = ${value} of the ${KINDS[/** @type {Kind} */ (kind)].word} ${name}`),
    action: "Clear",
    danger: true,
  });
  if (isSure) {
    await attempt(
      () => Promise.all(rows.map(({ kind, name, limit }) => send("DELETE", `/api/${kind}-limits` + url`/${name}/${limit}`))),
      () => `Cleared ${plural(rows.length, "limit")}.`,
    );
  }
}
