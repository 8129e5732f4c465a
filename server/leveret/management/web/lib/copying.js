/** Rows as text: into the clipboard or into a file. */

import { open, notice } from "./dialog.js";
import { h } from "./dom.js";

/**
 * @param {(string | number | boolean | null | undefined | object)[][]} rows the head first
 * @returns {string} CSV (RFC 4180)
 */
export function csv(rows) {
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** @param {unknown} value */
function cell(value) {
  if (value === null || value === undefined) {
    return "";
  }
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Copies text, or shows it to be copied where the browser permits no more, which is so for pages
 * that come without TLS from another machine.
 *
 * @param {string} text
 * @param {string} what
 */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    notice(`Copied: ${what}.`);
  } catch {
    const area = h("textarea", { rows: 14, readonly: true, "aria-label": what });
    area.value = text;
    open(`Copy ${what}`, [
      h("p", null, "The browser lets this page write to the clipboard over TLS only. Press Ctrl+C."),
      area,
      h("div", { class: "buttons" }, h("button", { type: "submit" }, "Close")),
    ]);
    area.select();
  }
}

/**
 * @param {string | Uint8Array} content
 * @param {string} name of the file
 * @param {string} type of the content
 */
export function download(content, name, type) {
  const address = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (content)], { type }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
