/** What is done to messages that somebody has selected in a queue, and to all dead letters of it. */

import { send } from "./api.js";
import { confirm, form, notice, errorText } from "./dialog.js";
import { number, plural } from "./format.js";
import { pathOf } from "./queue_actions.js";

/**
 * @typedef {import("./message.js").Message} Message
 * @typedef {{name: string, vhost: string}} Place
 */

const AT_ONCE = 500;
/** Messages that one request is about. */

/** @param {Message[]} messages */
const positionsOf = (messages) => messages.map(({ position }) => position);

/**
 * Moves messages to another queue, or copies them.
 *
 * @param {"move" | "copy"} how
 * @param {Message[]} messages
 * @param {Place} place
 * @param {string[]} others names of other queues
 */
export function transfer(how, messages, place, others) {
  const isMove = how === "move";
  const verb = isMove ? "Move" : "Copy";
  return form({
    title: `${verb} ${plural(messages.length, "message")} of ${place.name}`,
    text: isMove
      ? "They leave this queue. A crash neither loses nor doubles one."
      : "They stay in this queue as well.",
    fields: [
      { name: "queue", label: "To the queue", suggestions: others },
      { name: "exchange", label: "or to the exchange", hint: "With the routing key of each message." },
    ],
    action: verb,
    submit: async ({ queue, exchange }) => {
      const target = queue ? { queue } : { exchange };
      let done = 0;
      for (const positions of parts(positionsOf(messages))) {
        const answer = await send("POST", `${pathOf(place)}/${how}`, { ...target, positions });
        done += answer.moved ?? answer.copied;
      }
      tell(done, messages.length, isMove ? "Moved" : "Copied", ` to ${queue || exchange}`);
    },
  });
}

/**
 * Moves dead letters back to where they died.
 *
 * @param {Message[]} messages
 * @param {Place} place
 */
export async function sendBack(messages, place) {
  const origins = new Set(messages.map(originOf));
  const without = messages.filter((message) => originOf(message) === null).length;
  const names = [...origins].filter((name) => name !== null);
  const sure = await confirm({
    title: `Send ${plural(messages.length, "message")} back?`,
    text: [
      names.length > 0
        ? `They go back to ${names.join(", ")}, from which they were dead-lettered, and leave this queue.`
        : "None of them was dead-lettered.",
      without > 0 ? ` ${plural(without, "message")} that never died ${without === 1 ? "stays" : "stay"} here.` : "",
    ],
    action: "Send back",
  });
  if (!sure) {
    return false;
  }
  return reported(async () => {
    let done = 0;
    for (const positions of parts(positionsOf(messages))) {
      done += (await send("POST", `${pathOf(place)}/replay`, { positions })).replayed;
    }
    tell(done, messages.length, "Sent back", "");
  });
}

/**
 * Moves all dead letters of a queue back to where they died.
 *
 * @param {Place & {messages_ready?: number}} place
 */
export async function sendAllBack(place) {
  const wanted = place.messages_ready ?? 0;
  const sure = await confirm({
    title: `Send all dead letters of ${place.name} back?`,
    text: `Of ${plural(wanted, "message")} that ${wanted === 1 ? "is" : "are"} ready, each goes back to the queue from which it was dead-lettered last. What never died stays here.`,
    action: "Send all back",
  });
  if (!sure) {
    return false;
  }
  return reported(async () => {
    let done = 0;
    let offset = 0;
    for (let left = wanted; left > 0; ) {
      const answer = await send("POST", `${pathOf(place)}/replay`, { offset, count: Math.min(left, AT_ONCE) });
      done += answer.replayed;
      offset += answer.left_out;
      left -= Math.max(1, answer.replayed + answer.left_out);
      if (answer.replayed + answer.left_out === 0) {
        break;
      }
    }
    tell(done, done, "Sent back", offset > 0 ? `; ${number(offset)} never died and stay` : "");
  });
}

/**
 * @param {Message[]} messages
 * @param {Place} place
 */
export async function discard(messages, place) {
  const sure = await confirm({
    title: `Delete ${plural(messages.length, "message")}?`,
    text: `They leave ${place.name}, and none becomes a dead letter.`,
    loses: messages.slice(0, 5).map(({ routing_key: key, payload_bytes: size }) => `${key || "(no routing key)"}, ${number(size)} B`).concat(messages.length > 5 ? [`and ${number(messages.length - 5)} more`] : []),
    action: "Delete",
    danger: true,
  });
  if (!sure) {
    return false;
  }
  return reported(async () => {
    let done = 0;
    for (const positions of parts(positionsOf(messages))) {
      done += (await send("POST", `${pathOf(place)}/discard`, { positions })).discarded;
    }
    tell(done, messages.length, "Deleted", "");
  });
}

/**
 * @param {Message} message
 * @returns {string | null} the queue in which it died last
 */
function originOf(message) {
  const deaths = message.properties.headers?.["x-death"];
  return Array.isArray(deaths) && deaths.length > 0 ? String(deaths[0].queue) : null;
}

/** @param {() => Promise<void>} action */
async function reported(action) {
  try {
    await action();
    return true;
  } catch (error) {
    notice(errorText(error), "error");
    return false;
  }
}

/**
 * @param {number} done
 * @param {number} wanted
 * @param {string} verb
 * @param {string} where
 */
function tell(done, wanted, verb, where) {
  const left = wanted - done;
  notice(
    `${verb}: ${plural(done, "message")}${where}.${left > 0 ? ` ${number(left)} had left the queue meanwhile, or could not be.` : ""}`,
    left > 0 ? "error" : "done",
  );
}

/** @param {string[]} all */
function parts(all) {
  const found = [];
  for (let at = 0; at < all.length; at += AT_ONCE) {
    found.push(all.slice(at, at + AT_ONCE));
  }
  return found;
}
