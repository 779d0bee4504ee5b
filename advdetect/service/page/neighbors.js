// The landmarks nearest to the input in each layer, with their pictures where these are known.

import { breakable, byId, el } from "./dom.js";
import { className, percent } from "./words.js";

function tile(neighbor, label) {
  const name = className(neighbor);
  const what = `${name}, ${percent(neighbor.similarity)} of the units agree`;
  return el(
    "li",
    { class: neighbor.label === label ? null : "other", title: what },
    neighbor.picture
      ? el("img", { src: neighbor.picture, alt: "", width: 64, height: 64 })
      : el("span", { class: "blank", "aria-hidden": "true" }, name.slice(0, 2)),
    el("span", { class: "name" }, name),
    neighbor.label === label ? null : el("span", { class: "hidden" }, " (another class)"),
  );
}

const NOTES = {
  looking: "Their pictures are being looked up; a moment …",
  none: "A guard keeps its landmarks as activation patterns, not as pictures: those of this one are not among the pictures that come with advdetect.",
};

function place(i, layers) {
  if (i > 0 && i < layers - 1) return null;
  return el("small", {}, i === 0 ? "first" : "last");
}

export function showNeighbors(found) {
  if (found.neighbors === null) {
    byId("neighbors").replaceChildren(
      el("p", { class: "hint" }, "This guard compares inputs with no landmarks."),
    );
    return;
  }
  const other = found.neighbors.filter(({ nearest }) =>
    2 * nearest.filter((one) => one.label !== found.label).length > nearest.length).length;
  const lead = other === 0
    ? "In every layer shown, most of the nearest clean pictures are of the class that the model says."
    : `In ${other} of the ${found.neighbors.length} layers shown, most of the nearest clean pictures are of another class than the model says (framed).`;
  byId("neighbors").replaceChildren(
    el("p", { class: "lead" }, lead),
    ...found.neighbors.map(({ layer, nearest }, i) =>
      el(
        "section",
        { class: "layer" },
        el("h3", {}, ...breakable(layer), place(i, found.neighbors.length)),
        el("ol", {}, ...nearest.map((one) => tile(one, found.label))),
      ),
    ),
    ...(NOTES[found.pictures] ? [el("p", { class: "hint" }, NOTES[found.pictures])] : []),
  );
}
