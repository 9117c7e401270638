// One attacked image: the current iterate, the difference, the base; both nets' predictions; their logit gaps over the
// steps, with the slider right above the axis. Everything comes with the frame, so moving the slider needs no kernel.

const INSET = { left: 44, right: 14, top: 8, bottom: 20 }, HEIGHT = 168, PACE = 450; // ms a step while it plays

class Walk extends View {
  constructor(model, el) {
    super(model);
    this.root = make(el, "div", { class: "amkd-walk", "data-lm-suppress-shortcuts": "true" });
    this.note = make(this.root, "div", { class: "amkd-walk-empty" });
    const left = make(this.root, "div", { class: "amkd-walk-now" });
    this.now = figure(left, "now");
    const beside = make(left, "div");
    this.change = figure(beside, "change");
    const signs = make(beside, "div", { class: "amkd-signed" });
    for (const [colour, word] of [[ADDS, "brighter"], [TAKES, "darker"]]) {
      make(make(signs, "div", {}), "i", { style: `background: rgb(${colour})` }).after(word);
    }
    this.base = figure(beside, "base");
    this.answers = new Answers(left);
    const right = make(this.root, "div", { class: "amkd-walk-way" });
    const bar = make(right, "div", { class: "amkd-walk-bar" });
    this.play = make(bar, "button", { type: "button", class: "jupyter-button" });
    this.refined = make(bar, "button", { type: "button", class: "jupyter-button" }, "\u00d7 refined");
    this.refined.title = "The point of the boundary between the last step inside and the first one outside, by bisection";
    this.words = make(bar, "span", { class: "amkd-walk-words" });
    this.slider = make(right, "input", { type: "range", min: 0, step: 1, "aria-label": "step of the attack" });
    this.plot = make(right, "div", { class: "amkd-walk-plot" });
    this.legend = make(right, "div", { class: "amkd-walk-legend" });
    this.stops.push(() => this.stop());
    this.ask = this.bundle(() => this.draw());
    this.hear("frame", () => this.take());
    this.hear("step empty", this.ask);
    this.resized(this.plot, () => this.shape());
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.refined.addEventListener("click", () => this.go(this.frame.steps + 1));
    this.slider.addEventListener("input", () => (this.stop(), this.go(Number(this.slider.value))));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("pointerdown", (event) => (this.plot.setPointerCapture(event.pointerId), this.stop(), this.seek(event)));
    this.plot.addEventListener("pointermove", (event) => event.buttons && this.seek(event));
    this.take();
  }

