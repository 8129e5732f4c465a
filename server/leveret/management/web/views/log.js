/** The log of the broker, as it is written; in a cluster that of all brokers, looked at again and again. */

import { get } from "../lib/api.js";
import { errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number, plural, time } from "../lib/format.js";
import { choice, pageHead, status } from "../lib/page.js";
import { Watching } from "../lib/watching.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Line */

export const title = () => "Log";

const LINES_MAX = 2000;
/** Lines that are kept: older ones go. */
const LINES_AT_FIRST = 200;
const LINES_OF_ALL = 500;
/** Lines of a cluster that are looked at. */
const TYPING_MS = 150;

const LEVELS = ["debug", "info", "warning", "error"];

/** @type {{[level: string]: import("../lib/page.js").Kind}} */
const KINDS = { debug: "idle", info: "info", warning: "warning", error: "error", critical: "error" };

/** What a line has beside its fields. */
const OWN = new Set(["timestamp", "level", "event", "logger", "logged_by"]);

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state, session }) {
  /** @type {Line[]} */
  let lines = [];
  /** @type {Line[]} lines that came while it was paused */
  let held = [];
  let isPaused = false;
  const problem = h("div", { class: "problem", role: "alert" });
  const bar = h("div", { class: "table-bar" });
  const list = h("ol", { class: "log", tabindex: 0, "aria-label": "Lines of the log, the newest first" });
  const level = () => state.get("level", "info");
  const text = () => state.get("filter").toLowerCase();

  /** @param {Line} line */
  const isWanted = (line) => {
    const rank = LEVELS.indexOf(line.level === "critical" ? "error" : line.level);
    return rank >= LEVELS.indexOf(level()) && (!text() || JSON.stringify(line).toLowerCase().includes(text()));
  };
  const showLines = () => {
    const wanted = lines.filter(isWanted);
    list.replaceChildren(...wanted.map(lineElement).reverse());
    count.textContent = `${number(wanted.length)} of ${number(lines.length)} lines`;
  };
  const count = h("span", { class: "hint" });
  let typing = 0;
  const filter = h("input", {
    type: "search",
    class: "filter",
    value: state.get("filter"),
    placeholder: "Text",
    "aria-label": "Filter by a part of a line",
    oninput: () => {
      clearTimeout(typing);
      typing = window.setTimeout(() => state.set({ filter: filter.value }), TYPING_MS);
    },
  });
  const showBar = () =>
    morph(
      bar,
      choice("Least level", LEVELS.map((each) => ({ value: each, label: each })), level(), (value) => state.set({ level: value === "info" ? null : value })),
      filter,
      h("button", { type: "button", "aria-pressed": String(isPaused), onclick: pause }, isPaused ? `Go on${held.length > 0 ? ` (${number(held.length)} new)` : ""}` : "Pause"),
      h("span", { class: "grow" }),
      count,
    );
  const pause = () => {
    isPaused = !isPaused;
    if (!isPaused) {
      lines = [...lines, ...held].slice(-LINES_MAX);
      held = [];
      showLines();
    }
    showBar();
  };
  /** @param {Line} line */
  const receive = (line) => {
    if (isPaused) {
      held = [...held, line].slice(-LINES_MAX);
      showBar();
      return;
    }
    lines.push(line);
    if (isWanted(line)) {
      list.prepend(lineElement(line));
    }
    if (lines.length > LINES_MAX) {
      lines = lines.slice(-LINES_MAX);
      showLines();
    }
    count.textContent = `${number(list.childElementCount)} of ${number(lines.length)} lines`;
  };

  const follow = () => {
    const source = new EventSource("/api/logs/live");
    source.addEventListener("log", (event) => receive(JSON.parse(event.data)));
    source.addEventListener("missed", (event) => {
      const { events } = JSON.parse(event.data);
      const timestamp = new Date().toISOString();
      receive({ timestamp, level: "warning", event: `${plural(events, "line is", "lines are")} missing here: there were more than this page could take` });
    });
    get(`/api/logs?lines=${LINES_AT_FIRST}`).then(
      (found) => {
        // Lines that came by the stream meanwhile may be among them.
        const known = new Set(found.map((/** @type {Line} */ line) => JSON.stringify(line)));
        lines = [...found, ...lines.filter((line) => !known.has(JSON.stringify(line)))];
        showLines();
      },
      (error) => morph(problem, errorText(error)),
    );
    return () => source.close();
  };
  const followAll = () => {
    const watching = new Watching();
    watching.watch(
      `/api/logs?lines=${LINES_OF_ALL}`,
      (/** @type {Line[]} */ found) => {
        const known = new Set([...lines, ...held].map((line) => JSON.stringify(line)));
        const more = found.filter((line) => !known.has(JSON.stringify(line)));
        if (lines.length === 0) {
          lines = more;
          showLines();
        } else {
          more.forEach(receive);
        }
      },
      problem,
    );
    return () => watching.stop();
  };
  const unlisten = state.listen(() => {
    showBar();
    showLines();
  });
  container.append(pageHead("Log"), problem, bar, list);
  showBar();
  const unfollow = session.clustered ? followAll() : follow();
  return () => {
    unlisten();
    unfollow();
  };
}

/** @param {Line} line */
function lineElement(line) {
  const fields = Object.entries(line).filter(([name]) => !OWN.has(name));
  return h(
    "li",
    null,
    time(Date.parse(line.timestamp)),
    " ",
    status(KINDS[line.level] ?? "info", line.level),
    " ",
    line.logged_by ? [h("span", { class: "soft" }, line.logged_by), " "] : null,
    h("span", { class: "log-event" }, line.event),
    fields.map(([name, value]) => [" ", h("span", { class: "log-field" }, `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)]),
  );
}
