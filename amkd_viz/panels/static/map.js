// Decision maps on canvases: each cell a square of whole colour, never smoothed. Class is hue, confidence is opacity.
// The kernel sends bytes; hovering, dragging and drawing happen here, without a round trip.

const FAINT = 0.18, FULL = 0.72; // opacity at no and at full confidence, as in the printed figures
const MOST = 12; // classes in the legend
const NONE = 65535; // a cell without finite logits
const PAD = { left: 34, right: 6, top: 4, bottom: 20 };

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function classes(view, cells) {
  const own = bytes(view);
  if (own.length === cells) return Uint16Array.from(own, (k) => (k === 255 ? NONE : k));
  return new Uint16Array(own.slice().buffer);
}

// One picture of R x R cells, row 0 at the bottom of the area.
function pixels(map, side, palette) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const table = palette.map(rgb);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const from = row * side + column, to = 4 * ((side - 1 - row) * side + column);
      const k = map.winner[from];
      if (k === NONE) continue;
      const colour = table[k % table.length];
      image.data[to] = colour[0];
      image.data[to + 1] = colour[1];
      image.data[to + 2] = colour[2];
      const level = map.confidence ? map.confidence[from] / 255 : 1;
      image.data[to + 3] = 255 * (FAINT + (FULL - FAINT) * level);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function differs(a, b, side) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const from = row * side + column;
      if (a.winner[from] === NONE || a.winner[from] !== b.winner[from]) {
        image.data[4 * ((side - 1 - row) * side + column) + 3] = 255;
      }
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// Marching squares on the margin (0..255): segments in cell coordinates.
function contour(values, side, level) {
  const lines = [];
  const at = (r, c) => values[r * side + c] - level;
  const cut = (a, b) => a / (a - b);
  for (let r = 0; r + 1 < side; r++) {
    for (let c = 0; c + 1 < side; c++) {
      const v = [at(r, c), at(r, c + 1), at(r + 1, c + 1), at(r + 1, c)];
      const points = [];
      if (v[0] >= 0 !== v[1] >= 0) points.push([c + cut(v[0], v[1]), r]);
      if (v[1] >= 0 !== v[2] >= 0) points.push([c + 1, r + cut(v[1], v[2])]);
      if (v[3] >= 0 !== v[2] >= 0) points.push([c + cut(v[3], v[2]), r + 1]);
      if (v[0] >= 0 !== v[3] >= 0) points.push([c, r + cut(v[0], v[3])]);
      for (let i = 0; i + 1 < points.length; i += 2) lines.push([points[i], points[i + 1]]);
    }
  }
  return lines;
}

class Maps {
  constructor(model, el) {
    this.model = model;
    this.root = document.createElement("div");
    this.root.className = "amkd-maps";
    this.row = this.root.appendChild(document.createElement("div"));
    this.row.className = "amkd-maps-row";
    this.row.style.setProperty("--amkd-least", `${model.get("least")}px`);
    this.row.style.setProperty("--amkd-columns", model.get("columns"));
    this.keys = this.root.appendChild(document.createElement("div"));
    this.keys.className = "amkd-keys";
    this.read = this.root.appendChild(document.createElement("div"));
    this.read.className = "amkd-read";
    el.appendChild(this.root);
    this.cells = [];
    this.images = new Map();
    this.drawn = 0;
    this.stops = [onTheme(() => this.ask())];
    const sizes = new ResizeObserver(() => this.ask());
    sizes.observe(this.row);
    this.stops.push(() => sizes.disconnect());
    const hear = (name, react) => {
      model.on(`change:${name}`, react);
      this.stops.push(() => model.off(`change:${name}`, react));
    };
    hear("frame", () => this.take());
    for (const name of ["palette", "names"]) hear(name, () => this.take());
    for (const name of ["marks", "point", "levels", "interactive", "empty", "note"]) hear(name, () => this.ask());
    hear("facts", () => this.cells.forEach((cell) => this.state(cell)));
    this.take();
  }

  close() {
    this.stops.forEach((stop) => stop());
    cancelAnimationFrame(this.asked);
  }

