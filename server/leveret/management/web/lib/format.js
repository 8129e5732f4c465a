/**
 * Numbers, sizes, rates and times as text.
 *
 * Times are elements: they are relative ("3 min ago") or absolute, as the reader has chosen, and
 * relative ones stay right while time goes by.
 */

import { h } from "./dom.js";
import { preference, setPreference } from "./state.js";

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const ONE_DIGIT = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/**
 * @param {number | null | undefined} value
 * @returns {string} with thousands separated; "–" for none
 */
export function number(value) {
  return isNumber(value) ? GROUPED.format(value) : "–";
}

/**
 * @param {number | null | undefined} value of events a second
 * @returns {string} with one digit behind the point below 100, so that it does not change its width
 */
export function rate(value) {
  if (!isNumber(value)) {
    return "–";
  }
  return `${value !== 0 && Math.abs(value) < 100 ? ONE_DIGIT.format(value) : GROUPED.format(value)}/s`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/**
 * @param {number | null | undefined} value
 * @returns {string} in the unit that leaves 1 to 1,023
 */
export function bytes(value) {
  if (!isNumber(value)) {
    return "–";
  }
  let left = value;
  let unit = 0;
  while (Math.abs(left) >= 1024 && unit < UNITS.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? GROUPED.format(left) : ONE_DIGIT.format(left)} ${UNITS[unit]}`;
}

/**
 * @param {number | null | undefined} ms
 * @returns {string} such as "12 min" or "3 h 5 min"
 */
export function duration(ms) {
  if (!isNumber(ms)) {
    return "–";
  }
  if (ms < 1000) {
    return `${Math.round(ms)} ms`;
  }
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) {
    return `${minutes} min`;
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  }
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/**
 * @param {number} ms since the epoch
 * @returns {string} the time of today, or date and time
 */
export function absolute(ms) {
  const when = new Date(ms);
  const time = [when.getHours(), when.getMinutes(), when.getSeconds()].map(twoDigits).join(":");
  if (when.toDateString() === new Date().toDateString()) {
    return time;
  }
  const date = [when.getFullYear(), twoDigits(when.getMonth() + 1), twoDigits(when.getDate())];
  return `${date.join("-")} ${time}`;
}

/**
 * @param {number} ms since the epoch
 * @returns {string} such as "3 min ago" or "in 2 h"
 */
export function relative(ms) {
  const ago = Date.now() - ms;
  if (Math.abs(ago) < 1000) {
    return "just now";
  }
  return ago > 0 ? `${duration(ago)} ago` : `in ${duration(-ago)}`;
}

/**
 * A time, as the reader wants to see times. The other form is its tooltip.
 *
 * @param {number | null | undefined} ms since the epoch
 * @returns {HTMLElement}
 */
export function time(ms) {
  if (!isNumber(ms)) {
    return h("span", { class: "none" }, "–");
  }
  return h(
    "time",
    {
      datetime: new Date(ms).toISOString(),
      "data-ms": ms,
      title: isRelative() ? new Date(ms).toLocaleString() : relative(ms),
    },
    shownTime(ms),
  );
}

/** Whether times are shown as relative ones. */
export function isRelative() {
  return preference("times") !== "absolute";
}

/** @param {boolean} wanted */
export function setRelative(wanted) {
  setPreference("times", wanted ? null : "absolute");
  refreshTimes();
}

/** @param {number} ms */
function shownTime(ms) {
  return isRelative() ? relative(ms) : absolute(ms);
}

function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-ms]")) {
    const text = shownTime(Number(element.getAttribute("data-ms")));
    if (element.firstChild && element.firstChild.nodeValue !== text) {
      element.firstChild.nodeValue = text;
    }
  }
}

setInterval(() => {
  if (!document.hidden && isRelative()) {
    refreshTimes();
  }
}, 1000);

/**
 * "1 message", "2 messages".
 *
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/**
 * A value of JSON in one line, as people read it.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** @param {number} value */
function twoDigits(value) {
  return String(value).padStart(2, "0");
}
