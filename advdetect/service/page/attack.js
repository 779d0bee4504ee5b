// The attack's controls: which one, and how far it may go.

import { byId } from "./dom.js";
import { levels } from "./words.js";

const QUIET = 80; // milliseconds without a move before the service is asked

/** Listen to the controls; `changed({ name, eps })` is told of what was set. */
export function listenForAttack(changed) {
  const form = byId("attack");
  const slider = byId("eps");
  let timer = 0;
  const announce = () => {
    const eps = Number(slider.value);
    byId("eps-value").textContent = levels(eps);
    slider.setAttribute("aria-valuetext", eps ? `${eps} of 255` : "none");
  };
  const state = () => ({ name: form.elements.attack.value, eps: Number(slider.value) });
  form.addEventListener("input", () => {
    announce();
    clearTimeout(timer);
    timer = setTimeout(() => changed(state()), QUIET);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  return {
    state,
    put(eps) {
      clearTimeout(timer);
      slider.value = String(eps);
      announce();
    },
  };
}
