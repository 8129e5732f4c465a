/** What is done to queues: each action says before what will happen, and after what did. */

import { send, url } from "./api.js";
import { confirm, form, notice, errorText } from "./dialog.js";
import { h } from "./dom.js";
import { number, plural } from "./format.js";
import { argumentsText, parseArguments } from "./arguments.js";

/**
 * @typedef {{name: string, vhost: string, messages?: number, messages_ready?: number,
 *   messages_unacknowledged?: number, consumers?: number, state?: string, arguments?: any}} Queue
 */

/** @param {Queue} queue */
export function pathOf({ vhost, name }) {
  return url`/api/queues/${vhost}/${name}`;
}

/**
 * Does something to each queue, and says how it went.
 *
 * @param {Queue[]} queues
 * @param {(queue: Queue) => Promise<unknown>} action
 * @param {string} done what was done, "Purged" for example
 */
async function each(queues, action, done) {
  let count = 0;
  for (const queue of queues) {
    try {
      await action(queue);
      count += 1;
    } catch (error) {
      notice([h("strong", null, `${queue.name}: `), errorText(error)], "error");
    }
  }
  if (count > 0) {
    notice(count === 1 ? `${done}: ${queues[0].name}.` : `${done}: ${plural(count, "queue")}.`);
  }
  return count;
}

/** @param {Queue[]} queues */
const named = (queues) => (queues.length === 1 ? `queue ${queues[0].name}` : plural(queues.length, "queue"));

/**
 * @param {Queue[]} queues
 * @param {"messages" | "messages_ready"} field
 */
const sum = (queues, field) => queues.reduce((total, queue) => total + (queue[field] ?? 0), 0);

/**
 * What has to be typed: the name, if there is something to lose.
 *
 * @param {Queue[]} queues
 * @param {number} messages
 */
function typedFor(queues, messages) {
  if (messages === 0) {
    return undefined;
  }
  return queues.length === 1 ? queues[0].name : String(queues.length);
}

/**
 * @param {Queue[]} queues
 * @param {(queue: Queue) => string} line
 */
function lines(queues, line) {
  const shown = queues.slice(0, 8).map(line);
  return queues.length > 8 ? [...shown, `and ${plural(queues.length - 8, "more queue")}`] : shown;
}

/** @param {Queue[]} queues */
export async function purge(queues) {
  const ready = sum(queues, "messages_ready");
  const sure = await confirm({
    title: `Purge ${named(queues)}?`,
    text: "Messages that are ready are deleted. Those that consumers hold unacknowledged stay, and so do queue and bindings.",
    loses: lines(queues, (queue) => `${plural(queue.messages_ready ?? 0, "message")} of ${queue.name}`),
    action: "Purge",
    danger: true,
    typed: typedFor(queues, ready),
  });
  return sure && (await each(queues, (queue) => send("DELETE", `${pathOf(queue)}/contents`), "Purged")) > 0;
}

/** @param {Queue[]} queues */
export async function remove(queues) {
  const messages = sum(queues, "messages");
  const sure = await confirm({
    title: `Delete ${named(queues)}?`,
    text: "Queue, bindings and messages are deleted, and consumers are cancelled. Publishers go on; what they publish with its key is lost or returned.",
    loses: lines(
      queues,
      (queue) =>
        `${queue.name} with ${plural(queue.messages ?? 0, "message")} and ${plural(queue.consumers ?? 0, "consumer")}`,
    ),
    action: "Delete",
    danger: true,
    typed: typedFor(queues, messages),
  });
  return sure && (await each(queues, (queue) => send("DELETE", pathOf(queue)), "Deleted")) > 0;
}

/** @param {Queue[]} queues */
export async function pause(queues) {
  const sure = await confirm({
    title: `Pause ${named(queues)}?`,
    text: "Clients get no messages until it is resumed, after a restart, too. Publishers go on, and the queue grows. Nothing is lost.",
    action: "Pause",
  });
  return sure && (await each(queues, (queue) => send("PUT", `${pathOf(queue)}/pause`), "Paused")) > 0;
}

/** @param {Queue[]} queues */
export function resume(queues) {
  return each(queues, (queue) => send("DELETE", `${pathOf(queue)}/pause`), "Resumed");
}

/**
 * Moves all that is ready to another queue.
 *
 * @param {Queue} queue
 * @param {string[]} others names of queues in the same virtual host
 */
