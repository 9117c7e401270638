// The joint map: samples between their places in the teacher's and in the student's layout. Hover, lasso, arrow keys,
// morph and zoom happen in the page; the kernel hears of the selection only.

const NEAR = 11; // pixels within which the pointer means a sample
const TIP = 96; // pixels of a thumbnail

class Scatter extends Drawing {
  constructor(model, el) {
    super(model);
    this.samples = new Samples(model);
    this.camera = { x: 0, y: 0, zoom: 1 };
    this.hover = -1;
    this.drawn = 0;
    this.build(el);
    this.over = this.bundle(() => this.draw());
    this.ask = () => ((this.stale = true), this.over());
    this.stops.push(onTheme(() => this.retheme()));
    this.hear("teacher student ids label boundary sprites palette names only facts", this.bundle(() => this.take()));
    this.hear("selection part", this.ask);
    this.hear("empty", () => this.ends2 || this.ask());
    this.hear("picked star misleading", this.over);
    this.hear("names palette only boundary", this.bundle(() => this.legend()));
    this.hear("morph", () => this.showMorph());
    this.hear("hovered", () => this.setHover(this.samples.place.get(this.get("hovered")) ?? -1, false));
    this.resized(this.stage, this.ask);
    this.retheme();
    this.showMorph();
    this.legend();
    this.take();
  }

