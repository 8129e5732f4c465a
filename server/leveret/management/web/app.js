/**
 * The page: its frame (head, navigation, banner), the session, and the router, which shows the view
 * of the address.
 */

import { logout, may, onSessionEnd, whoami } from "./lib/api.js";
import { errorText, open as openDialog } from "./lib/dialog.js";
import { h, icon, morph } from "./lib/dom.js";
import { isRelative, setRelative } from "./lib/format.js";
import { onStreamState, retryNow, stopAll, watch } from "./lib/live.js";
import { menu } from "./lib/menu.js";
import { ICON, status } from "./lib/page.js";
import { openSearch } from "./lib/search.js";
import { preference, setPreference, State } from "./lib/state.js";
import { find, VIEWS } from "./views.js";

/**
 * @typedef {import("./lib/api.js").Session} Session
 */

const top = element("top");
const nav = element("nav");
const banner = element("banner");
const main = element("main");

/** @type {Session | null} */
let session = null;
/** @type {(() => void) | void} */
let leave = undefined;
/** Counts the views that were opened, so that one that loads late does not replace the next. */
let opened = 0;
/** @type {(() => void) | undefined} */
let unwatch;
/** What the head shows of the broker. */
let broker = { node: "", alarm: /** @type {any} */ (null) };

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (!found) {
    throw new Error(`no element ${id}`);
  }
  return found;
}

// The router

/** @param {string} address */
function navigate(address) {
  history.pushState(null, "", address);
  show().then(() => main.focus({ preventScroll: true }));
}

async function show() {
  opened += 1;
  const turn = opened;
  const found = find(location.pathname);
  const loading = found?.view.load();
  if (!session) {
    return;
  }
  const current = session;
  /** @type {import("./views.js").Module} */
  let module;
  try {
    module = (await loading) ?? NOT_FOUND;
  } catch (error) {
    module = failedToLoad(error);
  }
  if (turn !== opened) {
    return;
  }
  closeView();
  const params = found?.params ?? {};
  const title = module.title(params);
  document.title = title === "Overview" ? "Leveret" : `${title} – Leveret`;
  main.setAttribute("aria-label", title);
  showNav();
  window.scrollTo(0, 0);
  try {
    leave = module.render(main, params, { state: new State(), session: current, navigate });
  } catch (error) {
    morph(main, h("div", { class: "problem" }, errorText(error)));
  }
}

function closeView() {
  leave?.();
  leave = undefined;
  main.replaceChildren();
}

/** @type {import("./views.js").Module} */
const NOT_FOUND = {
  title: () => "Not found",
  render: (container) => {
    container.append(
      h("div", { class: "page-head" }, h("div", { class: "title" }, h("h1", null, "Not found"))),
      h(
        "p",
        null,
        "No view has this address. Choose one in the navigation, or search for it with ",
        h("kbd", null, "/"),
        ".",
      ),
    );
  },
};

/**
 * @param {unknown} error
 * @returns {import("./views.js").Module}
 */
function failedToLoad(error) {
  return {
    title: () => "Failed to load",
    render: (container) => {
      container.append(h("div", { class: "problem" }, errorText(error)));
    },
  };
}

window.addEventListener("popstate", () => show());

/** @param {Event} event on which the navigation of a narrow screen is put away */
function closeNav(event) {
  const isInside = event.target instanceof Element && event.target.closest(".nav, .nav-button");
  if (document.body.classList.contains("nav-open") && !isInside) {
    document.body.classList.remove("nav-open");
    showTop();
  }
}

document.addEventListener("click", closeNav);

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
  if (
    !(link instanceof HTMLAnchorElement) ||
    event.defaultPrevented ||
    event.button !== 0 ||
    event.ctrlKey ||
    event.metaKey ||
    event.shiftKey ||
    event.altKey ||
    link.target ||
    link.hasAttribute("download") ||
    link.origin !== location.origin ||
    link.pathname.startsWith("/api") ||
    link.pathname.startsWith("/metrics")
  ) {
    return;
  }
  const href = link.getAttribute("href") ?? "";
  if (!href.startsWith("#")) {
    event.preventDefault();
    document.body.classList.remove("nav-open");
    showTop();
    navigate(href);
  }
});

// The frame

