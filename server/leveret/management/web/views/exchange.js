/** One exchange: its rates, its bindings, what it could not route, and where a message would go. */

import { send, url } from "../lib/api.js";
import { ARGUMENTS_HINT, argumentsList, parseArguments } from "../lib/arguments.js";
import { attempt, confirm, form, notice } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number, plural, time } from "../lib/format.js";
import { historyCharts, ratesChart } from "../lib/history_charts.js";
import { rowsOf } from "../lib/listing.js";
import { facts, objectLink, pageHead, section } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";
import { features } from "./exchanges.js";
import { tryIt } from "./routing.js";

/** @typedef {import("../views.js").Context} Context */

/** @param {{[name: string]: string}} params */
export const title = ({ name = "" }) => `Exchange ${shown(name)}`;

const DEFAULT = "amq.default";

/** @param {string} name in the path */
const shown = (name) => (name === DEFAULT ? "(default exchange)" : name);

/**
 * @param {HTMLElement} container
 * @param {{[name: string]: string}} params
 * @param {Context} context
 */
export function render(container, { vhost = "/", name = "" }, { state, navigate }) {
  const path = url`/api/exchanges/${vhost}/${name}`;
  const isDefault = name === DEFAULT;
  const watching = new Watching();
  const head = h("div");
  const problem = problemBox();
  const about = h("div", { class: "about" });
  const charts = h("div", { class: "charts" });
  const unroutable = h("div");
  container.append(head, problem, about, charts, unroutable);

  let bindingsOut = 0;
  const actions = [
    h("button", { type: "button", onclick: () => publish(path) }, "Publish a message"),
    isDefault
      ? null
      : h(
          "button",
          {
            type: "button",
            class: "danger",
            onclick: async () => {
              if (await remove(path, vhost, name, bindingsOut)) {
                navigate("/exchanges");
              }
            },
          },
          "Delete",
        ),
  ];
  morph(
    head,
    pageHead(shown(name), { trail: [{ title: "Exchanges", href: "/exchanges" }], beside: ["in ", objectLink("vhost", vhost)], actions }),
  );
  watching.watch(
    path,
    (body) => {
      morph(about, aboutExchange(body));
      morph(unroutable, unroutableSection(body.unroutable));
    },
    problem,
  );
  watching.add(
    historyCharts(charts, {
      state,
      path,
      kinds: ["msg_rates"],
      charts: [ratesChart("publish_in", "publish_out", "drop_unroutable")],
    }),
  );
  const trying = tryIt(path, vhost, state);
  container.append(trying.element);
  watching.add(trying.stop);

  for (const side of /** @type {const} */ (["source", "destination"])) {
    if (isDefault) {
      break;
    }
    const isFrom = side === "source";
    const heading = isFrom ? "Bindings from it" : "Bindings to it";
    const place = h("div");
    const addButton = h(
      "button",
      { type: "button", onclick: () => bind(vhost, name, isFrom) },
      isFrom ? "Bind a queue or an exchange" : "Bind to another exchange",
    );
    container.append(section(heading, place, { beside: addButton }));
    const list = table(place, {
      name: isFrom ? "bindings from it" : "bindings to it",
      prefix: isFrom ? "from." : "to.",
      columns: bindingColumns(isFrom),
      state,
      key: (row) => JSON.stringify([row.source, row.destination_type, row.destination, row.properties_key]),
      empty: () => h("p", null, isFrom ? "Nothing is bound to it: what is published to it is lost, or returned if it is mandatory." : "It is bound to no other exchange."),
      actions: [{ label: "Remove", danger: true, run: (rows) => unbind(vhost, rows) }],
    });
    watching.add(() => list.destroy());
    watching.watch(`${path}/bindings/${side}`, (body) => {
      const rows = rowsOf(body);
      if (isFrom) {
        bindingsOut = rows.length;
      }
      list.setRows(rows);
    });
  }
  if (isDefault) {
    container.append(section("Bindings", h("p", null, "Every queue is bound to the default exchange by its own name. That cannot be changed.")));
  }
  return () => watching.stop();
}

/** @param {any} body */
function aboutExchange(body) {
  const delayed = body.type === "x-delayed-message" || body.delayed;
  return facts([
    ["Type", body.type],
    ["Features", features(body)],
    ["Arguments", argumentsList(body.arguments, "none")],
    ["Policy", body.policy ? objectLink("policy", body.policy) : "none"],
    ["Published to it", number(body.message_stats?.publish_in)],
    ["Passed on", number(body.message_stats?.publish_out)],
    ...(delayed
      ? [/** @type {[string, import("../lib/dom.js").Child]} */ (["Delayed", h("a", { href: `/delayed?exchange=${encodeURIComponent(JSON.stringify([body.vhost, body.name]))}` }, "Show the messages that are not due")])]
      : []),
  ]);
}

/**
 * The last messages that reached no queue.
 *
 * @param {any[] | undefined} samples
 */
