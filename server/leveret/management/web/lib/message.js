/** One message: where it came from, its properties and headers, and its body as JSON, text or hex. */

import { copy, download } from "./copying.js";
import { h } from "./dom.js";
import { bytes, number, plain, time } from "./format.js";
import { choice, facts, objectLink } from "./page.js";

/**
 * A message as the API shows it.
 *
 * @typedef {object} Message
 * @property {string} position in the queue
 * @property {number} payload_bytes of the whole body
 * @property {boolean} redelivered
 * @property {string} exchange
 * @property {string} routing_key
 * @property {{[name: string]: any}} properties
 * @property {string} payload
 * @property {"string" | "base64"} payload_encoding
 *
 * @typedef {"json" | "text" | "hex"} BodyForm
 */

const HEX_BYTES_MAX = 16384;
/** Bytes that are shown as hex: 1,024 lines. */
const HEX_WIDTH = 16;
const PREVIEW_CHARACTERS = 160;

/** @type {{[mode: number]: string}} */
const DELIVERY_MODES = { 1: "transient", 2: "persistent" };

/**
 * The octets of a body, as far as they were asked for.
 *
 * @param {Message} message
 * @returns {Uint8Array}
 */
export function octetsOf({ payload, payload_encoding: encoding }) {
  if (encoding === "base64") {
    return Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
  }
  return new TextEncoder().encode(payload);
}

/**
 * The beginning of a body in one line.
 *
 * @param {Message} message
 */
export function preview(message) {
  if (message.payload_bytes === 0) {
    return h("span", { class: "none" }, "empty");
  }
  if (message.payload_encoding === "base64") {
    const octets = octetsOf({ ...message, payload: message.payload.slice(0, 64) });
    return h("code", { class: "preview" }, [...octets.slice(0, 24)].map(hexOf).join(" "));
  }
  const line = message.payload.slice(0, PREVIEW_CHARACTERS).replace(/\s+/g, " ");
  return h("code", { class: "preview" }, line);
}

/**
 * The form in which a body is shown if nobody has chosen one.
 *
 * @param {Message} message
 * @returns {BodyForm}
 */
export function bestForm(message) {
  if (message.payload_encoding === "base64") {
    return "hex";
  }
  return jsonOf(message) === null ? "text" : "json";
}

/**
 * @param {Message} message
 * @param {string} chosen form, or ""
 * @param {(form: string) => void} choose
 * @param {{vhost: string, queue: string}} place
 */
export function messageDetail(message, chosen, choose, { vhost, queue }) {
  const form = /** @type {BodyForm} */ (chosen || bestForm(message));
  const { headers = {}, ...properties } = message.properties;
  return h(
    "article",
    { class: "message panel", "aria-label": "Message", key: message.position },
    facts([
      ["Exchange", objectLink("exchange", message.exchange, vhost)],
      ["Routing key", h("code", null, message.routing_key || "(empty)")],
      ["Size", `${number(message.payload_bytes)} B`],
      ["Redelivered", message.redelivered ? "yes" : "no"],
      ["Position", message.position],
      ...Object.entries(properties).map(
        ([name, value]) => /** @type {[string, any]} */ ([titleOf(name), propertyOf(name, value)]),
      ),
    ]),
    deaths(headers["x-death"], vhost),
    headersTable(headers),
    h(
      "div",
      { class: "part-head" },
      h("h2", null, "Body"),
      choice(
        "Show the body as",
        [
          { value: "json", label: "JSON" },
          { value: "text", label: "Text" },
          { value: "hex", label: "Hex" },
        ],
        form,
        choose,
      ),
      h("span", { class: "grow" }),
      h("button", { type: "button", onclick: () => copy(textOf(message), "the body") }, "Copy"),
      h(
        "button",
        {
          type: "button",
          onclick: () => download(octetsOf(message), `${queue}-${message.position}`, "application/octet-stream"),
        },
        "Download",
      ),
    ),
    truncation(message),
    h("pre", { class: "body", tabindex: 0, "aria-label": "Body" }, bodyAs(form, message)),
  );
}

