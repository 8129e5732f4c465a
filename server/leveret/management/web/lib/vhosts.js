/** The choice of a virtual host for a list. It is in the address as `vhost`. */

import { get } from "./api.js";
import { h, morph } from "./dom.js";

/**
 * The names of the virtual hosts that the user sees.
 *
 * @returns {Promise<string[]>}
 */
export async function vhostNames() {
  const found = await get("/api/vhosts?columns=name");
  return (Array.isArray(found) ? found : found.items).map((/** @type {any} */ vhost) => vhost.name);
}

/**
 * @param {import("./state.js").State} state
 * @param {(vhost: string) => void} choose is called with the name, "" for all
 */
export function vhostChooser(state, choose) {
  const select = h("select", {
    "aria-label": "Virtual host",
    hidden: true,
    onchange: () => {
      state.set({ vhost: select.value, page: null });
      choose(select.value);
    },
  });
  vhostNames().then(
    (names) => {
      morph(
        select,
        h("option", { value: "" }, "All virtual hosts"),
        names.map((name) => h("option", { value: name }, name)),
      );
      select.value = state.get("vhost");
      select.hidden = names.length < 2 && select.value === "";
    },
    // Without names there is nothing to choose; the list itself says what is wrong.
    () => {},
  );
  return select;
}
