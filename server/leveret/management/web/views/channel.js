/** One channel: what it has outstanding, its rates, and its consumers. */

import { url } from "../lib/api.js";
import { h, morph } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { historyCharts, ratesChart } from "../lib/history_charts.js";
import { facts, objectLink, pageHead, section } from "../lib/page.js";
import { table } from "../lib/table.js";
import { problemBox, Watching } from "../lib/watching.js";
import { channelMode, channelState } from "./channels.js";
import { cancelConsumers, CONSUMER_COLUMNS, consumerKey } from "./consumers.js";

/** @typedef {import("../views.js").Context} Context */

/** @param {{[name: string]: string}} params */
export const title = ({ name = "" }) => `Channel ${name}`;

/**
 * @param {HTMLElement} container
 * @param {{[name: string]: string}} params
 * @param {Context} context
 */
export function render(container, { name = "" }, { state }) {
  const path = url`/api/channels/${name}`;
  const watching = new Watching();
  const problem = problemBox();
  const about = h("div", { class: "about" });
  const charts = h("div", { class: "charts" });
  const consumers = h("div");
  container.append(
    pageHead(name, { trail: [{ title: "Channels", href: "/channels" }] }),
    problem,
    about,
    charts,
    section("Consumers", consumers),
  );
  const list = table(consumers, {
    name: "consumers",
    columns: CONSUMER_COLUMNS.filter(({ name: column }) => !column.startsWith("channel_details")),
    state,
    key: consumerKey,
    empty: () => h("p", null, "It has no consumer."),
    actions: [{ label: "Cancel", danger: true, run: cancelConsumers }],
  });
  watching.add(() => list.destroy());
  watching.watch(
    path,
    (body) => {
      morph(about, aboutChannel(body));
      list.setRows(body.consumer_details ?? []);
    },
    problem,
  );
  watching.add(
    historyCharts(charts, {
      state,
      path,
      kinds: ["msg_rates"],
      charts: [ratesChart("publish", "deliver_get", "ack")],
    }),
  );
  return () => watching.stop();
}

/** @param {any} body */
function aboutChannel(body) {
  return facts([
    ["State", channelState(body.state)],
    ["Connection", objectLink("connection", body.connection_details?.name ?? "")],
    ["User", objectLink("user", body.user)],
    ["Virtual host", objectLink("vhost", body.vhost)],
    ["Mode", channelMode(body) || "neither confirms nor transactions"],
    ["Prefetch of each consumer", body.prefetch_count ? number(body.prefetch_count) : "no limit"],
    ["Prefetch of the channel", body.global_prefetch_count ? number(body.global_prefetch_count) : "no limit"],
    ["Unacknowledged", number(body.messages_unacknowledged)],
    ["Unconfirmed", number(body.messages_unconfirmed)],
  ]);
}