/** @param {Message} message */
function truncation(message) {
  const shown = octetsOf(message).length;
  return shown < message.payload_bytes
    ? h("p", { class: "hint" }, `The first ${bytes(shown)} of ${bytes(message.payload_bytes)}.`)
    : null;
}

/**
 * @param {BodyForm} form
 * @param {Message} message
 */
function bodyAs(form, message) {
  if (form === "hex") {
    return hexLines(octetsOf(message));
  }
  if (form === "json") {
    return jsonOf(message) ?? "This is no JSON: choose Text or Hex.";
  }
  return textOf(message);
}

/**
 * @param {Message} message
 * @returns {string | null} the body as indented JSON
 */
function jsonOf(message) {
  const text = textOf(message).trim();
  // What is a number or a word in quotes is read more easily as it is.
  if (!/^[[{]/.test(text)) {
    return null;
  }
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

/** @param {Message} message */
function textOf(message) {
  return message.payload_encoding === "base64"
    ? new TextDecoder().decode(octetsOf(message))
    : message.payload;
}

/** @param {Uint8Array} octets */
function hexLines(octets) {
  const lines = [];
  for (let at = 0; at < Math.min(octets.length, HEX_BYTES_MAX); at += HEX_WIDTH) {
    const line = [...octets.slice(at, at + HEX_WIDTH)];
    const hex = line.map(hexOf).join(" ").padEnd(HEX_WIDTH * 3 - 1);
    const text = line.map((octet) => (octet >= 32 && octet < 127 ? String.fromCharCode(octet) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex}  ${text}`);
  }
  if (octets.length > HEX_BYTES_MAX) {
    lines.push(`… ${number(octets.length - HEX_BYTES_MAX)} more bytes: download the body`);
  }
  return lines.join("\n");
}

/** @param {number} octet */
function hexOf(octet) {
  return octet.toString(16).padStart(2, "0");
}

/** @param {string} name */
function titleOf(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * @param {string} name
 * @param {any} value
 */
function propertyOf(name, value) {
  if (name === "timestamp" && typeof value === "number") {
    return time(value * 1000);
  }
  if (name === "delivery_mode") {
    return DELIVERY_MODES[value] ?? plain(value);
  }
  return h("code", null, plain(value));
}

/** @param {{[name: string]: any}} headers */
function headersTable(headers) {
  const names = Object.keys(headers).filter((name) => name !== "x-death");
  if (names.length === 0) {
    return null;
  }
  return h(
    "div",
    { class: "table-scroll" },
    h(
      "table",
      { class: "headers" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Header"), h("th", { scope: "col" }, "Value"))),
      h(
        "tbody",
        null,
        names.map((name) =>
          h("tr", { key: name }, h("th", { scope: "row" }, name), h("td", null, h("code", null, plain(headers[name])))),
        ),
      ),
    ),
  );
}

/**
 * Where the message was dead-lettered, in sentences.
 *
 * @param {any} found
 * @param {string} vhost
 */
function deaths(found, vhost) {
  if (!Array.isArray(found) || found.length === 0) {
    return null;
  }
  return h(
    "div",
    { class: "deaths" },
    h("h2", null, "Dead-lettered"),
    h(
      "ol",
      null,
      found.map((death) =>
        h(
          "li",
          null,
          objectLink("queue", String(death.queue), vhost),
          `: ${REASONS[death.reason] ?? death.reason}, ${death.count === 1 ? "once" : `${number(Number(death.count))} times`}, `,
          time(typeof death.time === "number" ? death.time * 1000 : null),
        ),
      ),
    ),
  );
}

/** @type {{[reason: string]: string}} */
const REASONS = {
  expired: "it expired",
  rejected: "a consumer rejected it",
  maxlen: "the queue was full",
  delivery_limit: "it failed too often",
};
