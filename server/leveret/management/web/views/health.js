/** The health checks of the broker, each with its answer. */

import { ApiError, get } from "../lib/api.js";
import { h, morph } from "../lib/dom.js";
import { relative } from "../lib/format.js";
import { pageHead, status } from "../lib/page.js";

export const title = () => "Health";

/** @typedef {{name: string, path: string, asks: string}} Check */

const CHECK = "/api/health/checks";

/** @type {Check[]} */
const CHECKS = [
  { name: "alarms", path: `${CHECK}/alarms`, asks: "Is there no alarm of memory or disk? An alarm blocks publishers." },
  { name: "local-alarms", path: `${CHECK}/local-alarms`, asks: "Is there none on this node?" },
  { name: "protocol-listener/amqp", path: `${CHECK}/protocol-listener/amqp`, asks: "Is there a listener for AMQP?" },
  { name: "virtual-hosts", path: `${CHECK}/virtual-hosts`, asks: "Do all virtual hosts work?" },
  {
    name: "certificate-expiration/1/months",
    path: `${CHECK}/certificate-expiration/1/months`,
    asks: "Is every certificate valid for a month from here?",
  },
  { name: "node-is-quorum-critical", path: `${CHECK}/node-is-quorum-critical`, asks: "Can this node be stopped without a loss of quorum?" },
];

/** @param {HTMLElement} container */
export function render(container) {
  const list = h("ul", { class: "checks" });
  const when = h("span", { class: "hint", role: "status" });
  const begun = Date.now();
  const run = async () => {
    const results = await Promise.all(CHECKS.map(resultOf));
    morph(list, results);
    morph(when, `Asked ${Date.now() - begun < 2000 ? "just now" : relative(Date.now())}`);
  };
  container.append(
    pageHead("Health", { beside: when, actions: h("button", { type: "button", onclick: run }, "Ask again") }),
    h("p", null, "What a load balancer or a monitor can ask, and what it is told. ", h("code", null, "/healthz"), " and ", h("code", null, "/readyz"), " answer without a login."),
    list,
  );
  run();
}

/** @param {Check} check */
async function resultOf({ name, path, asks }) {
  const [kind, word, reason] = await answerOf(path);
  return h(
    "li",
    { key: name },
    status(kind, word),
    " ",
    h("a", { href: path }, h("code", null, name)),
    h("p", null, asks),
    reason ? h("p", { class: "reason" }, reason) : null,
  );
}

/**
 * @param {string} path
 * @returns {Promise<["ok" | "error" | "idle", string, string]>}
 */
async function answerOf(path) {
  try {
    await get(path);
    return ["ok", "ok", ""];
  } catch (error) {
    if (!(error instanceof ApiError)) {
      throw error;
    }
    return error.status === 503 ? ["error", "failed", error.reason] : ["idle", "no answer", error.reason];
  }
}