export function moveAll(queue, others) {
  return form({
    title: `Move all messages of ${queue.name}`,
    text: `${plural(queue.messages_ready ?? 0, "message")} that ${queue.messages_ready === 1 ? "is" : "are"} ready, in batches that a crash neither loses nor doubles.`,
    fields: [
      { name: "to", label: "To the queue", required: true, suggestions: others, hint: "In the same virtual host." },
    ],
    action: "Move",
    submit: async ({ to }) => {
      const wanted = queue.messages_ready ?? 0;
      let moved = 0;
      // The broker moves a bounded number a request. What comes in meanwhile is left, or a queue
      // that is published to would be moved for ever.
      for (let last = 1; moved < wanted && last > 0; moved += last) {
        last = (await send("POST", `${pathOf(queue)}/move`, { queue: to, count: wanted - moved })).moved;
      }
      notice(`Moved: ${plural(moved, "message")} to ${to}.`);
    },
  });
}

/**
 * Publishes a message to a queue, through the default exchange.
 *
 * @param {Queue} queue
 */
export function publish(queue) {
  return form({
    title: `Publish to ${queue.name}`,
    fields: [
      { name: "payload", label: "Body", type: "textarea" },
      { name: "contentType", label: "Content type", suggestions: ["application/json", "text/plain"] },
      { name: "headers", label: "Headers", type: "textarea", hint: "One a line: tenant=42" },
      { name: "persistent", label: "Persistent", type: "checkbox", value: true, hint: "It is there after a restart." },
    ],
    action: "Publish",
    submit: async ({ payload, contentType, headers, persistent }) => {
      const properties = {
        delivery_mode: persistent ? 2 : 1,
        headers: parseArguments(headers),
        ...(contentType ? { content_type: contentType } : {}),
      };
      const body = { routing_key: queue.name, payload, payload_encoding: "string", properties };
      const { routed } = await send("POST", url`/api/exchanges/${queue.vhost}/amq.default/publish`, body);
      notice(routed ? `Published to ${queue.name}.` : "Not published: the queue refused it.", routed ? "done" : "error");
    },
  });
}

/**
 * Changes the arguments of a queue while it serves.
 *
 * @param {Queue} queue
 */
export function changeArguments(queue) {
  const before = queue.arguments ?? {};
  return form({
    title: `Arguments of ${queue.name}`,
    text: "They hold at once, for messages that wait, too. What a queue is (its type, its priorities) cannot be changed.",
    fields: [
      {
        name: "arguments",
        label: "Arguments",
        type: "textarea",
        value: argumentsText(before),
        hint: "One a line: x-message-ttl=60000. Remove a line to remove the argument.",
      },
    ],
    action: "Change",
    submit: async (values) => {
      const wanted = parseArguments(values.arguments);
      /** @type {{[name: string]: any}} */
      const changes = {};
      for (const name of new Set([...Object.keys(before), ...Object.keys(wanted)])) {
        if (JSON.stringify(before[name]) !== JSON.stringify(wanted[name])) {
          changes[name] = wanted[name] ?? null;
        }
      }
      await send("PATCH", pathOf(queue), { arguments: changes });
      notice(`Changed: ${plural(Object.keys(changes).length, "argument")} of ${queue.name}.`);
    },
  });
}

/**
 * Declares a queue.
 *
 * @param {string[]} vhosts
 * @param {string} vhost
 * @param {(queue: Queue) => void} done
 */
export function declare(vhosts, vhost, done) {
  return form({
    title: "New queue",
    fields: [
      { name: "name", label: "Name", required: true },
      {
        name: "vhost",
        label: "Virtual host",
        type: "select",
        value: vhost || vhosts[0],
        options: vhosts.map((value) => ({ value, label: value })),
      },
      { name: "durable", label: "Durable", type: "checkbox", value: true, hint: "It is there after a restart." },
      { name: "autoDelete", label: "Delete it with its last consumer", type: "checkbox" },
      {
        name: "arguments",
        label: "Arguments",
        type: "textarea",
        hint: "One a line: x-message-ttl=60000, x-max-length=100000, x-dead-letter-exchange=dead, x-max-priority=10, x-queue-type=quorum",
      },
    ],
    action: "Declare",
    submit: async (values) => {
      const queue = { vhost: values.vhost, name: values.name };
      await send("PUT", pathOf(queue), {
        durable: values.durable,
        auto_delete: values.autoDelete,
        arguments: parseArguments(values.arguments),
      });
      notice(`Declared: queue ${queue.name}.`);
      done(queue);
    },
  });
}

/** @param {number} count */
export function messagesText(count) {
  return `${number(count)} ${count === 1 ? "message" : "messages"}`;
}