  ask() {
    cancelAnimationFrame(this.asked);
    this.asked = requestAnimationFrame(() => this.draw());
  }

  // A new frame: decode its bytes once.
  take() {
    const frame = this.model.get("frame");
    const palette = this.model.get("palette");
    this.frame = frame && frame.maps && frame.maps.length ? frame : null;
    this.legend();
    if (this.frame) {
      const side = frame.side;
      this.maps = frame.maps.map((m) => {
        const map = { title: m.title, note: m.note || "", winner: classes(m.winner, side * side) };
        if (m.confidence) map.confidence = bytes(m.confidence).slice();
        if (m.margin) map.margin = bytes(m.margin).slice();
        map.pixels = pixels(map, side, palette);
        return map;
      });
      if (frame.disagreement) {
        const mask = differs(this.maps[0], this.maps[1], side);
        this.maps.push({ title: frame.disagreement.title, note: frame.disagreement.note || "", mask });
      }
    }
    this.ask();
  }

  // As many figures as maps; made once and kept, so that focus and pointer are not lost while training.
  build(count) {
    while (this.cells.length > count) this.cells.pop().figure.remove();
    while (this.cells.length < count) {
      const figure = this.row.appendChild(document.createElement("figure"));
      figure.className = "amkd-map";
      const caption = figure.appendChild(document.createElement("figcaption"));
      const title = caption.appendChild(document.createElement("b"));
      const note = caption.appendChild(document.createElement("span"));
      const canvas = figure.appendChild(document.createElement("canvas"));
      canvas.setAttribute("role", "img");
      const facts = figure.appendChild(document.createElement("div"));
      facts.className = "amkd-facts";
      const cell = { figure, title, note, canvas, facts, index: this.cells.length };
      this.listen(cell);
      this.cells.push(cell);
      this.state(cell);
    }
  }

  // Which colour is which class, where they are few enough to be told apart.
  legend() {
    const names = this.frame ? this.model.get("names") : [], palette = this.model.get("palette");
    const told = JSON.stringify([names, palette]);
    if (told === this.named) return; // a page that trains draws often: nothing is laid out anew for it
    this.named = told;
    this.keys.replaceChildren(...(names.length > MOST ? [] : names).map((name, k) => {
      const key = document.createElement("span"), colour = document.createElement("i");
      colour.style.background = palette[k % palette.length];
      key.append(colour, name);
      return key;
    }));
  }

  // The numbers beneath a map, and the colour that stands for its net in the curves.
  state(cell) {
    const own = this.model.get("facts")[cell.index] || {};
    const words = (own.rows || []).flat();
    while (cell.facts.children.length > words.length) cell.facts.lastChild.remove();
    while (cell.facts.children.length < words.length) {
      cell.facts.appendChild(document.createElement("span"));
    }
    words.forEach((word, i) => { cell.facts.children[i].textContent = word; });
    cell.figure.style.setProperty("--amkd-own", own.colour || "transparent");
    cell.figure.classList.toggle("amkd-coloured", Boolean(own.colour));
  }

