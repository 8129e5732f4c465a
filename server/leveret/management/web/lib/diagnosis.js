/** "Why is it stuck?": findings of the broker as sentences, the worst first. */

import { h } from "./dom.js";
import { time } from "./format.js";
import { objectLink, status } from "./page.js";

/**
 * @typedef {object} Finding
 * @property {"error" | "warning" | "info"} severity
 * @property {string} code
 * @property {string} text
 * @property {string} vhost
 * @property {string} queue
 * @property {number | null} since
 * @property {{[name: string]: unknown}} facts
 * @property {{kind: string, vhost: string | null, name: string}[]} links
 */

const WORDS = { error: "Stuck", warning: "Slow", info: "Note" };

/**
 * @param {Finding[]} findings
 * @param {{ofQueue?: boolean}} [how] ofQueue: whether the queue is clear from the view
 */
export function findingList(findings, { ofQueue = false } = {}) {
  return h(
    "ul",
    { class: "findings" },
    findings.map((finding) =>
      h(
        "li",
        { key: `${finding.vhost} ${finding.queue} ${finding.code} ${finding.text.length}`, class: finding.severity },
        status(finding.severity, WORDS[finding.severity]),
        h(
          "div",
          null,
          ofQueue || !finding.queue ? null : [objectLink("queue", finding.queue, finding.vhost), ": "],
          finding.text,
          h("span", { class: "links" }, linksOf(finding)),
        ),
        finding.since ? time(finding.since) : null,
      ),
    ),
  );
}

/** @param {Finding} finding */
function linksOf({ links, queue, vhost }) {
  return links
    .filter(({ kind, name, vhost: of }) => kind !== "queue" || name !== queue || of !== vhost)
    .map(({ kind, name, vhost: of }) => objectLink(kind, name, of, `${kind} ${name}`));
}
