/** The try-it box of an exchange: which queues a message would reach, and through which bindings. */

import { send } from "../lib/api.js";
import { ARGUMENTS_HINT, parseArguments } from "../lib/arguments.js";
import { errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { plural } from "../lib/format.js";
import { objectLink, section } from "../lib/page.js";

/**
 * @typedef {{source: string, routing_key: string, arguments: {[name: string]: unknown},
 *   destination: string, destination_type: string}} Step
 * @typedef {{name: string, via: Step[]}} Reached
 */

/**
 * @param {string} path of the exchange in the API
 * @param {string} vhost
 * @param {import("../lib/state.js").State} state
 * @returns {{element: HTMLElement, stop: () => void}}
 */
export function tryIt(path, vhost, state) {
  const key = h("input", { id: "try-key", type: "text", value: state.get("key"), autocomplete: "off", spellcheck: "false" });
  const headers = h("textarea", { id: "try-headers", rows: 2, spellcheck: "false" });
  headers.value = state.get("headers");
  const result = h("div", { class: "try-result", role: "status", "aria-live": "polite" });
  const ask = async () => {
    try {
      const body = { routing_key: key.value, headers: parseArguments(headers.value) };
      const { queues } = await send("POST", `${path}/route`, body);
      morph(result, answer(queues, vhost));
    } catch (error) {
      morph(result, h("div", { class: "problem" }, errorText(error)));
    }
  };
  const box = h(
    "form",
    {
      class: "try-it",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        state.set({ key: key.value, headers: headers.value, try: "1" });
        ask();
      },
    },
    h("p", { class: "field" }, h("label", { for: "try-key" }, "Routing key"), key),
    h("p", { class: "field" }, h("label", { for: "try-headers" }, "Headers"), headers, h("small", { class: "hint" }, ARGUMENTS_HINT)),
    h("button", { type: "submit", class: "primary" }, "Show where it goes"),
  );
  if (state.get("try")) {
    ask();
  }
  const element = section("Where would a message go?", [box, result], { class: "try" });
  return { element, stop: () => {} };
}

/**
 * @param {Reached[]} queues
 * @param {string} vhost
 */
function answer(queues, vhost) {
  if (queues.length === 0) {
    return h("p", null, "It would reach no queue: the broker drops it, or returns it if it is mandatory.");
  }
  return [
    h("p", null, `It would reach ${plural(queues.length, "queue")}:`),
    h(
      "ul",
      { class: "reached" },
      queues.map(({ name, via }) =>
        h("li", { key: name }, objectLink("queue", name, vhost), " through ", via.length === 0 ? "its own name" : via.map((step, index) => [index > 0 ? ", then " : "", stepText(step)])),
      ),
    ),
  ];
}

/** @param {Step} step */
function stepText({ source, routing_key, arguments: given, destination }) {
  const headers = Object.keys(given ?? {}).length > 0 ? [" and ", h("code", null, JSON.stringify(given))] : null;
  const key = routing_key ? [" with the key ", h("code", null, routing_key)] : " without a key";
  return [h("code", null, `${source || "(default exchange)"} → ${destination}`), key, headers];
}