  build(el) {
    this.root = make(el, "div", { class: "amkd-scatter", "data-lm-suppress-shortcuts": "true" });
    this.root.amkd = this; // tests ask it where a sample stands
    const bar = make(this.root, "div", { class: "amkd-scatter-bar", role: "toolbar", "aria-label": "Map" });
    const button = (text, tip, act, about = {}) => {
      const made = make(bar, "button", { type: "button", title: tip, "aria-label": tip, ...about }, text);
      made.addEventListener("click", act);
      return made;
    };
    const end = (t) => () => this.glide(t);
    this.ends = [button("\u25cf teacher", "Show the teacher's layout", end(0), { class: "amkd-end" })];
    this.range = make(bar, "input", { type: "range", min: 0, max: 1, step: 0.01, title: "From teacher to student" });
    this.range.setAttribute("aria-label", "Morph from teacher to student");
    this.range.addEventListener("input", () => this.model.set("morph", Number(this.range.value)));
    this.range.addEventListener("change", () => this.model.save_changes());
    this.range.addEventListener("keydown", (event) => this.scrub(event));
    this.ends.push(button("\u25c6 student", "Show the student's layout", end(1), { class: "amkd-end" }));
    make(bar, "span", { class: "amkd-gap" });
    this.tools = {
      lasso: button("\u2b1a", "Select: drag around samples, or click one", () => this.setTool("lasso")),
      pan: button("\u2725", "Move: drag the map", () => this.setTool("pan")),
    };
    button("+", "Zoom in", () => this.zoom(1.5));
    button("\u2212", "Zoom out", () => this.zoom(1 / 1.5));
    button("clear", "Clear the selection", () => this.choose([], false));
    button("fit", "Show all samples", () => ((this.camera = { x: 0, y: 0, zoom: 1 }), this.ask()));
    this.stage = make(this.root, "div", { class: "amkd-scatter-stage" });
    this.dots = make(this.stage, "canvas", { "aria-hidden": "true" }); // all samples: drawn when they change
    this.canvas = make(this.stage, "canvas", { tabindex: 0, role: "application" }); // over them: drawn when one is meant
    this.canvas.setAttribute("aria-roledescription", "map of samples");
    this.tip = make(this.stage, "div", { class: "amkd-tip", hidden: "" });
    this.thumb = make(this.tip, "canvas");
    this.tipText = make(this.tip, "div");
    this.keys = make(this.root, "div", { class: "amkd-legend", role: "group", "aria-label": "Classes" });
    this.spoken = make(this.root, "div", { class: "amkd-spoken", "aria-live": "polite" });
    this.setTool("lasso");
    const on = (name, act, options) => this.canvas.addEventListener(name, act, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    on("pointerup", (e) => this.up(e));
    on("pointercancel", () => ((this.drag = this.lasso = null), this.over()));
    on("pointerleave", () => !this.drag && this.setHover(-1));
    on("wheel", (e) => this.wheel(e), { passive: false });
    on("keydown", (e) => this.key(e));
    on("blur", () => this.setHover(-1));
  }

  setTool(name) {
    this.tool = name;
    for (const [own, made] of Object.entries(this.tools)) made.setAttribute("aria-pressed", String(own === name));
    this.canvas.style.cursor = name === "pan" ? "grab" : "crosshair";
  }

  // Names of the colours. A click shows one class alone, Shift + click adds another.
  legend() {
    const only = this.get("only"), names = this.get("names"), palette = this.get("palette");
    this.keys.replaceChildren();
    names.forEach((name, k) => {
      const made = make(this.keys, "button", { type: "button", title: "Show only this class; Shift + click adds one; click again for all" });
      make(made, "i").style.background = palette[k];
      if (lettered(names) && letterOf(names, k) !== name) make(made, "b", {}, `${letterOf(names, k)} `);
      made.append(shorten(name, 18));
      made.setAttribute("aria-pressed", String(only.includes(k)));
      made.classList.toggle("amkd-off", only.length > 0 && !only.includes(k));
      made.addEventListener("click", (event) => {
        const others = only.filter((other) => other !== k);
        const next = event.shiftKey ? (only.includes(k) ? others : [...only, k]) : only.includes(k) && !others.length ? [] : [k];
        this.send({ only: next });
      });
    });
    const marks = ["\u25cf teacher", "\u25c6 student", "\u25ef boundary sample", "\u00d7 the map misleads here"];
    if (names.length) make(this.keys, "span", {}, marks.join("   "));
  }

  retheme() {
    this.root.dataset.theme = document.body.dataset.jpThemeLight === "false" ? "dark" : "light";
    this.tone = null;
    this.ask();
  }

  // State for screen readers and for tests.
  tell() {
    const { samples } = this;
    const visible = samples.ids ? samples.ids.reduce((n, _, i) => n + samples.visible(i), 0) : 0;
    const selected = this.get("selection").length;
    const hover = this.hover >= 0 ? samples.ids[this.hover] : "", moving = this.from ? "1" : "";
    Object.assign(this.root.dataset, { count: visible, selected, hover, morph: this.get("morph"), moving });
    this.canvas.ariaLabel = `${visible} samples, ${selected} selected. Arrow keys move, Enter selects, Shift adds, Escape clears, plus and minus zoom.`;
  }

  // morph

  showMorph() {
    const t = this.get("morph");
    if (Number(this.range.value) !== t) this.range.value = t;
    this.range.setAttribute("aria-valuetext", `${Math.round(100 * t)} % from teacher to student`);
    this.ends.forEach((made, n) => made.setAttribute("aria-pressed", String(t === n)));
    this.ask();
  }

  glide(to) {
    const from = this.get("morph"), start = performance.now();
    const length = still() ? 0 : 600 * Math.abs(to - from);
    const step = (now) => {
      const share = length ? Math.min(1, Math.max(0, (now - start) / length)) : 1;
      this.model.set("morph", share === 1 ? to : from + share * (to - from)); // the kernel hears the end only
      if (share < 1) requestAnimationFrame(step);
      else this.model.save_changes();
    };
    requestAnimationFrame(step);
  }

  // pointer

  nearest(x, y, far = NEAR) {
    let best = -1, least = far * far;
    if (!this.at) return best;
    for (let i = 0; i < this.samples.ids.length; i++) {
      if (!this.samples.visible(i)) continue;
      const [u, v] = this.spot(i), d = (u - x) ** 2 + (v - y) ** 2;
      if (d <= least) [best, least] = [i, d];
    }
    return best;
  }

  here(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button !== 0 || !this.at) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    this.drag = { from: this.here(event), camera: { ...this.camera }, moved: false };
  }

  move(event) {
    const [x, y] = this.here(event);
    if (!this.drag) {
      this.setHover(this.nearest(x, y));
      return;
    }
    const [x0, y0] = this.drag.from;
    if (!this.drag.moved && Math.hypot(x - x0, y - y0) < 5) return;
    if (!this.drag.moved) this.setHover(-1);
    this.drag.moved = true;
    if (this.tool === "pan") {
      const s = this.scale();
      this.camera = { ...this.drag.camera, x: this.drag.camera.x - (x - x0) / s, y: this.drag.camera.y + (y - y0) / s };
    } else {
      this.lasso = this.lasso || [[x0, y0]];
      this.lasso.push([x, y]);
    }
    if (this.lasso) this.over();
    else this.ask();
  }

