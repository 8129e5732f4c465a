/** What an empty broker shows: the lines that fill it. */

import { copy } from "./copying.js";
import { h } from "./dom.js";

/**
 * @param {string} [host] of the AMQP listener
 * @param {number} [port]
 */
export function firstSteps(host = location.hostname, port = 5672) {
  const lines = [
    "import pika",
    `connection = pika.BlockingConnection(pika.ConnectionParameters("${host}", ${port}))`,
    "channel = connection.channel()",
    'channel.queue_declare("hello", durable=True)',
    'for number in range(1000): channel.basic_publish("", "hello", b"message %d" % number)',
  ].join("\n");
  return h(
    "div",
    { class: "first-steps" },
    h("p", null, "Nothing is here yet. These lines of Python fill it (", h("code", null, "pip install pika"), "):"),
    h("pre", { tabindex: 0, "aria-label": "Lines of Python" }, h("code", null, lines)),
    h("button", { type: "button", onclick: () => copy(lines, "the lines") }, "Copy"),
  );
}
