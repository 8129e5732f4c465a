/** The settings of a queue: what they mean, and what holds if neither argument nor policy has them. */

import { bytes, duration, number, plain } from "./format.js";

/**
 * @typedef {object} Setting
 * @property {string} name as in a policy; the argument has x- before it
 * @property {string} means
 * @property {string} otherwise the default, in words
 * @property {(value: any) => string} [show]
 */

const ms = (/** @type {any} */ value) => `${number(value)} ms (${duration(value)})`;
const size = (/** @type {any} */ value) => `${number(value)} (${bytes(value)})`;

/** @type {Setting[]} */
export const SETTINGS = [
  { name: "message-ttl", means: "Messages expire after", otherwise: "never", show: ms },
  { name: "expires", means: "The unused queue is deleted after", otherwise: "never", show: ms },
  { name: "max-length", means: "Ready messages at most", otherwise: "no limit", show: number },
  { name: "max-length-bytes", means: "Bytes of ready messages at most", otherwise: "no limit", show: size },
  { name: "overflow", means: "A full queue", otherwise: "drop-head" },
  { name: "dead-letter-exchange", means: "Dead letters go to the exchange", otherwise: "none: they are dropped", show: (name) => name || "(default exchange)" },
  { name: "dead-letter-routing-key", means: "Routing key of dead letters", otherwise: "their own" },
  { name: "delivery-limit", means: "A message may fail", otherwise: "without limit", show: number },
  { name: "max-priority", means: "Highest priority", otherwise: "no priorities" },
  { name: "single-active-consumer", means: "One consumer at a time", otherwise: "no" },
  { name: "consumer-timeout", means: "Consumers acknowledge within", otherwise: "consumer.timeout of the configuration", show: ms },
  { name: "queue-type", means: "Type", otherwise: "classic" },
];

/**
 * @typedef {{name: string, means: string, value: string, from: "argument" | "default" | "policy",
 *   source: string, isSet: boolean}} ShownSetting
 */

/**
 * The settings of a queue with where each value comes from.
 *
 * @param {any} queue as the API shows it
 * @returns {ShownSetting[]}
 */
export function settingsOf(queue) {
  const from = queue.settings_from ?? {};
  const names = new Set([
    ...SETTINGS.map(({ name }) => name),
    ...Object.keys(from),
    ...Object.keys(queue.arguments ?? {}).map((name) => name.replace(/^x-/, "")),
  ]);
  return [...names].map((name) => {
    const setting = SETTINGS.find((each) => each.name === name);
    const own = queue.arguments?.[`x-${name}`];
    const source = from[name] ?? (own === undefined ? "default" : "arguments");
    const isArgument = source === "arguments";
    const value = isArgument ? own : queue.effective_policy_definition?.[name];
    const isSet = source !== "default";
    return {
      name,
      means: setting?.means ?? name,
      value: isSet ? (setting?.show ?? plain)(value) : (setting?.otherwise ?? ""),
      from: isArgument ? "argument" : isSet ? "policy" : "default",
      source: isArgument ? `argument x-${name}` : source,
      isSet,
    };
  });
}
