// The live view of traffic, refreshed while the page is looked at.

import { getTraffic } from "./api.js";
import { histogram, line } from "./charts.js";
import { byId, el } from "./dom.js";
import { count, percent } from "./words.js";

const EVERY = 2000;
const KEPT = 61; // two minutes of rates

const rate = (value) => (value >= 10 ? value.toFixed(0) : value.toFixed(1));

function tile(name, value, note, alarming = false) {
  return el("div", { class: alarming ? "tile alarming" : "tile" },
    el("dt", {}, name), el("dd", {}, el("strong", {}, value), el("small", {}, note)));
}

function draw(now, rates) {
  const share = now.inputs ? now.flagged / now.inputs : 0;
  const expected = percent(now.false_alarm_rate);
  const drift = now.drift_warning
    ? ["Drift", "what comes in does not look like the clean pictures of the calibration"]
    : ["None", now.inputs ? "the p-values look like those of clean pictures" : "nothing to judge by yet"];
  const tiles = el(
    "dl",
    { class: "tiles" },
    tile("Inputs a second", rate(rates.at(-1) ?? 0), `${count(now.inputs)} in all, ${count(now.waiting)} waiting`),
    tile("Flagged", now.inputs ? percent(share) : "–", `${expected} expected of clean pictures`, now.inputs > 100 && share > 3 * now.false_alarm_rate),
    tile("Refused", now.requests ? percent(now.refused / now.requests) : "–", `of ${count(now.requests)} requests`),
    tile("Drift", drift[0], drift[1], now.drift_warning),
  );
  const charts = el(
    "div",
    { class: "charts" },
    el("figure", {},
      line(rates.length > 1 ? rates : [0, 0], KEPT, `Inputs a second over the last two minutes, now ${rate(rates.at(-1) ?? 0)}`),
      el("figcaption", {}, `Inputs a second, last two minutes, at most ${rate(Math.max(0, ...rates))}`)),
    el("figure", {},
      histogram(now.p_values, `P-values since the start; ${percent(lowest(now))} are at most 0.1, where 10 % are expected`),
      el("figcaption", {}, "P-values from 0 to 1 since the start; the line is what clean traffic gives")),
  );
  const empty = el("p", { class: "hint" },
    "Nothing has come in yet. What you look at on this page is not counted; this is: ",
    el("code", {}, `curl -F picture=@FILE ${location.origin}/v1/detect`));
  byId("traffic").replaceChildren(tiles, ...(now.inputs ? [charts] : [empty]));
}

function lowest({ p_values: bins, inputs }) {
  const low = bins.filter(({ upto }) => upto <= 0.1).reduce((sum, bin) => sum + bin.count, 0);
  return inputs ? low / inputs : 0;
}

/** Begin to look; after each look `answered()` is told, or `failed(error)`. */
export function watchTraffic(answered, failed) {
  const rates = [];
  let before = null;

  async function look() {
    if (document.visibilityState === "visible") {
      try {
        const now = await getTraffic();
        const at = performance.now();
        if (before !== null && now.inputs >= before.inputs) {
          rates.push((1000 * (now.inputs - before.inputs)) / (at - before.at));
          rates.splice(0, rates.length - KEPT);
        }
        before = { inputs: now.inputs, at };
        draw(now, rates);
        answered();
      } catch (error) {
        before = null;
        failed(error);
      }
    }
    setTimeout(look, EVERY);
  }
  look();
}
