// The p-value on its scale: logarithmic, for small ones are what matters.

import { byId, svg } from "./dom.js";
import { digits, percent } from "./words.js";

const HEIGHT = 88;
const LINE = 40;

/** The scale of a guard; returns a function that shows a p-value on it. */
export function scale(guard) {
  const least = Math.min(1 / (guard.calibrated_on + 1), guard.false_alarm_rate / 2);
  const decades = -Math.log10(least);
  const at = (p) => 3 + 94 * (1 + Math.log10(Math.max(p, least)) / decades);
  const threshold = at(guard.false_alarm_rate);

  const ticks = [];
  for (let p = 1; p >= least * 0.999; p /= 10) ticks.push(p);
  const ground = svg(
    "g",
    {},
    svg("rect", { class: "flagged-zone", x: "0%", y: LINE - 6, width: `${threshold}%`, height: 12, rx: 6 }),
    svg("rect", { class: "clean-zone", x: `${threshold}%`, y: LINE - 6, width: `${100 - threshold}%`, height: 12, rx: 6 }),
    svg("line", { class: "threshold", x1: `${threshold}%`, x2: `${threshold}%`, y1: LINE - 12, y2: HEIGHT }),
    svg("text", { class: "limit", x: `${threshold}%`, dx: -4, y: HEIGHT - 3, "text-anchor": "end" }, `← flagged, ${percent(guard.false_alarm_rate)} and below`),
    ...ticks.flatMap((p) => [
      svg("line", { class: "tick", x1: `${at(p)}%`, x2: `${at(p)}%`, y1: LINE + 8, y2: LINE + 13 }),
      svg("text", { x: `${at(p)}%`, y: LINE + 28, "text-anchor": p === 1 ? "end" : "middle" }, percent(p)),
    ]),
  );
  const dot = svg("circle", { class: "dot", cy: LINE, r: 8, cx: "50%" });
  const label = svg("text", { class: "value", y: LINE - 17 });
  const title = svg("title", { id: "scale-text" });
  const picture = svg(
    "svg",
    { role: "img", "aria-labelledby": "scale-text", width: "100%", height: HEIGHT },
    title, ground, dot, label,
  );
  byId("scale").replaceChildren(picture);

  return ({ p_value: p, flagged }) => {
    const x = at(p);
    dot.setAttribute("cx", `${x}%`);
    dot.classList.toggle("flagged", flagged);
    label.setAttribute("x", `${x}%`);
    label.setAttribute("text-anchor", x < 20 ? "start" : x > 80 ? "end" : "middle");
    label.textContent = `p = ${digits(p)}`;
    title.textContent = `P-value ${digits(p)}; the guard flags ${guard.false_alarm_rate} and below.`;
  };
}
