/**
 * Dialogs: a confirmation that names what will be lost, a form, and short notices.
 *
 * The focus goes into a dialog and back to where it was, Escape closes it: the element `dialog` of
 * the browser does both.
 */

import { ApiError } from "./api.js";
import { h, morph } from "./dom.js";

/**
 * @typedef {import("./dom.js").Child} Child
 *
 * @typedef {object} Question
 * @property {string} title
 * @property {Child} text what will happen
 * @property {string[]} [loses] what will be lost, one thing a line
 * @property {string} action the word on the button, a verb
 * @property {string} [typed] what has to be typed before the button works
 * @property {boolean} [danger] whether the action cannot be undone
 *
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {"text" | "number" | "password" | "textarea" | "select" | "checkbox" | "file"} [type]
 * @property {string | number | boolean} [value]
 * @property {{value: string, label: string}[]} [options] of a select
 * @property {string} [hint] what the field means, or its range
 * @property {boolean} [required]
 * @property {string[]} [suggestions]
 * @property {string} [pattern]
 *
 * @typedef {object} Form
 * @property {string} title
 * @property {Child} [text]
 * @property {Field[]} fields
 * @property {string} action the word on the button, a verb
 * @property {boolean} [danger]
 * @property {(values: {[name: string]: any}) => Promise<void>} submit an ApiError of it is shown in
 *   the dialog, which stays open
 */

let count = 0;

/**
 * Asks before something is done that cannot be undone.
 *
 * @param {Question} question
 * @returns {Promise<boolean>} whether to do it
 */
export function confirm(question) {
  return new Promise((resolve) => {
    const button = h(
      "button",
      { type: "submit", class: question.danger ? "danger" : "primary", value: "yes" },
      question.action,
    );
    const typed = question.typed === undefined ? null : typedField(question.typed, button);
    const { dialog, close } = open(question.title, [
      h("div", { class: "dialog-text" }, question.text),
      question.loses && question.loses.length > 0
        ? h(
            "div",
            { class: "loses" },
            h("p", null, "This will be lost:"),
            h(
              "ul",
              null,
              question.loses.map((each) => h("li", null, each)),
            ),
          )
        : null,
      typed,
      h("div", { class: "buttons" }, cancelButton(), button),
    ]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
    dialog.querySelector("form")?.addEventListener("submit", (event) => {
      event.preventDefault();
      close("yes");
    });
    (typed?.querySelector("input") ?? dialog.querySelector("button"))?.focus();
  });
}

/**
 * @param {string} wanted
 * @param {HTMLButtonElement} button
 */
function typedField(wanted, button) {
  button.disabled = true;
  const id = `typed-${++count}`;
  const input = h("input", {
    id,
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      button.disabled = input.value !== wanted;
    },
  });
  return h(
    "p",
    { class: "field" },
    h("label", { for: id }, "Type ", h("code", null, wanted), " to confirm"),
    input,
  );
}

/**
 * Asks for values and does something with them.
 *
 * @param {Form} given
 * @returns {Promise<boolean>} whether it was done
 */
export function form(given) {
  return new Promise((resolve) => {
    const problem = h("div", { class: "problem", role: "alert" });
    const fields = given.fields.map(fieldOf);
    const button = h(
      "button",
      { type: "submit", class: given.danger ? "danger" : "primary" },
      given.action,
    );
    const { dialog, close } = open(given.title, [
      given.text ? h("div", { class: "dialog-text" }, given.text) : null,
      fields.map((field) => field.element),
      problem,
      h("div", { class: "buttons" }, cancelButton(), button),
    ]);
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
    dialog.querySelector("form")?.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await given.submit(Object.fromEntries(fields.map(({ name, value }) => [name, value()])));
        close("yes");
      } catch (error) {
        morph(problem, errorText(error));
      } finally {
        button.disabled = false;
      }
    });
    /** @type {HTMLElement | null} */ (
      dialog.querySelector("input, select, textarea")
    )?.focus();
  });
}

/**
 * @param {Field} field
 * @returns {{name: string, element: HTMLElement, value: () => any}}
 */
