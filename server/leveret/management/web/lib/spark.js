/** A spark line: the shape of a short history beside a number. It has no axes. */

import { s } from "./dom.js";

const WIDTH = 72;
const HEIGHT = 18;

/**
 * @param {number[]} values the oldest first
 * @param {string} what names the values for screen readers
 * @returns {SVGSVGElement}
 */
export function spark(values, what) {
  const most = Math.max(1, ...values);
  const step = values.length > 1 ? WIDTH / (values.length - 1) : WIDTH;
  const points = values.map((value, index) => {
    const x = (index * step).toFixed(1);
    const y = (HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1);
    return `${x},${y}`;
  });
  const last = values[values.length - 1] ?? 0;
  const label = values.length > 1 ? `${what}: ${trend(values)}, now ${last}` : `${what}: no history`;
  return s(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      role: "img",
      "aria-label": label,
    },
    points.length > 1
      ? [
          s("polygon", { points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}` }),
          s("polyline", { points: points.join(" ") }),
        ]
      : null,
  );
}

/** @param {number[]} values */
function trend(values) {
  const first = values[0] ?? 0;
  const last = values[values.length - 1] ?? 0;
  if (Math.abs(last - first) <= 0.05 * Math.max(first, last)) {
    return "steady";
  }
  return last > first ? "growing" : "falling";
}

/**
 * The values of RabbitMQ's samples, the oldest first.
 *
 * @param {{samples?: {sample: number, timestamp: number}[]} | null | undefined} details
 * @returns {number[]}
 */
export function sampled(details) {
  return (details?.samples ?? []).map(({ sample }) => sample).reverse();
}