  up(event) {
    if (!this.drag) return;
    const { moved } = this.drag, lasso = this.lasso;
    this.drag = this.lasso = null;
    if (!moved) {
      const i = this.nearest(...this.here(event));
      if (i >= 0) this.choose([i], event.shiftKey, i);
      else if (!event.shiftKey) this.choose([], false);
    } else if (lasso) {
      const found = [];
      this.samples.ids.forEach((_, i) => this.samples.visible(i) && inside(lasso, ...this.spot(i)) && found.push(i));
      this.choose(found, event.shiftKey);
    }
    this.over();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 300), this.here(event));
  }

  zoom(factor, [x, y] = [this.width / 2, this.height / 2]) {
    if (!this.ends2) return;
    const zoom = Math.min(60, Math.max(0.5, this.camera.zoom * factor)), s = this.scale();
    const grown = (s * zoom) / this.camera.zoom;
    const shift = [x - this.width / 2, this.height / 2 - y];
    this.camera.x += shift[0] / s - shift[0] / grown;
    this.camera.y += shift[1] / s - shift[1] / grown;
    this.camera.zoom = zoom;
    this.ask();
  }

  // Change the selection, which lists and tables share.
  choose(positions, add, picked = null) {
    const ids = positions.map((i) => this.samples.ids[i]);
    const old = this.get("selection");
    let next = add ? [...old, ...ids.filter((id) => !old.includes(id))] : ids;
    if (add && ids.length === 1 && old.includes(ids[0])) next = old.filter((id) => id !== ids[0]);
    const before = this.get("picked");
    let pick = picked === null ? null : this.samples.ids[picked];
    if (pick === null || !next.includes(pick)) pick = next.includes(before) ? before : next[0] ?? null;
    this.send({ selection: next, picked: pick });
  }

  setHover(i, tell = true) {
    if (i === this.hover) return;
    this.hover = i;
    this.root.dataset.hover = i >= 0 ? this.samples.ids[i] : "";
    if (tell) this.model.set("hovered", i >= 0 ? this.samples.ids[i] : null); // stays in the page: never saved
    this.tip.hidden = i < 0 || !this.at;
    if (!this.tip.hidden) {
      this.thumb.hidden = !this.samples.thumbnail(this.thumb, i, TIP);
      this.tipText.replaceChildren(...this.samples.lines(i).map((line) => make(null, "div", {}, line)));
      this.spoken.textContent = document.activeElement === this.canvas ? this.samples.lines(i).join(", ") : "";
      this.placeTip();
    }
    this.over();
  }

  placeTip() {
    const [x, y] = this.spot(this.hover), { offsetWidth: w, offsetHeight: h } = this.tip;
    this.tip.style.left = `${Math.max(2, x + 14 + w > this.width ? x - 14 - w : x + 14)}px`;
    this.tip.style.top = `${Math.max(2, Math.min(this.height - h - 2, y - h / 2))}px`;
  }

  // keyboard

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) this.walk(...moves[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.hover >= 0) this.choose([this.hover], event.shiftKey, this.hover);
    else if (event.key === "Escape") this.choose([], false);
    else if (event.key === "+" || event.key === "=") this.zoom(1.3);
    else if (event.key === "-") this.zoom(1 / 1.3);
    else if (event.key === "0") (this.camera = { x: 0, y: 0, zoom: 1 }), this.ask();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Arrows on the slider go a twentieth of the way; JupyterLab would take them for its cells.
  scrub(event) {
    const by = { ArrowLeft: -0.05, ArrowDown: -0.05, ArrowRight: 0.05, ArrowUp: 0.05 }[event.key];
    event.stopPropagation();
    if (!by) return;
    event.preventDefault();
    this.send({ morph: clamp(Math.round(20 * (this.get("morph") + by)) / 20, 0, 1) });
  }

  // Go to the nearest sample in this direction; sideways counts double.
  walk(dx, dy) {
    if (!this.at) return;
    const picked = this.samples.place.get(this.get("picked"));
    const from = this.hover >= 0 ? this.hover : picked;
    if (from === undefined) {
      this.setHover(this.nearest(this.width / 2, this.height / 2, Infinity));
      return;
    }
    const [x, y] = this.spot(from);
    let best = -1, least = Infinity;
    for (let i = 0; i < this.samples.ids.length; i++) {
      if (i === from || !this.samples.visible(i)) continue;
      const [u, v] = this.spot(i);
      const along = (u - x) * dx + (v - y) * dy, aside = Math.abs((u - x) * dy + (v - y) * dx);
      if (along > 0 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
    }
    if (best >= 0) this.setHover(best);
  }
}

export default moduleOf(Scatter);