  listen(cell) {
    const { canvas } = cell;
    canvas.addEventListener("pointermove", (event) => {
      const at = this.toData(cell, event);
      if (!at) return;
      this.tell(at);
      if (this.held) this.move(at);
    });
    canvas.addEventListener("pointerleave", () => this.tell(null));
    canvas.addEventListener("pointerdown", (event) => {
      const at = this.toData(cell, event);
      if (!at || !this.model.get("interactive") || event.button !== 0) return;
      this.held = true;
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      this.move(at);
      event.preventDefault();
    });
    const release = () => {
      if (!this.held) return;
      this.held = false;
      this.model.set("released", this.model.get("released") + 1);
      this.model.save_changes();
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      const point = this.model.get("point");
      if (!step || !this.frame || !this.model.get("interactive")) return;
      const [x0, x1, y0, y1] = this.frame.area, size = event.shiftKey ? 0.05 : 0.01;
      const [x, y] = point.length ? point : [(x0 + x1) / 2, (y0 + y1) / 2];
      const at = [x + step[0] * size * (x1 - x0), y + step[1] * size * (y1 - y0)];
      this.move([Math.min(Math.max(at[0], x0), x1), Math.min(Math.max(at[1], y0), y1)]);
      this.tell(this.model.get("point"));
      event.preventDefault();
      event.stopPropagation(); // the notebook would go to another cell
    });
  }

  move(at) {
    this.model.set("point", at);
    this.model.save_changes(); // the manager keeps the newest while the kernel is busy
    this.ask();
  }

  toData(cell, event) {
    if (!this.frame || !cell.box) return null;
    const rect = cell.canvas.getBoundingClientRect();
    const [x0, x1, y0, y1] = this.frame.area, { left, top, size } = cell.box;
    const u = (event.clientX - rect.left - left) / size, v = 1 - (event.clientY - rect.top - top) / size;
    if (!this.held && (u < 0 || u > 1 || v < 0 || v > 1)) return null;
    const inside = (share) => Math.min(Math.max(share, 0), 1);
    return [x0 + inside(u) * (x1 - x0), y0 + inside(v) * (y1 - y0)];
  }

  // What each net says under the pointer.
  tell(at) {
    this.read.textContent = this.frame ? this.model.get("note") : "";
    this.told = Boolean(at);
    if (!at || !this.frame) return;
    const [x0, x1, y0, y1] = this.frame.area, side = this.frame.side;
    const column = Math.min(side - 1, Math.max(0, Math.floor(((at[0] - x0) / (x1 - x0)) * side)));
    const row = Math.min(side - 1, Math.max(0, Math.floor(((at[1] - y0) / (y1 - y0)) * side)));
    const digits = Math.max(0, 2 - Math.floor(Math.log10((x1 - x0) / 4)));
    const words = [`(${at.map((v) => v.toFixed(Math.min(digits, 4)).replace("-", "\u2212")).join(", ")})`];
    const names = this.model.get("names");
    for (const map of this.maps) {
      if (map.mask) continue;
      const k = map.winner[row * side + column];
      const sure = map.confidence ? ` ${Math.round(map.confidence[row * side + column] / 2.55)} %` : "";
      words.push(`${map.title}: ${k === NONE ? "undecided" : (names[k] || `class ${k}`) + sure}`);
    }
    this.read.textContent = words.join("   \u00b7   ");
  }

  draw() {
    if (!this.root.isConnected) return;
    const empty = this.model.get("empty");
    this.row.dataset.empty = this.frame ? "" : empty;
    if (!this.frame) {
      this.build(0);
      this.row.textContent = empty;
      return;
    }
    if (!this.cells.length) this.row.textContent = "";
    this.build(this.maps.length);
    const ink = coloursOf(this.root), ratio = window.devicePixelRatio || 1;
    const interactive = this.model.get("interactive");
    for (const cell of this.cells) {
      const map = this.maps[cell.index], { canvas } = cell;
      cell.title.textContent = map.title;
      cell.note.textContent = map.note ? ` ${map.note}` : "";
      cell.note.title = map.note;
      const width = Math.floor(cell.figure.clientWidth);
      if (width < 60) continue;
      const size = width - PAD.left - PAD.right, height = size + PAD.top + PAD.bottom;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        canvas.style.width = `${width}px`;
        canvas.style.height = `${height}px`;
      }
      canvas.tabIndex = interactive ? 0 : -1;
      canvas.classList.toggle("amkd-point", interactive);
      const about = interactive ? ", arrow keys move the point" : "";
      canvas.setAttribute("aria-label", `${map.title} ${map.note}: decision map${about}`);
      cell.box = { left: PAD.left, top: PAD.top, size };
      const context = canvas.getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      this.paint(context, cell, map, ink);
    }
    if (!this.told) this.tell(null);
    this.drawn += 1;
    this.root.dataset.drawn = this.drawn;
    this.root.dataset.serial = this.frame.serial;
    this.root.dataset.side = this.frame.side;
    this.root.dataset.marks = this.model.get("marks").length;
  }

  paint(context, cell, map, ink) {
    const { left, top, size } = cell.box, [x0, x1, y0, y1] = this.frame.area;
    const X = (x) => left + ((x - x0) / (x1 - x0)) * size;
    const Y = (y) => top + (1 - (y - y0) / (y1 - y0)) * size;
    context.save();
    context.beginPath();
    context.rect(left, top, size, size);
    context.clip();
    context.fillStyle = ink.paper;
    context.fillRect(left, top, size, size);
    context.imageSmoothingEnabled = false;
    if (map.mask) context.drawImage(hatched(map.mask, size, ink), left, top, size, size);
    else context.drawImage(map.pixels, left, top, size, size);
    if (map.margin) this.contours(context, map, ink, left, top, size);
    for (const mark of this.model.get("marks")) {
      if (mark.map === undefined || mark.map === cell.index) this.mark(context, mark, ink, X, Y, size);
    }
    const point = this.model.get("point");
    if (point.length) handle(context, X(point[0]), Y(point[1]), ink);
    context.restore();
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1);
    context.fillStyle = ink.muted;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "top";
    const wanted = Math.max(2, size / 80);
    for (const [v, word] of ticks(x0, x1, wanted)) {
      const half = context.measureText(word).width / 2;
      if (X(v) - half > left - 8 && X(v) + half < left + size + PAD.right) {
        context.fillText(word, X(v), top + size + 4);
      }
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const [v, word] of ticks(y0, y1, wanted)) {
      if (Y(v) > top + 5 && Y(v) < top + size - 2) context.fillText(word, left - 4, Y(v));
    }
  }

  contours(context, map, ink, left, top, size) {
    const side = this.frame.side;
    context.strokeStyle = ink.ink;
    context.lineWidth = 0.8;
    context.setLineDash([1.5, 3]);
    for (const level of this.model.get("levels")) {
      context.beginPath();
      for (const [a, b] of contour(map.margin, side, 255 * level)) {
        context.moveTo(left + ((a[0] + 0.5) / side) * size, top + (1 - (a[1] + 0.5) / side) * size);
        context.lineTo(left + ((b[0] + 0.5) / side) * size, top + (1 - (b[1] + 0.5) / side) * size);
      }
      context.stroke();
    }
    context.setLineDash([]);
  }

  mark(context, mark, ink, X, Y, size) {
    const at = floats(mark.xy), count = at.length / 2;
    const palette = this.model.get("palette");
    const kinds = mark.k ? classes(mark.k, count) : null;
    const line = () => {
      context.beginPath();
      for (let i = 0; i < count; i++) context[i ? "lineTo" : "moveTo"](X(at[2 * i]), Y(at[2 * i + 1]));
    };
    context.setLineDash(mark.dash ? [5, 4] : []);
    context.lineWidth = mark.width || 1.4;
    context.strokeStyle = ink.ink;
    if (mark.kind === "path") {
      line();
      context.stroke();
      for (let i = 1; i + 1 < count; i++) disc(context, X(at[2 * i]), Y(at[2 * i + 1]), 1.8, ink.ink);
    } else if (mark.kind === "box") {
      // outside the polygon there are no pictures: veiled
      line();
      context.closePath();
      context.stroke();
      context.beginPath();
      context.rect(-1e4, -1e4, 2e4, 2e4);
      for (let i = count - 1; i >= 0; i--) context[i + 1 < count ? "lineTo" : "moveTo"](X(at[2 * i]), Y(at[2 * i + 1]));
      context.closePath();
      context.globalAlpha = 0.5;
      context.fillStyle = ink.paper;
      context.fill("evenodd");
      context.globalAlpha = 1;
    } else if (mark.kind === "image") {
      const image = this.image(mark.src), side = mark.side * size;
      if (!image) return;
      const x = X(at[0]) + (mark.left ? -side - 8 : 8), y = Y(at[1]) + (mark.below ? 8 : -side - 8);
      context.imageSmoothingEnabled = false;
      context.drawImage(image, x, y, side, side);
      context.lineWidth = 1;
      context.strokeRect(x, y, side, side);
    } else if (mark.kind === "label") {
      context.font = "11px system-ui, sans-serif";
      context.textBaseline = "middle";
      context.textAlign = "left";
      const wide = context.measureText(mark.text).width, [x0, x1] = this.frame.area;
      const wanted = X(at[0]) + (mark.left ? -9 - wide : 9);
      const x = Math.min(Math.max(wanted, X(x0) + 4), X(x1) - wide - 4);
      const y = Y(at[1]) + (x === wanted ? 0 : 16); // a word that was pushed back stands below its point
      context.globalAlpha = 0.85;
      context.fillStyle = ink.paper;
      context.fillRect(x - 2, y - 8, wide + 4, 16);
      context.globalAlpha = 1;
      context.fillStyle = ink.ink;
      context.fillText(mark.text, x, y);
    } else {
      for (let i = 0; i < count; i++) {
        const fill = kinds ? palette[kinds[i] % palette.length] : ink.ink;
        symbol(context, mark.kind, X(at[2 * i]), Y(at[2 * i + 1]), mark.size || 3, fill, ink);
      }
    }
    context.setLineDash([]);
  }

  image(src) {
    const known = this.images.get(src);
    if (known) return known.complete ? known : null;
    const image = new Image();
    image.onload = () => this.ask();
    image.src = src;
    this.images.set(src, image);
    if (this.images.size > 64) this.images.delete(this.images.keys().next().value);
    return null;
  }
}