function showTop() {
  if (!session) {
    morph(top);
    return;
  }
  const name = session.name;
  morph(
    top,
    h(
      "button",
      {
        key: "nav",
        type: "button",
        class: "plain nav-button",
        "aria-label": "Views",
        "aria-controls": "nav",
        "aria-expanded": String(document.body.classList.contains("nav-open")),
        onclick: () => {
          document.body.classList.toggle("nav-open");
          showTop();
        },
      },
      icon("M2 3h12v2H2zM2 7h12v2H2zM2 11h12v2H2z"),
    ),
    h(
      "a",
      { key: "home", href: "/", class: "home" },
      h("img", { src: ICON, alt: "", width: 20, height: 20 }),
      "Leveret",
    ),
    h("span", { key: "node", class: "node" }, broker.node),
    h("span", { key: "alarm", class: "alarm" }, alarmChip()),
    h("span", { key: "grow", class: "grow" }),
    h(
      "button",
      { key: "search", type: "button", class: "search-button", "aria-label": "Search", onclick: search },
      icon("M7 2a5 5 0 1 0 3 9l3.500 3.500 1-1L11 10a5 5 0 0 0-4-8zm0 1.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7z"),
      h("span", null, "Search"),
      h("kbd", null, "/"),
    ),
    h(
      "button",
      {
        key: "times",
        type: "button",
        class: "plain times",
        title: "Show times as relative or absolute ones",
        onclick: () => {
          setRelative(!isRelative());
          showTop();
        },
      },
      isRelative() ? "3 min ago" : "14:02:11",
    ),
    h(
      "button",
      { key: "theme", type: "button", class: "plain theme", onclick: nextTheme },
      icon(THEME_ICONS[theme()]),
      h("span", { class: "unseen" }, `Theme: ${theme()}`),
    ),
    h("div", { key: "user", opaque: true }, userMenu(name)),
  );
}

function alarmChip() {
  const { alarm } = broker;
  if (!alarm || (Array.isArray(alarm) && alarm.length === 0)) {
    return null;
  }
  return h(
    "a",
    { href: "/" },
    status("error", `Alarm: ${[alarm].flat().join(", ")}`, "Publishers are blocked"),
  );
}

/** @param {string} name */
function userMenu(name) {
  return menu(name, [
    h(
      "p",
      { class: "hint" },
      session?.tags.length ? `Tags: ${session.tags.join(", ")}` : "No tags",
    ),
    h("a", { href: "/api/", class: "item" }, "HTTP API"),
    h("button", { type: "button", onclick: showKeys }, "Keys"),
    h(
      "button",
      {
        type: "button",
        onclick: async () => {
          let why = "";
          try {
            await logout();
          } catch (error) {
            why = error instanceof Error ? error.message : String(error);
          }
          endSession(why);
        },
      },
      "Log out",
    ),
  ]);
}

const GROUPS = /** @type {const} */ ([undefined, "Messages", "Clients", "Administration"]);

function showNav() {
  const current = find(location.pathname)?.view;
  const base = current && `/${current.path.split("/")[1] ?? ""}`;
  morph(
    nav,
    GROUPS.map((group) => {
      const views = VIEWS.filter(
        (view) =>
          view.title &&
          view.group === group &&
          (!view.clustered || session?.clustered) &&
          (!view.tags || (session && may(session, ...view.tags))),
      );
      if (views.length === 0) {
        return null;
      }
      return h(
        "div",
        { key: group ?? "", class: "nav-group" },
        group ? h("h2", null, group) : null,
        h(
          "ul",
          null,
          views.map((view) =>
            h(
              "li",
              null,
              h(
                "a",
                { href: view.path, "aria-current": view.path === base ? "page" : null },
                view.title,
              ),
            ),
          ),
        ),
      );
    }),
  );
}

// Theme

/** @typedef {"system" | "light" | "dark"} Theme */

/** @type {{[theme in Theme]: string}} */
const THEME_ICONS = {
  system: "M2 3h12v8H2zm1.500 1.500v5h9v-5zM5 12h6v1.500H5z",
  light: "M8 4.500a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7zM7.300 1h1.400v2H7.300zm0 12h1.400v2H7.300zM1 7.300h2v1.400H1zm12 0h2v1.400h-2zM2.600 3.600l1-1L5 4 4 5zm8.400 8.400 1-1 1.400 1.400-1 1zM2.600 12.400 4 11l1 1-1.400 1.400zM11 4l1.400-1.400 1 1L12 5z",
  dark: "M6 2a6 6 0 1 0 8 8 5 5 0 0 1-8-8z",
};

