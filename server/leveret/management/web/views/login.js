/** The login. It is shown at any address while nobody is logged in, and leads to that address. */

import { ApiError, login } from "../lib/api.js";
import { errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { ICON } from "../lib/page.js";

/**
 * @param {HTMLElement} container
 * @param {string} why the login is needed, if the reader was logged in
 * @param {(session: import("../lib/api.js").Session) => void} done
 */
export function renderLogin(container, why, done) {
  const problem = h("div", { class: "problem", role: "alert" });
  const user = h("input", {
    id: "login-user",
    name: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
  });
  const password = h("input", {
    id: "login-password",
    name: "password",
    type: "password",
    autocomplete: "current-password",
  });
  const button = h("button", { type: "submit", class: "primary" }, "Log in");
  container.replaceChildren(
    h(
      "form",
      {
        class: "login",
        onsubmit: async (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          button.disabled = true;
          try {
            const session = await login(user.value, password.value);
            container.replaceChildren();
            done(session);
          } catch (error) {
            morph(problem, loginError(error));
            password.select();
          } finally {
            button.disabled = false;
          }
        },
      },
      h("img", { src: ICON, alt: "", width: 40, height: 40 }),
      h("h1", null, "Leveret"),
      why ? h("p", { role: "status" }, why) : null,
      h("p", { class: "field" }, h("label", { for: "login-user" }, "User"), user),
      h("p", { class: "field" }, h("label", { for: "login-password" }, "Password"), password),
      problem,
      button,
      h(
        "p",
        { class: "hint" },
        "A broker that nobody has configured has the user guest with the password guest, from this machine only.",
      ),
    ),
  );
  user.focus();
}

/** @param {unknown} error */
function loginError(error) {
  if (error instanceof ApiError && error.status === 401) {
    return [
      h("strong", null, "User or password are wrong, or the user has no tag."),
      " To see this page a user needs one of the tags management, policymaker, monitoring or ",
      "administrator: ",
      h("code", null, "leveret user tags NAME monitoring"),
    ];
  }
  return errorText(error);
}
