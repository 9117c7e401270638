// Small axes beside each other: lines over epochs, and dotted lines where a setting was overridden.
// The legend in each caption gives the last values, or those at the pointer in all axes at once.

const PAD = { left: 40, right: 8, top: 8, bottom: 18 }; // half a line of numbers above the axis
const short = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toPrecision(3)).replace("-", "\u2212");

class Curves extends View {
  constructor(model, el) {
    super(model);
    this.root = make(el, "div", { class: "amkd-curves" });
    this.cells = [];
    this.drawn = 0;
    this.at = null; // epoch under the pointer
    this.ask = this.bundle(() => this.draw());
    this.resized(this.root, this.ask);
    this.stops.push(onTheme(this.ask));
    this.hear("series axes", () => this.take());
    this.hear("events end empty", this.ask);
    this.take();
  }

  take() {
    this.series = this.get("series").map((s) => ({ ...s, x: floats(s.x), y: floats(s.y) }));
    this.ask();
  }

  point(at) {
    this.at = at;
    this.ask();
  }

  build(count) {
    while (this.cells.length > count) this.cells.pop().figure.remove();
    while (this.cells.length < count) {
      const figure = make(this.root, "figure"), caption = make(figure, "figcaption");
      const canvas = make(figure, "canvas", { role: "img" });
      canvas.addEventListener("pointermove", (event) => {
        const width = canvas.clientWidth - PAD.left - PAD.right;
        this.point(clamp(Math.round(((event.offsetX - PAD.left) / width) * this.last), 0, this.last));
      });
      canvas.addEventListener("pointerleave", () => this.point(null));
      this.cells.push({ figure, canvas, title: make(caption, "b"), unit: make(caption, "span") });
    }
  }

  draw() {
    if (!this.root.isConnected) return;
    const axes = this.get("axes");
    this.root.dataset.empty = axes.length ? "" : "yes";
    if (!axes.length || !this.cells.length) this.root.textContent = axes.length ? "" : this.get("empty");
    if (!axes.length) this.cells = [];
    this.build(axes.length);
    const reached = Math.max(1, ...this.series.map((s) => s.x[s.x.length - 1] || 0));
    // room to grow, doubled when it is used up: fifteen epochs of 400 are not a line at the left edge
    this.last = Math.max(reached, Math.min(this.get("end"), Math.max(8, 2 ** Math.ceil(Math.log2(reached + 1)))));
    this.root.dataset.last = this.last;
    const grid = getComputedStyle(this.root).getPropertyValue("--amkd-grid").trim() || "#e7eaef";
    this.colours = { ...coloursOf(this.root), grid };
    axes.forEach((axis, index) => {
      const curves = this.series.filter((s) => s.axis === index && s.x.length);
      this.axis(this.cells[index], curves);
      this.caption(this.cells[index], axis, curves.map((s) => [s, ...this.value(s)]));
    });
    const points = Math.max(0, ...this.series.map((s) => s.x.length));
    Object.assign(this.root.dataset, { drawn: ++this.drawn, points });
  }

  // Epoch and value of a curve at the pointer, or its last ones.
  value(s) {
    let i = s.x.length - 1;
    while (this.at !== null && i > 0 && s.x[i] > this.at) i--;
    return [s.x[i], s.y[i]];
  }