/** @returns {Theme} */
function theme() {
  const chosen = preference("theme");
  return chosen === "light" || chosen === "dark" ? chosen : "system";
}

function nextTheme() {
  /** @type {{[theme in Theme]: Theme}} */
  const next = { system: "light", light: "dark", dark: "system" };
  const wanted = next[theme()];
  setPreference("theme", wanted === "system" ? null : wanted);
  if (wanted === "system") {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = wanted;
  }
  showTop();
}

// Keys

/** Whether g was pressed, so that the next key names a view. */
let isGoing = false;

function search() {
  if (session) {
    openSearch(session, navigate);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.body.classList.contains("nav-open")) {
    document.body.classList.remove("nav-open");
    showTop();
  }
  const target = event.target instanceof Element ? event.target : null;
  if (
    !session ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    target?.closest("input, textarea, select, dialog, [contenteditable]")
  ) {
    return;
  }
  if (isGoing) {
    isGoing = false;
    const view = VIEWS.find(({ key }) => key === event.key);
    if (view) {
      navigate(view.path);
    }
  } else if (event.key === "g") {
    isGoing = true;
  } else if (event.key === "/") {
    event.preventDefault();
    search();
  } else if (event.key === "f") {
    const filter = document.querySelector("input.filter");
    if (filter instanceof HTMLInputElement) {
      event.preventDefault();
      filter.focus();
      filter.select();
    }
  } else if (event.key === "?") {
    showKeys();
  }
});

function showKeys() {
  const keys = [
    ["/", "Search everything"],
    ["f", "Go to the filter of the table"],
    ["↑ ↓ Home End", "Go through the rows"],
    ["Page Up, Page Down", "Go through the pages"],
    ["Enter", "Open the row"],
    ["Space", "Select the row"],
    ["?", "Show this"],
    ...VIEWS.filter((view) => view.key && (!view.clustered || session?.clustered)).map((view) => [`g ${view.key}`, `Open ${view.title}`]),
  ];
  openDialog("Keys", [
    h(
      "dl",
      { class: "keys" },
      keys.map(([key, does]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, does))),
    ),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Close")),
  ]);
}

// The session and the stream

/** @param {string} why */
async function endSession(why) {
  if (!session && main.querySelector(".login")) {
    return;
  }
  session = null;
  opened += 1;
  unwatch?.();
  stopAll();
  closeView();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  document.body.classList.add("logged-out");
  morph(top);
  morph(nav);
  morph(banner);
  const { renderLogin } = await import("./views/login.js");
  document.title = "Log in – Leveret";
  renderLogin(main, why, beginSession);
}

/** @param {Session} given */
function beginSession(given) {
  session = given;
  document.body.classList.remove("logged-out");
  unwatch?.();
  unwatch = watch("/api/overview", (body) => {
    broker = { node: body.node, alarm: body.alarm };
    showTop();
  });
  showTop();
  showNav();
  show();
}

onSessionEnd(() => endSession("The session is over. Log in again; the page stays where it is."));

onStreamState((state) => {
  document.body.classList.toggle("stale", state === "lost");
  if (state === "lost") {
    banner.className = "banner error";
    morph(
      banner,
      status("error", "The broker does not answer. What is shown is old; the page tries again by itself."),
      h("button", { type: "button", onclick: retryNow }, "Try now"),
    );
  } else if (banner.classList.contains("error") && state === "live") {
    banner.className = "banner ok";
    morph(banner, status("ok", "The broker answers again."));
    setTimeout(() => {
      if (banner.classList.contains("ok")) {
        banner.className = "banner";
        morph(banner);
      }
    }, 3000);
  }
});

async function start() {
  find(location.pathname)?.view.load();
  try {
    const found = await whoami();
    if (found) {
      beginSession(found);
    } else {
      await endSession("");
    }
  } catch (error) {
    morph(main, h("div", { class: "problem", role: "alert" }, errorText(error)));
    setTimeout(start, 2000);
  }
}

start();
