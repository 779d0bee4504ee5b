// The verdict in words, and the picture it is about.

import { byId, el } from "./dom.js";
import { showEvidence } from "./evidence.js";
import { showNeighbors } from "./neighbors.js";
import { className, count, digits, levels, percent, sureness } from "./words.js";

function reading(found, guard, shows, before) {
  const says = ["The model says ", el("strong", {}, className(found)), ` (${sureness(found.confidence)} sure)`];
  if (shows !== null) says.push(shows === className(found) ? ", and that is what it shows. " : `; it shows: ${shows}. `);
  else if (before !== null && before.label !== found.label) says.push(`; before the attack it said ${className(before)}. `);
  else says.push(". ");
  const rate = percent(guard.false_alarm_rate);
  const none = found.p_value <= 1.001 / (guard.calibrated_on + 1);
  const unusual = none
    ? `None of the ${count(guard.calibrated_on)} clean pictures it was calibrated on looks as unusual inside the network`
    : `${percent(found.p_value)} of clean pictures look at least as unusual inside the network`;
  return [...says, `${unusual}; at ${rate} and below the guard flags.`];
}

function captions(found, note) {
  byId("seen").src = found.picture;
  byId("seen").alt = found.eps ? "The attacked picture, as the guard sees it" : "The picture, as the guard sees it";
  byId("seen-caption").textContent = found.eps ? `Attacked, ${found.attack.toUpperCase()} ${levels(found.eps)}` : note;
  byId("perturbation").hidden = !found.eps;
  byId("unattacked").hidden = Boolean(found.eps);
  byId("added-caption").textContent = "What an attack adds";
  if (found.eps) {
    byId("perturbation").src = found.perturbation;
    byId("perturbation").alt = "What the attack added: grey where nothing, darker or lighter where it changed the pixel";
    byId("added-caption").textContent = `What it added, ${Math.max(1, Math.round(127.5 / found.eps))}-fold`;
  }
}

/** Say something in a live region, unless it has been said. */
function say(node, parts) {
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (node.textContent !== text) node.replaceChildren(...parts);
}

/** Show an answer. `shows`: what the picture is known to show, or null; `before`: the clean answer. */
export function showVerdict(found, { guard, shows, before, note, showP, showPlace }) {
  const result = byId("result");
  result.hidden = false;
  result.classList.toggle("is-flagged", found.flagged);
  say(byId("verdict"), [found.flagged ? "Flagged: this looks adversarial" : "Passed: this looks clean"]);
  say(byId("reading"), reading(found, guard, shows, before));
  captions(found, note);
  byId("brief").textContent = `${className(found)}, ${sureness(found.confidence)}: ${found.flagged ? "flagged" : "passed"}, p\u00a0=\u00a0${digits(found.p_value)}`;
  showP(found);
  showEvidence(found);
  showNeighbors(found);
  showPlace(found);
}