function disc(context, x, y, r, fill) {
  context.beginPath();
  context.arc(x, y, r, 0, 7);
  context.fillStyle = fill;
  context.fill();
}

// Teacher circle, student diamond, boundary sample ring, crossing cross.
function symbol(context, kind, x, y, r, fill, ink) {
  if (kind === "dots") {
    disc(context, x, y, r, fill);
    context.lineWidth = 0.7;
    context.strokeStyle = ink.paper;
    context.stroke();
  } else if (kind === "ring") {
    for (const [width, colour] of [[4, ink.paper], [2, ink.ink]]) {
      context.beginPath();
      context.arc(x, y, r, 0, 7);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  } else if (kind === "cross") {
    for (const [width, colour] of [[4, ink.paper], [1.8, ink.ink]]) {
      context.beginPath();
      context.moveTo(x - r, y - r);
      context.lineTo(x + r, y + r);
      context.moveTo(x - r, y + r);
      context.lineTo(x + r, y - r);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  } else {
    context.beginPath();
    if (kind === "diamond") {
      context.moveTo(x, y - r);
      context.lineTo(x + r, y);
      context.lineTo(x, y + r);
      context.lineTo(x - r, y);
    } else context.rect(x - r, y - r, 2 * r, 2 * r);
    context.closePath();
    context.fillStyle = fill;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = ink.paper;
    context.stroke();
  }
}

function handle(context, x, y, ink) {
  disc(context, x, y, 9, `${ink.accent}40`);
  disc(context, x, y, 5, ink.accent);
  context.lineWidth = 1.5;
  context.strokeStyle = ink.paper;
  context.stroke();
}

function hatched(mask, size, ink) {
  const ratio = window.devicePixelRatio || 1, wide = Math.max(1, Math.round(size * ratio));
  const canvas = new OffscreenCanvas(wide, wide);
  const context = canvas.getContext("2d");
  context.fillStyle = `${ink.warm}40`;
  context.fillRect(0, 0, wide, wide);
  context.strokeStyle = ink.warm;
  context.lineWidth = 1.3 * ratio;
  context.beginPath();
  for (let i = -wide; i < wide; i += 6 * ratio) {
    context.moveTo(i, wide);
    context.lineTo(i + wide, 0);
  }
  context.stroke();
  context.globalCompositeOperation = "destination-in"; // all of it, where the nets differ
  context.imageSmoothingEnabled = false;
  context.drawImage(mask, 0, 0, wide, wide);
  return canvas;
}

export default {
  render({ model, el }) {
    const maps = new Maps(model, el);
    return () => maps.close();
  },
};