function unroutableSection(samples) {
  if (!samples || samples.length === 0) {
    return null;
  }
  return section(
    "Messages that reached no queue",
    h(
      "ul",
      { class: "name-values" },
      samples.map((each) =>
        h(
          "li",
          null,
          time(each.timestamp),
          " with the routing key ",
          h("code", null, each.routing_key || "(empty)"),
          each.user ? ` from ${each.user}` : "",
        ),
      ),
    ),
  );
}

/**
 * @param {boolean} isFrom
 * @returns {import("../lib/table.js").Column[]}
 */
function bindingColumns(isFrom) {
  return [
    isFrom
      ? {
          name: "destination",
          title: "To",
          priority: 1,
          show: (row) => [`${row.destination_type} `, objectLink(row.destination_type, row.destination, row.vhost)],
        }
      : { name: "source", title: "From", priority: 1, show: (row) => objectLink("exchange", row.source, row.vhost) },
    { name: "routing_key", title: "Routing key", priority: 1, show: (row) => h("code", null, row.routing_key) },
    { name: "arguments", title: "Arguments", show: (row) => argumentsList(row.arguments, "") },
  ];
}

/**
 * @param {string} vhost
 * @param {string} name
 * @param {boolean} isFrom
 */
function bind(vhost, name, isFrom) {
  return form({
    title: isFrom ? `Bind to ${name}` : `Bind ${name} to another exchange`,
    text: "A message that is published to the source goes to the destination as well, if the binding matches.",
    action: "Bind",
    fields: [
      ...(isFrom
        ? [
            /** @type {import("../lib/dialog.js").Field} */ ({
              name: "kind",
              label: "Destination",
              type: "select",
              options: [
                { value: "q", label: "a queue" },
                { value: "e", label: "an exchange" },
              ],
            }),
          ]
        : []),
      { name: "other", label: isFrom ? "Name of the destination" : "Name of the source", required: true },
      { name: "routing_key", label: "Routing key" },
      { name: "arguments", label: "Arguments", type: "textarea", hint: ARGUMENTS_HINT },
    ],
    submit: async ({ kind = "e", other, routing_key, arguments: text }) => {
      const [source, destination] = isFrom ? [name, other] : [other, name];
      const body = { routing_key, arguments: parseArguments(text) };
      await send("POST", url`/api/bindings/${vhost}/e/${source}/${kind}/${destination}`, body);
      notice(`Bound ${destination} to ${source}.`);
    },
  });
}

/**
 * @param {string} vhost
 * @param {{[name: string]: any}[]} rows
 */
async function unbind(vhost, rows) {
  const isSure = await confirm({
    title: `Remove ${plural(rows.length, "binding")}?`,
    text: "What only these bindings route reaches its destination no more. Messages that are in queues stay.",
    loses: rows.map((row) => `${row.source} → ${row.destination} (${row.routing_key || "no routing key"})`),
    action: "Remove",
    danger: true,
  });
  if (!isSure) {
    return;
  }
  const paths = rows.map(
    ({ source, destination, destination_type: type, properties_key: key }) =>
      url`/api/bindings/${vhost}/e/${source}/${type.slice(0, 1)}/${destination}/` + key,
  );
  await attempt(
    () => Promise.all(paths.map((each) => send("DELETE", each))),
    () => `Removed ${plural(rows.length, "binding")}.`,
  );
}

/** @param {string} path */
function publish(path) {
  return form({
    title: "Publish a message",
    action: "Publish",
    fields: [
      { name: "routing_key", label: "Routing key" },
      { name: "headers", label: "Headers", type: "textarea", hint: ARGUMENTS_HINT },
      { name: "properties", label: "Properties", type: "textarea", hint: `${ARGUMENTS_HINT} Such as content_type=application/json.` },
      { name: "persistent", label: "Persistent: it survives a restart in a durable queue", type: "checkbox", value: true },
      { name: "payload", label: "Payload", type: "textarea" },
    ],
    submit: async ({ routing_key, headers, properties, persistent, payload }) => {
      const given = parseArguments(headers);
      const body = {
        routing_key,
        payload,
        payload_encoding: "string",
        properties: {
          ...parseArguments(properties),
          ...(persistent ? { delivery_mode: 2 } : {}),
          ...(Object.keys(given).length > 0 ? { headers: given } : {}),
        },
      };
      const { routed } = await send("POST", `${path}/publish`, body);
      notice(routed ? "Published, and routed to a queue." : "Published, but it reached no queue.", routed ? "done" : "error");
    },
  });
}

/**
 * @param {string} path
 * @param {string} vhost
 * @param {string} name
 * @param {number} bindings
 */
async function remove(path, vhost, name, bindings) {
  const isSure = await confirm({
    title: `Delete the exchange ${name}?`,
    text: "Publishing to a deleted exchange closes the channel of the publisher. Messages that are in queues stay.",
    loses: [`the exchange ${name} in ${vhost}`, plural(bindings, "binding from it", "bindings from it")],
    action: "Delete",
    danger: true,
  });
  return isSure && attempt(() => send("DELETE", path), () => `Deleted the exchange ${name}.`);
}
