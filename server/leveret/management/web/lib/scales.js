/**
 * Scales and ticks of charts, and the lines through their samples. Pure functions: no document, no clock.
 *
 * Times are milliseconds since 1970, in UTC; what is shown of them is in the time zone of the viewer.
 */

/** @typedef {[number, number | null]} Sample A time in ms, and the value then, or null if there is none. */

const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
];

/**
 * The smallest step of 1, 2 or 5 times a power of ten that divides a span into at most so many parts.
 * @param {number} span
 * @param {number} parts
 */
export function niceStep(span, parts) {
  const least = span / parts;
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((each) => each * power >= least * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/**
 * Ticks from zero to the first one that is not below the maximum.
 * @param {number} most the largest value
 * @param {number} [parts] how many parts at most
 * @param {boolean} [whole] whether values are counts, which have no fractions
 * @returns {number[]}
 */
export function valueTicks(most, parts = 4, whole = false) {
  let step = niceStep(most > 0 ? most : 1, parts);
  if (whole) step = Math.max(1, step);
  const count = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/**
 * Ticks of bytes, which are round in KiB, MiB and so on.
 * @param {number} most the largest value
 * @param {number} [parts] how many parts at most
 */
export function byteTicks(most, parts = 4) {
  const power = Math.max(0, Math.floor(Math.log2(Math.max(1, most)) / 10));
  return valueTicks(most / 1024 ** power, parts, power === 0).map((tick) => tick * 1024 ** power);
}

/**
 * Times between two at whole seconds, minutes or hours of the viewer's clock.
 * @param {number} from
 * @param {number} to
 * @param {number} [parts] how many parts at most
 * @param {number} [offset_min] minutes that UTC is ahead of the viewer's clock, as Date has it
 */
export function timeTicks(from, to, parts = 6, offset_min = new Date(from).getTimezoneOffset()) {
  const least = (to - from) / 1000 / parts;
  const step = (STEPS_S.find((each) => each >= least) ?? Math.ceil(least / 86400) * 86400) * 1000;
  const offset = offset_min * 60000;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) {
    ticks.push(at);
  }
  return { step, ticks };
}

/**
 * The text of a time tick: no seconds where ticks are minutes apart, the day where they are days apart.
 * @param {number} at
 * @param {number} step ms between two ticks
 */
export function timeText(at, step) {
  const date = new Date(at);
  /** @param {number} value */
  const two = (value) => String(value).padStart(2, "0");
  if (step >= 86400000) return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return step < 60000 ? `${minutes}:${two(date.getSeconds())}` : minutes;
}

/**
 * A value in at most five characters and its unit, with 1024 as the base for bytes.
 * @param {number | null | undefined} value
 * @param {string} [unit] such as "/s", "messages", "B", "B/s", "ms"
 */
export function valueText(value, unit = "") {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const bytes = unit === "B" || unit === "B/s";
  const base = bytes ? 1024 : 1000;
  const prefixes = bytes ? ["", "Ki", "Mi", "Gi", "Ti"] : ["", "k", "M", "G", "T"];
  let scaled = Math.abs(value);
  let power = 0;
  while (scaled >= base * 0.9995 && power < prefixes.length - 1) {
    scaled /= base;
    power += 1;
  }
  const digits = scaled >= 100 || Number.isInteger(scaled) ? 0 : scaled >= 10 ? 1 : 2;
  const text = `${value < 0 ? "-" : ""}${Number(scaled.toFixed(digits))}`;
  if (bytes) return `${text} ${prefixes[power]}${unit}`;
  const short = `${text}${power ? ` ${prefixes[power]}` : ""}`;
  if (unit === "" || unit === "messages") return short;
  return unit.startsWith("/") ? `${short}${unit}` : `${short} ${unit}`;
}

/**
 * A linear scale from a domain to pixels.
 * @param {number} from
 * @param {number} to
 * @param {number} start
 * @param {number} end
 * @returns {(value: number) => number}
 */
export function linear(from, to, start, end) {
  const factor = to === from ? 0 : (end - start) / (to - from);
  return (value) => start + (value - from) * factor;
}

/**
 * The largest value of samples between two times.
 * @param {readonly (readonly Sample[])[]} lines
 * @param {number} from
 * @param {number} to
 */
export function largest(lines, from, to) {
  let most = 0;
  for (const samples of lines) {
    for (const [at, value] of samples) {
      if (at >= from && at <= to && value !== null && value > most) most = value;
    }
  }
  return most;
}

/**
 * The path of a line through samples, as SVG has it: interrupted where a value is missing.
 * @param {readonly Sample[]} samples in the order of time
 * @param {(at: number) => number} x
 * @param {(value: number) => number} y
 */
export function linePath(samples, x, y) {
  /** @type {string[]} */
  const parts = [];
  let pen = "M";
  samples.forEach(([at, value], index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    parts.push(`${pen}${place}`);
    // A sample without neighbours is a dot, which is a line of no length.
    if (pen === "M" && (samples[index + 1]?.[1] ?? null) === null) parts.push(`L${place}`);
    pen = "L";
  });
  return parts.join("");
}

/**
 * The index of the sample nearest to a time; -1 if there are none.
 * @param {readonly Sample[]} samples in the order of time
 * @param {number} at
 */
export function nearest(samples, at) {
  let low = 0;
  let high = samples.length - 1;
  if (high < 0) return -1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle][0] < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - samples[low - 1][0] <= samples[low][0] - at ? low - 1 : low;
}
