// The page: a picture goes in, and the guard's view of it comes out.

import { attack, explain, getMap, getSamples, setToken } from "./api.js";
import { listenForAttack } from "./attack.js";
import { listenForFiles, press, showSamples } from "./chooser.js";
import { byId } from "./dom.js";
import { latest } from "./latest.js";
import { map } from "./map.js";
import { scale } from "./scale.js";
import { watchTraffic } from "./traffic.js";
import { showVerdict } from "./verdict.js";
import { className, plain, size } from "./words.js";

const AGAIN = 1200; // milliseconds until pictures of landmarks are asked for again

let guard, showP, showPlace;
let picture = null; // what is shown: { blob, shows, before, note, eps }
let wanted = null; // what was chosen last, shown or not yet

let told = null;

function tell(error) {
  if (error?.status === 401) {
    askForToken();
    return;
  }
  const text = error === null ? "" : plain(error);
  if (byId("alert").textContent !== text) byId("alert").textContent = text;
  told = error;
}

async function sizeNote(blob) {
  const [, height, width] = guard.input_shape;
  try {
    const bitmap = await createImageBitmap(blob);
    if (bitmap.width !== width || bitmap.height !== height) {
      return `Scaled from ${size(bitmap.width, bitmap.height)} to ${size(width, height)}, as the guard sees it`;
    }
  } catch {
    // The service says what is wrong with it.
  }
  return `What the guard sees, ${size(width, height)}`;
}

const look = latest(async (question, waiting) => {
  const { of, name, eps } = question;
  byId("result").setAttribute("aria-busy", "true");
  try {
    const found = eps ? await attack(of.blob, name, eps) : await explain(of.blob);
    if (found.guard !== guard.fingerprint) await begin(); // another guard serves now
    of.note ??= await sizeNote(of.blob);
    if (waiting() === null || waiting().of === of) {
      if (!eps) of.before = found;
      picture = of;
      of.eps = eps;
      showVerdict(found, { guard, showP, showPlace, ...of });
      tell(null);
      if (found.pictures === "looking") {
        setTimeout(() => {
          if (waiting() === null && picture === of && controls.state().eps === eps) look(question);
        }, AGAIN);
      }
    }
  } catch (error) {
    if (waiting() === null) {
      wanted = picture;
      if (picture !== null) controls.put(picture.eps);
    }
    tell(error);
  }
  byId("result").removeAttribute("aria-busy");
});

function choose(blob, sample = null) {
  if (sample === null) press(null);
  wanted = { blob, shows: sample === null ? null : className(sample), before: null, note: null, eps: 0 };
  controls.put(0); // now, not with the answer: the slider may have been moved again by then
  look({ of: wanted, name: controls.state().name, eps: 0 });
}

const controls = listenForAttack(({ name, eps }) => {
  if (wanted !== null) look({ of: wanted, name, eps });
});

function askForToken() {
  byId("content").hidden = true;
  byId("links").hidden = true; // a link shows no token
  byId("token").hidden = false;
  byId("token-field").focus();
}

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token-field").value.trim());
  byId("token-field").value = "";
  byId("token").hidden = true;
  start(true);
});

/** Ask what serves, and make the page its own. */
async function begin() {
  guard = await getMap();
  const [channels, height, width] = guard.input_shape;
  byId("guard").textContent = `${guard.guard}, fingerprint ${guard.fingerprint.slice(0, 12)}`;
  byId("takes").textContent = `PNG, JPEG, WebP or BMP, ${channels === 1 ? "grey" : "coloured"}; scaled to ${size(width, height)}`;
  showP = scale(guard);
  showPlace = map(guard);
}

let begun = false;

async function start(shown = false) {
  try {
    await begin();
  } catch (error) {
    tell(error);
    if (error.status !== 401) setTimeout(start, 2000);
    else byId("alert").textContent = shown ? "This is not the service's token. Try again." : "";
    return;
  }
  tell(null);
  byId("content").hidden = false;
  if (begun) return;
  begun = true;
  listenForFiles(choose);
  watchTraffic(() => { if (told?.reason === "gone") tell(null); }, tell);
  try {
    showSamples(await getSamples(), choose);
    if (picture === null) document.querySelector(".sample")?.click();
  } catch (error) {
    tell(error);
  }
}

start();
