/**
 * Charts of the history of one object, live. The range and the zoom are in the address, and all charts of a
 * view have the same.
 */

import { chart } from "./chart.js";
import { DEFAULT_RANGE, historyQuery, levels, rangeFrom, rangeOf, rates } from "./history.js";
import { watch } from "./live.js";

/**
 * @typedef {object} HistorySeries
 * @property {string} name
 * @property {string} color
 * @property {(body: any) => import("./history.js").Details | undefined} of the details with the samples
 * @property {boolean} [counter] whether the samples are those of a counter, so that its rate is drawn
 *
 * @typedef {object} HistoryChart
 * @property {string} label
 * @property {string} unit
 * @property {HistorySeries[]} series
 *
 * @typedef {object} HistoryOptions
 * @property {import("./state.js").State} state
 * @property {string} path of the object
 * @property {string[]} kinds of history: lengths, msg_rates, data_rates, node_stats
 * @property {HistoryChart[]} charts
 * @property {(body: any) => void} [onBody] is called with each answer
 */

/** Each meaning has one colour, wherever it is drawn. */
export const COLORS = {
  publish: "var(--series-publish)",
  deliver: "var(--series-deliver)",
  acknowledge: "var(--series-ack)",
  redeliver: "var(--series-redeliver)",
  confirm: "var(--series-confirm)",
  unroutable: "var(--series-unroutable)",
  ready: "var(--series-ready)",
  unacknowledged: "var(--series-unacked)",
  total: "var(--series-total)",
  received: "var(--series-publish)",
  sent: "var(--series-deliver)",
};

/** @type {{[field: string]: [name: string, color: string]}} by names of the message statistics */
const RATES = {
  publish: ["Published", COLORS.publish],
  publish_in: ["Published to it", COLORS.publish],
  publish_out: ["Routed to queues", COLORS.deliver],
  deliver_get: ["Delivered", COLORS.deliver],
  ack: ["Acknowledged", COLORS.acknowledge],
  redeliver: ["Redelivered", COLORS.redeliver],
  drop_unroutable: ["Unroutable", COLORS.unroutable],
};

/**
 * The rates of some of the message statistics.
 *
 * @param {...string} fields
 * @returns {HistoryChart}
 */
export function ratesChart(...fields) {
  const series = fields.map((field) => {
    const [name, color] = RATES[field];
    return { name, color, counter: true, of: (/** @type {any} */ body) => body.message_stats?.[`${field}_details`] };
  });
  return { label: "Rates", unit: "/s", series };
}

/**
 * The messages of a queue, or of all of them.
 *
 * @param {(body: any) => any} of what has messages_details and so on
 * @returns {HistoryChart}
 */
export function depthChart(of) {
  return {
    label: "Messages",
    unit: "messages",
    series: [
      { name: "Ready", color: COLORS.ready, of: (body) => of(body)?.messages_ready_details },
      {
        name: "Unacknowledged",
        color: COLORS.unacknowledged,
        of: (body) => of(body)?.messages_unacknowledged_details,
      },
      { name: "Total", color: COLORS.total, of: (body) => of(body)?.messages_details },
    ],
  };
}

/**
 * @param {HTMLElement} container
 * @param {HistoryOptions} options
 * @returns {() => void} ends them
 */
export function historyCharts(container, { state, path, kinds, charts, onBody }) {
  /** @type {any} */
  let body = {};
  let shown = "";
  let stop = () => {};
  /** @returns {[number, number] | null} */
  const zoom = () => {
    const [from, to] = state.get("zoom").split("-").map(Number);
    return from && to && from < to ? [from, to] : null;
  };
  const range = () => rangeOf(state.get("range")).name;
  /** @param {HistoryChart} given */
  const seriesOf = ({ series }) =>
    series.map(({ name, color, of, counter }) => ({
      name,
      color,
      values: counter ? rates(of(body)) : levels(of(body)),
    }));
  const drawn = charts.map((given, index) => ({
    given,
    chart: chart(container, {
      series: seriesOf(given),
      unit: given.unit,
      label: given.label,
      range: range(),
      zoom: zoom(),
      // The range is that of all charts: one place to choose it is enough.
      onRange:
        index > 0
          ? undefined
          : (name) => state.set({ range: name === DEFAULT_RANGE ? null : name, zoom: null }),
      onZoom: (times) => state.set({ zoom: times ? times.join("-") : null }, { push: true }),
    }),
  }));
  const draw = () => {
    for (const each of drawn) {
      each.chart.update(seriesOf(each.given), { range: range(), zoom: zoom() });
    }
  };
  const load = () => {
    const from = zoom()?.[0];
    const wanted = from ? rangeFrom(from, Date.now()).name : range();
    draw();
    if (wanted === shown) {
      return;
    }
    shown = wanted;
    stop();
    stop = watch(`${path}${path.includes("?") ? "&" : "?"}${historyQuery(wanted, kinds)}`, (answer) => {
      body = answer;
      draw();
      onBody?.(answer);
    });
  };
  const unlisten = state.listen(load);
  load();
  return () => {
    unlisten();
    stop();
    drawn.forEach((each) => each.chart.destroy());
  };
}
