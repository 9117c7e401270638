// First steps: callouts that point at parts of a panel, one at a time. Once they are closed they do not come back in this
// browser; the help has a button that shows them again.

const WIDTH_OF_COACH = 300; // pixels, as in panel.css

function coach(view, panel) {
  const steps = view.get("steps"), key = `amkd-coach ${view.get("greets")}`;
  const own = (event) => event.target.closest(".amkd-panel") === panel; // not that of a guest
  let card = null, stop = () => {};

  const close = () => {
    if (!card) return;
    stop();
    card.remove();
    card = null;
    panel.querySelector(".amkd-pointed")?.classList.remove("amkd-pointed");
    if (view.get("greets")) remember(key);
  };

  const begin = (focus) => {
    if (card) close();
    if (!steps.length) return;
    card = make(null, "section", { class: "amkd-coach", "aria-label": "First steps" });
    const words = make(card, "p", { "aria-live": "polite" });
    const row = make(card, "div");
    const count = make(row, "span");
    const next = make(row, "button", { type: "button", class: "jupyter-button mod-primary" });
    const end = make(row, "button", { type: "button", class: "jupyter-button" }, "Close");
    let now = 0;
    const place = () => put(card, panel, target(panel, steps[now][0]));
    const show = () => {
      panel.querySelector(".amkd-pointed")?.classList.remove("amkd-pointed");
      target(panel, steps[now][0]).classList.add("amkd-pointed");
      words.textContent = steps[now][1];
      count.textContent = `${now + 1} of ${steps.length}`;
      next.textContent = now + 1 < steps.length ? "Next" : "Done";
      end.hidden = now + 1 === steps.length;
      place();
    };
    next.addEventListener("click", () => (++now < steps.length ? show() : close()));
    end.addEventListener("click", close);
    card.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close();
      panel.querySelector(".amkd-head button").focus({ preventScroll: true });
    });
    panel.querySelector(".amkd-head").after(card);
    const sizes = new ResizeObserver(place);
    sizes.observe(panel);
    stop = () => sizes.disconnect();
    show();
    if (focus) next.focus({ preventScroll: true });
  };

  const again = (event) => own(event) && event.target.matches(".amkd-tour") && begin(true);
  panel.addEventListener("click", again);
  if (view.get("greets") && !remembered(key)) begin(false);
  return () => {
    panel.removeEventListener("click", again);
    close();
  };
}

// The part itself; the head where it is hidden, such as the controls of a narrow panel.
function target(panel, selector) {
  const part = panel.querySelector(selector);
  return part?.getClientRects().length ? part : panel.querySelector(".amkd-head");
}

// Beside a part, else below it, else in its upper right corner; always within the panel.
function put(card, panel, part) {
  const outer = panel.getBoundingClientRect(), box = part.getBoundingClientRect(), gap = 10;
  const right = outer.right - box.right > WIDTH_OF_COACH + 2 * gap, below = outer.bottom - box.bottom > card.offsetHeight + gap;
  const left = right ? box.right - outer.left + gap : box.right - outer.left - WIDTH_OF_COACH - 2 * gap;
  const top = box.top - outer.top + (right || !below ? gap : box.height + gap);
  card.style.left = `${clamp(left, gap, Math.max(gap, outer.width - WIDTH_OF_COACH - gap))}px`;
  card.style.top = `${Math.max(gap, top)}px`;
}

// A browser may forbid to store anything; the callouts then come again.
function remember(key) {
  try {
    localStorage.setItem(key, "seen");
  } catch {
    return;
  }
}

function remembered(key) {
  try {
    return localStorage.getItem(key) !== null;
  } catch {
    return false;
  }
}
