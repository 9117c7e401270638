// How a panel is laid out: where it is narrow, its controls are a drawer, buttons that are seldom used are behind "More",
// and one of its lower pictures is shown at a time;
// "Wide" gives the pictures the whole width, "Present" an audience: the stage, large, and the controls that matter.

function arrange(view, panel) {
  const head = panel.querySelector(".amkd-head");
  const button = (name, words, tip, act) => {
    const made = make(head, "button", { type: "button", class: `jupyter-button amkd-${name}`, title: tip }, words);
    made.addEventListener("click", act);
    return made;
  };
  const turn = (name) => view.send({ [name]: !view.get(name) });
  const fold = (name) => () => (panel.classList.toggle(`amkd-${name}`), mark());
  const shown = {
    open: button("drawer", "Controls", "Show or hide the controls", fold("open")),
    wide: button("widen", "Wide", "Give the pictures the whole width; the controls become a drawer", () => turn("wide")),
    present: button("presenter", "Present", "Two maps in large type for an audience; Esc ends it", () => turn("present")),
    full: button("more", "More", "Show or hide the other buttons", fold("full")),
  };
  const mark = () => {
    for (const [name, made] of Object.entries(shown)) {
      if (name === "wide" || name === "present") panel.classList.toggle(`amkd-${name}`, view.get(name));
      made.setAttribute("aria-pressed", String(panel.classList.contains(`amkd-${name}`)));
    }
  };
  // The whole screen, if the browser grants it: it does so for a click, not for a line of Python.
  const stage = () => {
    mark();
    if (view.get("present")) panel.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement === panel) document.exitFullscreen();
  };
  const left = () => document.fullscreenElement !== panel && view.get("present") && view.send({ present: false });
  panel.addEventListener("fullscreenchange", left);
  view.hear("wide", mark);
  view.hear("present", stage);
  mark();
  tabs(view.get("parts"), panel);
  return () => panel.removeEventListener("fullscreenchange", left);
}

// A row of buttons above the pictures that share one place in a narrow panel.
function tabs(names, panel) {
  const parts = names.map((_, n) => panel.querySelector(`.amkd-part-${n}`));
  if (!parts.length || parts.includes(null)) return;
  const row = make(null, "div", { class: "amkd-tabs", role: "toolbar", "aria-label": "Pictures" });
  const choose = (chosen) => parts.forEach((part, n) => {
    part.classList.toggle("amkd-now", n === chosen);
    row.children[n].setAttribute("aria-pressed", String(n === chosen));
  });
  names.forEach((name, n) => {
    make(row, "button", { type: "button", class: "jupyter-button" }, name).addEventListener("click", () => choose(n));
  });
  let first = parts.reduce((a, b) => (a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_PRECEDING ? b : a));
  while (!first.parentElement.classList.contains("amkd-pictures")) first = first.parentElement;
  first.before(row);
  choose(0);
}