function fieldOf(field) {
  const id = `field-${++count}`;
  const hint = field.hint ? h("small", { id: `${id}-hint`, class: "hint" }, field.hint) : null;
  const shared = {
    id,
    name: field.name,
    required: field.required,
    "aria-describedby": hint ? hint.id : null,
  };
  const label = h("label", { for: id }, field.label);
  if (field.type === "select") {
    const select = h(
      "select",
      shared,
      (field.options ?? []).map(({ value, label: text }) => h("option", { value }, text)),
    );
    select.value = String(field.value ?? field.options?.[0]?.value ?? "");
    return { name: field.name, element: fieldset(label, select, hint), value: () => select.value };
  }
  if (field.type === "textarea") {
    const area = h("textarea", { ...shared, rows: 6, spellcheck: "false" });
    area.value = String(field.value ?? "");
    return { name: field.name, element: fieldset(label, area, hint), value: () => area.value };
  }
  const list = field.suggestions
    ? h(
        "datalist",
        { id: `${id}-list` },
        field.suggestions.map((value) => h("option", { value })),
      )
    : null;
  const input = h("input", {
    ...shared,
    type: field.type ?? "text",
    pattern: field.pattern,
    list: list ? list.id : null,
    autocomplete: field.type === "password" ? "new-password" : "off",
    spellcheck: "false",
    step: field.type === "number" ? "any" : null,
  });
  if (field.type === "checkbox") {
    input.checked = Boolean(field.value);
    const element = h("p", { class: "field checkbox" }, input, label, hint);
    return { name: field.name, element, value: () => input.checked };
  }
  if (field.type === "file") {
    return {
      name: field.name,
      element: fieldset(label, input, hint),
      value: () => input.files?.[0] ?? null,
    };
  }
  input.value = String(field.value ?? "");
  const value =
    field.type === "number"
      ? () => (input.value === "" ? null : Number(input.value))
      : () => input.value;
  return { name: field.name, element: fieldset(label, input, list, hint), value };
}

/** @param {...Child} children */
function fieldset(...children) {
  return h("p", { class: "field" }, children);
}

function cancelButton() {
  return h(
    "button",
    {
      type: "button",
      onclick: (/** @type {Event} */ event) =>
        /** @type {HTMLElement} */ (event.currentTarget).closest("dialog")?.close(),
    },
    "Cancel",
  );
}

/**
 * A dialog with anything in it.
 *
 * @param {string} title
 * @param {Child} content
 * @returns {{dialog: HTMLDialogElement, close: (result?: string) => void}}
 */
export function open(title, content) {
  const id = `dialog-${++count}`;
  const dialog = h(
    "dialog",
    { "aria-labelledby": id },
    h("form", { method: "dialog" }, h("h2", { id }, title), content),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) {
      dialog.close();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close: (result) => dialog.close(result) };
}

/**
 * An error as text: what happened, and what to do.
 *
 * @param {unknown} error
 * @returns {Child}
 */
export function errorText(error) {
  if (error instanceof ApiError) {
    return [
      h("strong", null, sentence(error.reason)),
      h("span", null, ` ${error.advice}`),
      h("code", { class: "request" }, error.status ? `${error.what} – ${error.status}` : error.what),
    ];
  }
  return [
    h("strong", null, "The page failed. "),
    h("span", null, "Load it again; if that does not help, report this: "),
    h("code", null, error instanceof Error ? `${error.message}` : String(error)),
  ];
}

/**
 * @param {string} text
 * @returns {string} with a capital and a full stop
 */
function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const NOTICE_MS = 6000;
/** Milliseconds for which a notice of success stays. Errors stay until they are dismissed. */

/**
 * Says briefly what was done.
 *
 * @param {Child} content
 * @param {"done" | "error"} [kind]
 */
export function notice(content, kind = "done") {
  const box = h(
    "div",
    { class: `notice ${kind}` },
    h("div", null, content),
    h(
      "button",
      { type: "button", class: "plain", "aria-label": "Dismiss", onclick: () => box.remove() },
      "✕",
    ),
  );
  document.getElementById("notices")?.append(box);
  if (kind === "done") {
    setTimeout(() => box.remove(), NOTICE_MS);
  }
}

/**
 * Does something, and says that it was done or why it was not.
 *
 * @template T
 * @param {() => Promise<T>} action
 * @param {(result: T) => Child} done
 * @returns {Promise<boolean>} whether it was done
 */
export async function attempt(action, done) {
  try {
    notice(done(await action()));
    return true;
  } catch (error) {
    notice(errorText(error), "error");
    return false;
  }
}
