/** One connection: who it is, what it sends, and its channels. */

import { ApiError, send, url } from "../lib/api.js";
import { argumentsList } from "../lib/arguments.js";
import { form, notice } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { bytes, duration, number, plural, time } from "../lib/format.js";
import { COLORS, historyCharts } from "../lib/history_charts.js";
import { rowsOf } from "../lib/listing.js";
import { facts, objectLink, pageHead, section } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";
import { CHANNEL_COLUMNS } from "./channels.js";
import { clientName, connectionState } from "./connections.js";

/** @typedef {import("../views.js").Context} Context */

/** @param {{[name: string]: string}} params */
export const title = ({ name = "" }) => `Connection ${name}`;

/**
 * Asks for a reason and closes connections.
 *
 * @param {string[]} names
 * @returns {Promise<boolean>} whether they were closed
 */
export function closeConnections(names) {
  return form({
    title: `Close ${names.length === 1 ? "the connection" : plural(names.length, "connection")}?`,
    text: [
      h("p", null, "What these clients have not acknowledged goes back to its queues, and is delivered again. Their exclusive queues are deleted with all messages. Most clients connect again by themselves."),
      h(
        "ul",
        null,
        names.map((name) => h("li", null, name)),
      ),
    ],
    action: "Close",
    danger: true,
    fields: [{ name: "reason", label: "Reason", hint: "The client gets it, and the log has it." }],
    submit: async ({ reason }) => {
      // A header has Latin characters only.
      const latin = reason.replace(/[^\x20-\x7e\xa0-\xff]/g, "?");
      /** @type {{[name: string]: string}} */
      const headers = latin ? { "X-Reason": latin } : {};
      await Promise.all(names.map((name) => closeOne(name, headers)));
      notice(`Closed ${plural(names.length, "connection")}.`);
    },
  });
}

/**
 * @param {string} name
 * @param {{[name: string]: string}} headers
 */
async function closeOne(name, headers) {
  try {
    await send("DELETE", url`/api/connections/${name}`, undefined, headers);
  } catch (error) {
    // It went away by itself.
    if (!(error instanceof ApiError && error.status === 404)) {
      throw error;
    }
  }
}

/**
 * @param {HTMLElement} container
 * @param {{[name: string]: string}} params
 * @param {Context} context
 */
export function render(container, { name = "" }, { state, navigate }) {
  const path = url`/api/connections/${name}`;
  const watching = new Watching();
  const problem = problemBox();
  const about = h("div", { class: "about" });
  const charts = h("div", { class: "charts" });
  const channels = h("div");
  const close = async () => {
    if (await closeConnections([name])) {
      navigate("/connections");
    }
  };
  container.append(
    pageHead(name, {
      trail: [{ title: "Connections", href: "/connections" }],
      actions: h("button", { type: "button", class: "danger", onclick: close }, "Close"),
    }),
    problem,
    about,
    charts,
    section("Channels", channels),
  );
  watching.watch(path, (body) => morph(about, aboutConnection(body)), problem);
  watching.add(
    historyCharts(charts, {
      state,
      path,
      kinds: ["data_rates"],
      charts: [
        {
          label: "Data",
          unit: "B/s",
          series: [
            { name: "received", color: COLORS.received, counter: true, of: (body) => body.recv_oct_details },
            { name: "sent", color: COLORS.sent, counter: true, of: (body) => body.send_oct_details },
          ],
        },
      ],
    }),
  );
  const list = table(channels, {
    name: "channels",
    columns: CHANNEL_COLUMNS,
    state,
    key: (row) => row.name,
    href: (row) => url`/channels/${row.name}`,
    empty: () => h("p", null, "It has no channel open."),
  });
  watching.add(() => list.destroy());
  watching.watch(`${path}/channels`, (body) => list.setRows(rowsOf(body)));
  return () => watching.stop();
}

/** @param {any} body */
function aboutConnection(body) {
  return [
    facts([
      ["State", connectionState(body.state)],
      ["Name given by the client", body.user_provided_name || "none"],
      ["User", objectLink("user", body.user)],
      ["Virtual host", objectLink("vhost", body.vhost)],
      ["Connected", time(body.connected_at)],
      ["Client", clientName(body.client_properties)],
      ["From", `${body.peer_host}:${body.peer_port}`],
      ["Login", body.auth_mechanism],
      ["TLS", body.ssl ? `${body.ssl_protocol}, ${body.ssl_cipher}` : "no"],
      ["Heartbeat", body.timeout ? duration(body.timeout * 1000) : "none"],
      ["Largest frame", bytes(body.frame_max)],
      ["Channels", `${number(body.channels)} of at most ${number(body.channel_max)}`],
    ]),
    h(
      "details",
      { key: "properties" },
      h("summary", null, "Client properties"),
      argumentsList(body.client_properties, "none"),
    ),
  ];
}
