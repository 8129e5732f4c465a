/**
 * History as the HTTP API has it: the query that asks for it, and the samples of its answers.
 *
 * (RabbitMQ: HTTP API Reference, the parameters lengths_age, msg_rates_age, data_rates_age and node_stats_age.)
 */

/** @typedef {import("./scales.js").Sample} Sample */
/** @typedef {{timestamp: number, sample: number}} ApiSample */
/** @typedef {{rate?: number, samples?: ApiSample[]}} Details */

/** What a chart can show: its name in the URL, and seconds of the range and between two samples. */
export const RANGES = /** @type {const} */ ([
  { name: "1m", label: "1 min", age_s: 60, step_s: 1 },
  { name: "10m", label: "10 min", age_s: 600, step_s: 5 },
  { name: "1h", label: "1 h", age_s: 3600, step_s: 30 },
  { name: "8h", label: "8 h", age_s: 28800, step_s: 300 },
  { name: "24h", label: "24 h", age_s: 86400, step_s: 900 },
]);

export const DEFAULT_RANGE = "10m";

const KINDS = ["lengths", "msg_rates", "data_rates", "node_stats"];

/**
 * The range of a name, or the default one.
 * @param {string | null | undefined} name
 */
export function rangeOf(name) {
  const found = RANGES.find((each) => each.name === name);
  return found ?? RANGES.find((each) => each.name === DEFAULT_RANGE) ?? RANGES[0];
}

/**
 * The smallest range that reaches back to a time.
 * @param {number} from
 * @param {number} now
 */
export function rangeFrom(from, now) {
  return RANGES.find((each) => now - from <= each.age_s * 1000) ?? RANGES[RANGES.length - 1];
}

/**
 * The query parameters that ask for the samples of a range.
 * @param {string | null | undefined} range
 * @param {readonly string[]} [kinds] lengths, msg_rates, data_rates, node_stats
 */
export function historyQuery(range, kinds = KINDS) {
  const { age_s, step_s } = rangeOf(range);
  return kinds.map((kind) => `${kind}_age=${age_s}&${kind}_incr=${step_s}`).join("&");
}

/** @param {Details | undefined} details */
function inOrder(details) {
  return [...(details?.samples ?? [])].sort((one, other) => one.timestamp - other.timestamp);
}

/**
 * The samples of a level, such as messages_ready_details.
 * @param {Details | undefined} details
 * @returns {Sample[]}
 */
export function levels(details) {
  return inOrder(details).map(({ timestamp, sample }) => [timestamp, sample]);
}

/**
 * Rates a second from the samples of a counter, such as publish_details. Null where the counter began anew.
 * @param {Details | undefined} details
 * @returns {Sample[]}
 */
export function rates(details) {
  const samples = inOrder(details);
  return samples.slice(1).map(({ timestamp, sample }, index) => {
    const before = samples[index];
    const seconds = (timestamp - before.timestamp) / 1000;
    const difference = sample - before.sample;
    return [timestamp, difference < 0 || seconds <= 0 ? null : difference / seconds];
  });
}
