// Dropping, pasting, choosing: whatever way a picture comes in.

import { byId, el } from "./dom.js";
import { className, levels } from "./words.js";

function fromDataUrl(url) {
  const bytes = atob(url.slice(url.indexOf(",") + 1));
  return new Blob([Uint8Array.from(bytes, (c) => c.charCodeAt(0))], { type: "image/png" });
}

/** Listen for files; `chosen(blob)` is told of each. */
export function listenForFiles(chosen) {
  const input = byId("file");
  const take = (files) => {
    if (files.length) chosen(files[0]);
  };
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  const drop = byId("drop");
  let depth = 0;
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (isFile(event)) drop.classList.toggle("over", (depth += 1) > 0);
  });
  document.addEventListener("dragleave", () => drop.classList.toggle("over", (depth -= 1) > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // anywhere: a browser would leave the page for the picture
    depth = 0;
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
}

function sampleButton(sample, chosen) {
  const name = className(sample);
  const button = el(
    "button",
    { type: "button", class: "sample", "aria-pressed": "false", title: name },
    el("img", { src: sample.picture, alt: sample.eps ? `${name}, attacked, ${levels(sample.eps)}` : `${name}, clean`, width: 48, height: 48 }),
  );
  button.addEventListener("click", () => {
    press(button);
    chosen(fromDataUrl(sample.picture), sample);
  });
  return button;
}

/** Mark a sample as the one shown; none for `null`. */
export function press(button) {
  for (const other of document.querySelectorAll(".sample")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

/** Show the samples, or why there are none. */
export function showSamples({ samples, reason }, chosen) {
  const place = byId("samples");
  place.removeAttribute("aria-busy");
  if (!samples.length) {
    place.replaceChildren(el("p", { class: "hint" }, reason ?? "There are no samples."));
    return;
  }
  const group = (title, some) =>
    el("fieldset", { class: "samples" }, el("legend", {}, title), ...some.map((one) => sampleButton(one, chosen)));
  const clean = samples.filter((sample) => !sample.eps);
  const attacked = samples.filter((sample) => sample.eps);
  place.replaceChildren(
    group("Clean samples", clean),
    attacked.length
      ? group("The same, attacked with PGD", attacked)
      : el("p", { class: "hint" }, "Attacked with PGD, within 32/255, the model stays right on all of them."),
  );
}
