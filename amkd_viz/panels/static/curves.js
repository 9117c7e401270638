// Small axes beside each other, one number each: lines over epochs, and where a person changed something.
// Direct labels at the lines' ends; the pointer reads values in every axis at once.

const PAD = { left: 40, right: 8, top: 4, bottom: 18 };

const short = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toPrecision(3)).replace("-", "\u2212");

class Curves {
  constructor(model, el) {
    this.model = model;
    this.root = el.appendChild(document.createElement("div"));
    this.root.className = "amkd-curves";
    this.cells = [];
    this.drawn = 0;
    const sizes = new ResizeObserver(() => this.ask());
    sizes.observe(this.root);
    const unwatch = onTheme(() => this.ask());
    const take = () => this.take(), ask = () => this.ask();
    model.on("change:series change:axes", take);
    model.on("change:events change:end change:empty", ask);
    this.close = () => {
      sizes.disconnect();
      unwatch();
      cancelAnimationFrame(this.asked);
      model.off("change:series change:axes", take);
      model.off("change:events change:end change:empty", ask);
    };
    this.take();
  }

  take() {
    this.series = this.model.get("series").map((s) => ({ ...s, x: floats(s.x), y: floats(s.y) }));
    this.ask();
  }

  ask() {
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(() => this.draw());
  }

  build(count) {
    while (this.cells.length > count) this.cells.pop().figure.remove();
    while (this.cells.length < count) {
      const figure = this.root.appendChild(document.createElement("figure"));
      const caption = figure.appendChild(document.createElement("figcaption"));
      const cell = { figure, title: caption.appendChild(document.createElement("b")) };
      cell.unit = caption.appendChild(document.createElement("span"));
      cell.canvas = figure.appendChild(document.createElement("canvas"));
      cell.canvas.setAttribute("role", "img");
      cell.canvas.addEventListener("pointermove", (event) => {
        const left = cell.canvas.getBoundingClientRect().left + PAD.left;
        this.at = this.xOf ? this.xOf(event.clientX - left, cell) : null;
        this.ask();
      });
      cell.canvas.addEventListener("pointerleave", () => {
        this.at = null;
        this.ask();
      });
      this.cells.push(cell);
    }
  }