  // Space plays and pauses; arrows scrub, also where the slider has not the focus.
  key(event) {
    if (event.key === "?") return; // the panel's
    event.stopPropagation();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], { frame } = this;
    if (event.key === " " && event.target === this.slider) this.play.click();
    else if (by && frame && event.target !== this.slider) {
      this.stop();
      this.go(clamp(this.get("step") + by, 0, frame.steps));
    } else return;
    event.preventDefault();
  }

  take() {
    const sent = this.get("frame");
    this.frame = sent.serial ? { ...sent } : null;
    const { frame } = this;
    if (frame) {
      frame.pixels = new Uint8Array(raw(frame.images));
      frame.change = new Int8Array(raw(frame.signed));
      for (const name of ["p", "at", "l2", "gap"]) frame[name] = floats(frame[name]);
      frame.many = frame.at.length;
      if (frame.hidden) this.stop();
      this.answers.shape(frame);
      this.slider.max = Math.max(frame.steps, 1);
      this.root.classList.toggle("amkd-walk-points", !frame.size[0]);
      if (frame.size[0]) paintImage(this.base.canvas, frame, 0);
      this.label(this.base, "base", frame.base, `base image, ${frame.base}`);
      this.shape();
    }
    this.ask();
  }

  label(figure, title, note, words) {
    figure.title.textContent = title;
    figure.note.textContent = ` ${note}`;
    figure.canvas.setAttribute("aria-label", words);
  }

  go(step) {
    this.send({ step }); // the manager keeps the newest while the kernel is busy
    this.ask();
  }

  start() {
    const { frame } = this;
    if (!frame || !frame.steps) return;
    if (this.get("step") >= frame.steps) this.go(0);
    this.timer = setInterval(() => {
      const next = this.get("step") + 1;
      this.go(next);
      if (next >= this.frame.steps) this.stop();
    }, PACE);
    this.ask();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.ask();
  }

  seek(event) {
    const { frame } = this;
    if (!frame || !frame.steps) return;
    const share = (event.clientX - this.plot.getBoundingClientRect().left - INSET.left) / this.width;
    this.go(Math.round(clamp(share, 0, 1) * frame.steps));
  }

  X(at) {
    return INSET.left + (at / Math.max(1, this.frame.steps)) * this.width;
  }

  Y(gap) {
    const [low, high] = this.range;
    return INSET.top + (1 - (gap - low) / (high - low)) * (HEIGHT - INSET.top - INSET.bottom);
  }

  // Draw the curves, without the marks of the current step.
  shape() {
    const { frame } = this, wide = this.plot.clientWidth;
    if (!frame || wide < 60) return;
    this.width = wide - INSET.left - INSET.right;
    const gaps = [0, ...frame.gap, ...frame.crossings.filter(Boolean).map((c) => c[1])];
    const low = Math.min(...gaps), high = Math.max(...gaps), span = high - low || 1;
    this.range = [Math.min(low - 0.06 * span, -0.18 * span), Math.max(high + 0.06 * span, 0.18 * span)]; // both sides named
    this.plot.replaceChildren();
    const svg = this.svg = draw(this.plot, "svg", { width: wide, height: HEIGHT, role: "img" });
    svg.setAttribute("aria-label", `logit gap ${frame.base} minus ${frame.target} over the steps of the attack`);
    const text = (kind, x, y, anchor, word) => (draw(svg, "text", { class: kind, x, y, "text-anchor": anchor }).textContent = word);
    for (const [v, word] of ticks(...this.range, 4)) {
      draw(svg, "line", { class: parseFloat(word) === 0 ? "amkd-zero" : "amkd-gridline", x1: INSET.left, x2: INSET.left + this.width, y1: this.Y(v), y2: this.Y(v) });
      text("amkd-tick", INSET.left - 6, this.Y(v) + 4, "end", word);
    }
    const every = Math.max(1, Math.ceil(frame.steps / Math.max(2, Math.floor(this.width / 44)))); // without steps: one label
    for (let s = 0; s <= frame.steps; s += every) {
      text("amkd-tick", this.X(s), HEIGHT - 5, "middle", s);
    }
    // where curves that fall leave room
    text("amkd-side", INSET.left + this.width - 2, this.Y(this.range[1]) + 14, "end", `${frame.base}'s side`);
    text("amkd-side", INSET.left + 4, this.Y(this.range[0]) - 4, "start", `${frame.target}'s side`);
    this.marker = draw(svg, "line", { class: "amkd-now-line", y1: INSET.top, y2: HEIGHT - INSET.bottom });
    this.dots = frame.nets.map((_, n) => {
      const crossing = frame.crossings[n];
      const points = Array.from({ length: frame.steps + 1 }, (_, s) => [s, this.gap(n, s)]);
      if (crossing) points.push(crossing); // between two steps a net need not be linear: the curve bends there
      const sorted = points.sort((a, b) => a[0] - b[0]).map(([s, gap]) => `${this.X(s)},${this.Y(gap)}`);
      draw(svg, "polyline", { class: `amkd-net-${n}`, points: sorted.join(" "), fill: "none" });
      if (crossing) cross(svg, this.X(crossing[0]), this.Y(crossing[1]), n);
      if (n === frame.attacked && frame.crossed) {
        draw(svg, "circle", { class: "amkd-ring-mark", cx: this.X(frame.steps), cy: this.Y(this.gap(n, frame.steps)), r: 7 });
      }
      return draw(svg, n ? "rect" : "circle", { class: `amkd-dot-${n}`, ...(n ? { width: 8, height: 8 } : { r: 4.5 }) });
    });
    this.legend.replaceChildren(...this.keys());
    this.ask();
  }

  gap(n, which) {
    return this.frame.gap[n * this.frame.many + which];
  }

  keys() {
    const key = (width, height, paint, word) => {
      const made = make(null, "span");
      paint(draw(made, "svg", { width, height, "aria-hidden": "true" }));
      made.append(` ${word}`);
      return made;
    };
    const made = this.frame.nets.map((name, n) => key(26, 10, (svg) => draw(svg, "line", { class: `amkd-net-${n}`, x1: 0, x2: 26, y1: 5, y2: 5 }), name));
    const ring = { class: "amkd-ring-mark", cx: 7, cy: 7, r: 5 };
    if (this.frame.crossed) made.push(key(14, 14, (svg) => draw(svg, "circle", ring), "boundary sample"));
    if (this.frame.crossings.some(Boolean)) made.push(key(14, 14, (svg) => cross(svg, 7, 7, 0), "leaves its class (refined)"));
    made.push(make(null, "span", { class: "amkd-note" }, "logit gap, base \u2212 target, at each step"));
    return made;
  }

  draw() {
    const { frame } = this;
    this.root.dataset.empty = String(!frame);
    this.note.textContent = frame ? "" : this.get("empty");
    if (!frame) return;
    const step = Math.min(this.get("step"), frame.many - 1), refined = step === frame.steps + 1;
    if (frame.size[0]) {
      paintImage(this.now.canvas, frame, step);
      paintSigned(this.change.canvas, frame, step);
    }
    const place = refined ? "refined point" : step ? `step ${step}` : "base";
    this.label(this.now, place, refined || !step ? "" : `of ${frame.steps}`, `the image, ${place}`);
    this.label(this.change, "difference", frame.hidden ? "" : `\u00d7${frame.factor}`, `the change from the base, magnified ${frame.factor} times`);
    this.change.made.title = `orange: brighter, blue: darker; full colour at ${(1 / frame.factor).toFixed(2)} of the pixel range, mean over channels`;
    this.answers.set(step, frame.many, (n) => signed(this.gap(n, step)));
    const where = `${place}${refined || !step ? "" : ` of ${frame.steps}`}`;
    this.words.textContent = frame.hidden ? "hidden until you answer" : `${where} \u00b7 L2 ${decimals(frame.l2[step])} from the base`;
    this.words.title = "L2: root of the summed squares of the changes, pixel values in [0, 1]";
    this.slider.disabled = !frame.steps;
    this.slider.value = Math.min(step, frame.steps);
    this.slider.setAttribute("aria-valuetext", `${place} of ${frame.steps}; ${frame.nets.map((name, n) => `${name} predicts ${frame.says[n][step]}`).join(", ")}`);
    this.play.disabled = !frame.steps;
    this.play.textContent = this.timer ? "\u23f8 pause" : "\u25b6 play";
    this.refined.disabled = !frame.crossed;
    this.refined.setAttribute("aria-pressed", String(refined));
    if (this.svg) {
      const x = this.X(frame.at[step]);
      this.marker.setAttribute("x1", x);
      this.marker.setAttribute("x2", x);
      this.dots.forEach((dot, n) => {
        const y = this.Y(this.gap(n, step));
        dot.setAttribute("transform", `translate(${x} ${y})${n ? " rotate(45) translate(-4 -4)" : ""}`);
      });
    }
    Object.assign(this.root.dataset, { step, steps: frame.steps, serial: frame.serial });
  }
}

function draw(parent, tag, about) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(about)) made.setAttribute(name, value);
  parent.appendChild(made);
  return made;
}

function cross(svg, x, y, n) {
  for (const kind of ["amkd-cross-paper", `amkd-cross-${n}`]) {
    draw(svg, "path", { class: kind, d: `M${x - 4} ${y - 4}l8 8m-8 0l8 -8` });
  }
}

const signed = (v) => decimals(Math.abs(v) < 0.005 ? 0 : v);

export default moduleOf(Walk);