  axis({ figure, canvas }, curves) {
    const width = figure.clientWidth, height = this.get("height");
    if (width < 60) return;
    const pen = fitted(canvas, width, height), { colours, last } = this, bottom = height - PAD.bottom;
    pen.font = "11px system-ui, sans-serif";
    const values = curves.flatMap((s) => [...s.y]);
    let low = Math.min(...values), high = Math.max(...values);
    if (!(low <= high)) [low, high] = [0, 1];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    low -= low >= 0 && low - room < 0 ? low : room; // below 0 only where values are
    high += room;
    const X = (x) => PAD.left + (x / last) * (width - PAD.left - PAD.right);
    const Y = (y) => PAD.top + (1 - (y - low) / (high - low)) * (bottom - PAD.top);
    const line = (points, colour, thick = 1, dash = []) => {
      trace(pen, points);
      stroke(pen, colour, thick, dash);
    };
    const dot = (x, y, colour) => {
      shape(pen, "circle", x, y, 2.5);
      fill(pen, colour, pen.globalAlpha);
    };
    const text = (words, x, y, colour, align, base) => {
      Object.assign(pen, { fillStyle: colour, textAlign: align, textBaseline: base });
      pen.fillText(words, x, y);
    };
    for (const [v, words] of ticks(low, high, Math.max(2, (bottom - PAD.top) / 34))) {
      line([[PAD.left, Y(v)], [width - PAD.right, Y(v)]], colours.grid);
      text(words, PAD.left - 4, Y(v), colours.muted, "right", "middle");
    }
    const written = this.epochs(pen, X, width - PAD.right - pen.measureText("epoch").width - 5);
    for (const [v, words] of written) text(words, X(v), bottom + 4, colours.muted, "center", "top");
    canvas.dataset.ticks = written.map(([, words]) => words).join(" ");
    text("epoch", width - PAD.right, bottom + 4, colours.muted, "right", "top");
    const events = this.get("events");
    for (const { x } of events) line([[X(x), PAD.top], [X(x), bottom]], colours.accent, 1, [2, 3]);
    for (const s of curves) {
      pen.globalAlpha = s.faint ? 0.75 : 1;
      const colour = s.colour || colours.ink;
      line([...s.x].map((x, i) => [X(x), Y(s.y[i])]), colour, s.faint ? 1.4 : 2, s.faint ? [5, 3] : []);
      if (s.x.length === 1) dot(X(s.x[0]), Y(s.y[0]), colour);
    }
    pen.globalAlpha = 1;
    if (this.at === null) return;
    line([[X(this.at), PAD.top], [X(this.at), bottom]], colours.line);
    for (const s of curves) {
      const [x, y] = this.value(s);
      dot(X(x), Y(y), s.colour || colours.ink);
    }
    events.filter((e) => Math.abs(e.x - this.at) <= Math.max(0.5, last / 100)).forEach((event, row) => {
      const left = Math.max(PAD.left + 2, Math.min(X(event.x) + 4, width - pen.measureText(event.text).width - 4));
      text(event.text, left, PAD.top + 2 + 13 * row, colours.accent, "left", "top");
    });
  }

  // The numbers of the axis, left of its name; in a narrow one the first and the last that have room.
  epochs(pen, X, end) {
    const enough = Math.max(2, (X(this.last) - X(0)) / 60), right = ([v, words]) => X(v) + pen.measureText(words).width / 2;
    const fit = (wanted) => ticks(0, this.last, wanted).filter((tick) => tick[0] === Math.round(tick[0]) && right(tick) < end);
    const found = fit(enough), close = found.length > 1 ? [] : fit(4 * enough);
    return close.length > 1 ? [close[0], close.at(-1)] : found;
  }

  caption({ canvas, title, unit }, axis, values) {
    title.textContent = axis.title;
    unit.textContent = values.length && this.at !== null ? ` epoch ${this.at}: ` : ` ${axis.unit} `;
    for (const [s, , y] of values.slice(0, 6)) {
      const value = make(unit, "em", {}, `${values.length > 1 ? `${s.name} ` : ""}${short(y)}`);
      value.style.color = s.faint ? this.colours.muted : this.colours.ink;
      value.style.borderBottom = `2px solid ${s.colour || this.colours.ink}`;
      unit.append(" ");
    }
    const words = values.map(([s, x, y]) => `${s.name} ${short(y)} at epoch ${x}`).join(", ");
    canvas.setAttribute("aria-label", `${axis.title}, ${axis.unit}: ${words}`);
  }
}

export default moduleOf(Curves);