  draw() {
    if (!this.root.isConnected) return;
    const axes = this.model.get("axes");
    this.root.dataset.empty = axes.length ? "" : "yes";
    if (!axes.length) {
      this.build(0);
      this.root.textContent = this.model.get("empty");
      return;
    }
    if (!this.cells.length) this.root.textContent = "";
    this.build(axes.length);
    const style = getComputedStyle(this.root), colour = (name) => style.getPropertyValue(`--amkd-${name}`).trim() || "#888";
    const ratio = window.devicePixelRatio || 1;
    const last = Math.max(this.model.get("end"), 1, ...this.series.map((s) => s.x[s.x.length - 1] || 0));
    axes.forEach((axis, index) => {
      const cell = this.cells[index], own = this.series.filter((s) => s.axis === index && s.x.length);
      const width = cell.figure.clientWidth, height = this.model.get("height");
      if (width < 60) return;
      cell.canvas.width = Math.round(width * ratio);
      cell.canvas.height = Math.round(height * ratio);
      cell.canvas.style.width = `${width}px`;
      cell.canvas.style.height = `${height}px`;
      const context = cell.canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const inner = { w: width - PAD.left - PAD.right, h: height - PAD.top - PAD.bottom };
      let low = Infinity, high = -Infinity;
      for (const s of own) for (const v of s.y) { low = Math.min(low, v); high = Math.max(high, v); }
      if (!(low <= high)) [low, high] = [0, 1];
      const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
      low -= low >= 0 && low - room < 0 ? low : room; // not below 0 without need
      high += room;
      const X = (x) => PAD.left + (x / last) * inner.w, Y = (y) => PAD.top + (1 - (y - low) / (high - low)) * inner.h;
      this.xOf = (pixels, at) => Math.min(Math.max(Math.round((pixels / (at.figure.clientWidth - PAD.left - PAD.right)) * last), 0), last);

      context.font = "11px system-ui, sans-serif";
      context.lineWidth = 1;
      context.textBaseline = "middle";
      context.textAlign = "right";
      for (const [v, word] of ticks(low, high, Math.max(2, inner.h / 34))) {
        context.strokeStyle = colour("grid");
        context.beginPath();
        context.moveTo(PAD.left, Y(v));
        context.lineTo(width - PAD.right, Y(v));
        context.stroke();
        context.fillStyle = colour("muted");
        context.fillText(word, PAD.left - 4, Y(v));
      }
      context.textBaseline = "top";
      context.textAlign = "center";
      for (const [v, word] of ticks(0, last, Math.max(2, inner.w / 60))) {
        if (v === Math.round(v) && X(v) < width - 8) context.fillText(word, X(v), height - PAD.bottom + 4);
      }
      for (const event of this.model.get("events")) {
        context.strokeStyle = colour("accent");
        context.setLineDash([2, 3]);
        context.beginPath();
        context.moveTo(X(event.x), PAD.top);
        context.lineTo(X(event.x), PAD.top + inner.h);
        context.stroke();
        context.setLineDash([]);
      }
      const told = [];
      for (const s of own) {
        context.globalAlpha = s.faint ? 0.45 : 1;
        context.strokeStyle = s.colour || colour("ink");
        context.fillStyle = context.strokeStyle;
        context.lineWidth = s.faint ? 1.2 : 2;
        context.setLineDash(s.dash ? [5, 4] : []);
        context.beginPath();
        for (let i = 0; i < s.x.length; i++) context[i ? "lineTo" : "moveTo"](X(s.x[i]), Y(s.y[i]));
        context.stroke();
        context.setLineDash([]);
        if (s.x.length === 1) {
          context.beginPath();
          context.arc(X(s.x[0]), Y(s.y[0]), 2.5, 0, 7);
          context.fill();
        }
        context.globalAlpha = 1;
        let i = s.x.length - 1;
        if (this.at !== null && this.at !== undefined) while (i > 0 && s.x[i] > this.at) i--;
        told.push([s, s.x[i], s.y[i]]);
      }
      if (this.at !== null && this.at !== undefined) {
        context.strokeStyle = colour("line");
        context.beginPath();
        context.moveTo(X(this.at), PAD.top);
        context.lineTo(X(this.at), PAD.top + inner.h);
        context.stroke();
        for (const [s, x, y] of told) {
          context.fillStyle = s.colour || colour("ink");
          context.beginPath();
          context.arc(X(x), Y(y), 2.5, 0, 7);
          context.fill();
        }
        context.textAlign = "left";
        const changed = this.model.get("events").filter((e) => Math.abs(e.x - this.at) <= Math.max(0.5, last / 100));
        changed.forEach((event, line) => {
          context.fillStyle = colour("accent");
          const wide = context.measureText(event.text).width;
          context.fillText(event.text, Math.max(PAD.left + 2, Math.min(X(event.x) + 4, width - wide - 4)), PAD.top + 2 + 13 * line);
        });
      }
      cell.title.textContent = axis.title;
      cell.unit.textContent = "";
      cell.unit.append(` ${axis.unit} `);
      const when = this.at === null || this.at === undefined ? "" : `epoch ${this.at}: `;
      if (told.length) cell.unit.append(when);
      for (const [s, , y] of told.slice(0, 6)) {
        const value = cell.unit.appendChild(document.createElement("em"));
        value.style.color = s.faint ? colour("muted") : colour("ink");
        value.style.borderBottom = `2px ${s.dash ? "dashed" : "solid"} ${s.colour || colour("ink")}`;
        value.textContent = `${own.length > 1 ? `${s.name} ` : ""}${short(y)}`;
        cell.unit.append(" ");
      }
      const words = told.map(([s, x, y]) => `${s.name} ${short(y)} at epoch ${x}`).join(", ");
      cell.canvas.setAttribute("aria-label", `${axis.title}, ${axis.unit}: ${words}`);
    });
    this.drawn += 1;
    this.root.dataset.drawn = this.drawn;
    this.root.dataset.points = Math.max(0, ...this.series.map((s) => s.x.length));
  }
}

export default {
  render({ model, el }) {
    const curves = new Curves(model, el);
    return () => curves.close();
  },
};
