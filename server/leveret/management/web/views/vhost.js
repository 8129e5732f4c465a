/** One virtual host: its messages, permissions and limits. */

import { get, send, url } from "../lib/api.js";
import { form, notice } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { depthChart, historyCharts, ratesChart } from "../lib/history_charts.js";
import { facts, pageHead } from "../lib/page.js";
import { problemBox, Watching } from "../lib/watching.js";
import { limitsOf } from "./limits.js";
import { permissions } from "./permissions.js";
import { removeVhost } from "./vhosts.js";

/** @typedef {import("../views.js").Context} Context */

/** @param {{[name: string]: string}} params */
export const title = ({ name = "" }) => `Virtual host ${name}`;

/**
 * @param {HTMLElement} container
 * @param {{[name: string]: string}} params
 * @param {Context} context
 */
export function render(container, { name = "" }, { state, navigate, session }) {
  const path = url`/api/vhosts/${name}`;
  const watching = new Watching();
  const problem = problemBox();
  const about = h("div", { class: "about" });
  const charts = h("div", { class: "charts" });
  const mayChange = session.tags.includes("administrator");
  const remove = async () => {
    if (await removeVhost(name)) {
      navigate("/vhosts");
    }
  };
  container.append(
    pageHead(name, {
      trail: [{ title: "Virtual hosts", href: "/vhosts" }],
      actions: mayChange
        ? [
            h("button", { type: "button", onclick: () => change(path) }, "Change"),
            h("button", { type: "button", class: "danger", onclick: remove }, "Delete"),
          ]
        : null,
    }),
    problem,
    about,
    charts,
  );
  watching.watch(path, (body) => morph(about, aboutVhost(body)), problem);
  watching.add(
    historyCharts(charts, {
      state,
      path,
      kinds: ["lengths", "msg_rates"],
      charts: [
        depthChart((body) => body),
        ratesChart("publish", "deliver_get", "ack"),
      ],
    }),
  );
  if (mayChange) {
    permissions(container, { vhost: name }, state, watching);
    limitsOf(container, "vhost", name, state, watching);
  }
  return () => watching.stop();
}

/** @param {any} body */
function aboutVhost(body) {
  const filter = encodeURIComponent(`vhost=${body.name}`);
  return facts([
    ["Description", body.description || "none"],
    ["Tags", [body.tags ?? []].flat().join(", ") || "none"],
    ["Type of queues without one", body.default_queue_type === "undefined" ? "classic" : body.default_queue_type],
    ["Protected from deletion", body.protected_from_deletion ? "yes" : "no"],
    ["Ready", number(body.messages_ready)],
    ["Unacknowledged", number(body.messages_unacknowledged)],
    ["Queues", h("a", { href: `/queues?filter=${filter}` }, "Show them")],
    ["Exchanges", h("a", { href: `/exchanges?filter=${filter}` }, "Show them")],
    ["Topology", h("a", { href: `/topology?vhost=${encodeURIComponent(body.name)}` }, "Show it")],
  ]);
}

/** @param {string} path */
async function change(path) {
  const vhost = await get(path);
  await form({
    title: `Change the virtual host ${vhost.name}`,
    action: "Change",
    fields: [
      { name: "description", label: "Description", value: vhost.description ?? "" },
      { name: "tags", label: "Tags", value: [vhost.tags ?? []].flat().join(","), hint: "With commas between." },
      {
        name: "protected_from_deletion",
        label: "Protected from deletion",
        type: "checkbox",
        value: Boolean(vhost.protected_from_deletion),
      },
    ],
    submit: async (values) => {
      await send("PUT", path, values);
      notice(`Changed the virtual host ${vhost.name}.`);
    },
  });
}
