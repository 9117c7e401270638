// Decision maps on canvases: each cell a square of whole colour, never smoothed. The kernel sends classes, confidences
// and their colours; hovering, dragging and drawing happen here, without a round trip.

const MOST = 12; // classes in the legend
const NONE = 65535; // an undecided cell
const PAD = { left: 34, right: 6, top: 4, bottom: 20 };
const IMAGE = 0.13; // side of an anchor's image as a share of the map
const EDGE = "#fefefe"; // of a point, in both themes: dark colours are visible on dark paper, too
const SIZES = { dots: 3, ring: 5, cross: 4, diamond: 4, square: 4, triangle: 5 };
const REACH = 9; // pixels from an added point within which a click takes it away
const LEAST = 150, ROOMY = 175; // pixels to which four, and up to three, maps shrink before one goes to the next row
const CLEAR = 200; // side of a map on which points have their whole size
const LONG = 24; // letters of a fact that gets a line of its own
const SYMBOLS = { // of 18 x 10, for the legend
  dots: '<circle cx="9" cy="5" r="3"/>',
  triangle: '<path class="amkd-full" d="M9 1l5 8h-10z"/>',
  path: '<path d="M0 5h18"/>',
  dash: '<path d="M0 5h18" stroke-dasharray="5 4"/>',
  ring: '<circle class="amkd-line" cx="9" cy="5" r="4"/>',
  cross: '<path d="M5 1l8 8m-8 0l8 -8"/>',
  box: '<path d="M1 9l4 -8h12l-3 8z"/>',
  margin: '<path d="M0 5h18" stroke-dasharray="1.5 3"/>',
  apart: '<path class="amkd-warm" d="M0 10l10 -10m-4 10l10 -10m-4 10l6 -6m-18 0l4 -4"/>',
};

const bytes = (view) => new Uint8Array(raw(view));

function classes(view, cells) {
  const sent = bytes(view);
  if (sent.length === cells) return Uint16Array.from(sent, (k) => (k === 255 ? NONE : k));
  return new Uint16Array(sent.buffer);
}

// A picture of R x R cells with row 0 at the bottom; colour(i) is the RGBA of cell i as one number.
function raster(side, colour) {
  const canvas = new OffscreenCanvas(side, side), image = new ImageData(side, side);
  const to = new Uint32Array(image.data.buffer);
  for (let i = 0; i < to.length; i++) to[(side - 1 - Math.floor(i / side)) * side + (i % side)] = colour(i);
  canvas.getContext("2d").putImageData(image, 0, 0);
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

class Maps extends View {
  constructor(model, el) {
    super(model);
    this.root = make(el, "div", { class: "amkd-maps" });
    this.row = make(this.root, "div", { class: "amkd-maps-row" });
    this.legends = make(this.root, "div", { class: "amkd-legends" });
    this.keys = make(this.legends, "div", { class: "amkd-keys" });
    this.signs = make(this.legends, "div", { class: "amkd-keys amkd-signs" });
    this.read = make(this.legends, "div", { class: "amkd-read" });
    this.cells = [];
    this.images = new Map();
    this.drawn = 0;
    this.ask = this.bundle(() => this.draw());
    this.stops.push(onTheme(this.ask));
    this.resized(this.row, this.ask);
    this.hear("frame table names", () => this.take());
    this.hear("marks point levels interactive empty note pair units step own adds", this.ask);
    this.hear("facts", () => this.cells.forEach((cell) => this.state(cell)));
    this.take();
  }

  // A new frame: decode its bytes once.
  take() {
    const frame = this.get("frame");
    this.frame = frame && frame.maps && frame.maps.length ? frame : null;
    this.legend();
    if (this.frame) {
      const { side } = frame, table = new Uint32Array(raw(this.get("table")));
      const count = this.get("palette").length, levels = table.length / count;
      this.maps = frame.maps.map((sent) => {
        const map = { title: sent.title, note: sent.note, letters: sent.letters, winner: classes(sent.winner, side * side) };
        map.confidence = bytes(sent.confidence);
        if (sent.margin) map.margin = bytes(sent.margin);
        const level = (i) => Math.round((map.confidence[i] / 255) * (levels - 1));
        map.pixels = raster(side, (i) => (map.winner[i] === NONE ? 0 : table[(map.winner[i] % count) * levels + level(i)]));
        return map;
      });
      if (frame.disagreement) {
        const { title, note } = frame.disagreement, apart = bytes(frame.disagreement.apart);
        this.maps.push({ title, note, mask: raster(side, (i) => (apart[i] ? 0xff000000 : 0)) });
      }
    }
    this.ask();
  }

  // One figure per map, reused, so that focus and pointer are not lost while training.
  build(count) {
    while (this.cells.length > count) this.cells.pop().figure.remove();
    while (this.cells.length < count) {
      const figure = make(this.row, "figure", { class: "amkd-map" }), caption = make(figure, "figcaption");
      const title = make(caption, "b"), note = make(caption, "span");
      const canvas = make(figure, "canvas", { role: "img" }), facts = make(figure, "div", { class: "amkd-facts" });
      const cell = { figure, title, note, canvas, facts, index: this.cells.length };
      this.listen(cell);
      this.cells.push(cell);
      this.state(cell);
    }
  }

  // The colours of the classes; of many, those of the largest regions. What does not occur is faint.
  legend() {
    const names = this.frame ? this.get("names") : [], palette = this.get("palette"), occur = this.frame?.occur || [];
    const key = JSON.stringify([names, palette, [...occur].sort()]);
    if (key === this.named) return; // frames come often while training: lay out again only when something changed
    this.named = key;
    this.keys.replaceChildren();
    for (const k of names.length > MOST ? occur.slice(0, MOST) : names.keys()) {
      const entry = make(this.keys, "span", { class: occur.includes(k) ? "" : "amkd-absent" });
      make(entry, "i").style.background = palette[k % palette.length];
      if (names.length > DISTINCT && letterOf(names, k) !== names[k]) make(entry, "b", {}, `${letterOf(names, k)} `);
      entry.append(names[k]);
    }
    const rest = names.length > MOST ? occur.length - MOST : 0;
    if (rest > 0) make(this.keys, "span", {}, `and ${rest} more: point at the map`);
  }

  // What the marks on show mean.
  explain() {
    const marks = this.frame ? this.get("marks") : [], levels = this.get("levels"), words = this.get("signs");
    const there = new Set(marks.flatMap((m) => (m.dash ? [m.kind, "dash"] : [m.kind])));
    if (this.frame && this.get("own").length) there.add("triangle");
    if (this.frame?.disagreement) there.add("apart");
    if (this.frame?.maps[0].margin && levels.length) there.add("margin");
    const kinds = Object.keys(SYMBOLS).filter((kind) => there.has(kind)), key = kinds.join() + levels;
    if (key === this.explained) return;
    this.explained = key;
    this.signs.replaceChildren();
    for (const kind of kinds) {
      const entry = make(this.signs, "span", { class: `amkd-sign-${kind}` });
      entry.innerHTML = `<svg width="18" height="10" aria-hidden="true">${SYMBOLS[kind]}</svg> `; // constants alone
      entry.append(kind === "margin" ? `${words[kind]} ${levels.map((v) => String(v).replace("0.", ".")).join(" ")}` : words[kind]);
    }
  }

  // Maps in a row: up to four of them shrink before one goes to the next row; more are spread evenly.
  across(count) {
    const wide = this.row.clientWidth + 10, least = count > 4 ? this.get("least") : count > 3 ? LEAST : ROOMY;
    const most = clamp(Math.floor(wide / (least + 10)), 1, count);
    return Math.ceil(count / Math.ceil(count / most));
  }

  // The numbers beneath a map, and the colour that stands for its net in the curves.
  state(cell) {
    const { rows = [], colour = "" } = this.get("facts")[cell.index] || {};
    cell.facts.replaceChildren();
    for (const word of rows.flat()) make(cell.facts, "span", { class: word.length > LONG ? "amkd-long" : "" }, word);
    cell.figure.style.setProperty("--amkd-own", colour || "transparent");
    cell.figure.classList.toggle("amkd-coloured", Boolean(colour));
  }

  listen(cell) {
    const { canvas } = cell;
    canvas.addEventListener("pointermove", (event) => {
      const at = this.toData(cell, event);
      if (!at) return;
      this.readOut(at);
      if (this.dragging) this.move(at);
    });
    canvas.addEventListener("pointerleave", () => this.readOut(null));
    canvas.addEventListener("pointerdown", (event) => {
      const at = this.toData(cell, event);
      if (!at || !this.get("interactive") || event.button !== 0) return;
      if (this.get("adds") >= 0) {
        canvas.focus({ preventScroll: true });
        this.edit(cell, at);
        event.preventDefault();
        return;
      }
      this.dragging = true;
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      this.move(at);
      event.preventDefault();
    });
    const release = () => {
      if (!this.dragging) return;
      this.dragging = false;
      this.send({ released: this.get("released") + 1 });
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      const point = this.get("point");
      const enters = event.key === "Enter" && this.get("adds") >= 0 && point.length;
      if (!(step || enters) || !this.frame || !this.get("interactive")) return;
      event.preventDefault();
      event.stopPropagation(); // else the notebook selects another cell
      if (enters) this.edit(cell, point);
      if (!step) return;
      const [x0, x1, y0, y1] = this.frame.area, size = event.shiftKey ? 0.05 : 0.01;
      const [x, y] = point.length ? point : [(x0 + x1) / 2, (y0 + y1) / 2];
      const at = [x + step[0] * size * (x1 - x0), y + step[1] * size * (y1 - y0)];
      this.move([clamp(at[0], x0, x1), clamp(at[1], y0, y1)]);
      this.readOut(this.get("point"));
    });
  }

  // Add a point of the chosen class, or take away the one that is there. The list is the page's, so that no click is lost
  // while the kernel is busy.
  edit(cell, [x, y]) {
    const [x0, x1] = this.frame.area, own = this.get("own"), near = (REACH / cell.box.size) * (x1 - x0);
    const away = own.map(([u, v]) => Math.hypot(u - x, v - y)), hit = away.indexOf(Math.min(...away));
    const rounded = [x, y].map((v) => Number(v.toFixed(3)) + 0);
    const left = hit >= 0 && away[hit] < near ? own.filter((_, i) => i !== hit) : [...own, [...rounded, this.get("adds")]];
    this.send({ own: left });
    this.ask();
  }

  move(at) {
    this.send({ point: at }); // the widget manager keeps the newest while the kernel is busy
    this.ask();
  }

  toData(cell, event) {
    if (!this.frame || !cell.box) return null;
    const rect = cell.canvas.getBoundingClientRect();
    const [x0, x1, y0, y1] = this.frame.area, { left, top, size } = cell.box;
    const u = (event.clientX - rect.left - left) / size, v = 1 - (event.clientY - rect.top - top) / size;
    if (!this.dragging && (u < 0 || u > 1 || v < 0 || v > 1)) return null;
    return [x0 + clamp(u, 0, 1) * (x1 - x0), y0 + clamp(v, 0, 1) * (y1 - y0)];
  }

  // What each net predicts under the pointer.
  readOut(at) {
    this.read.textContent = this.frame ? this.get("note") : "";
    this.pointed = Boolean(at);
    if (!at || !this.frame) return;
    const [x0, x1, y0, y1] = this.frame.area, { side } = this.frame, names = this.get("names");
    const cell = (share) => clamp(Math.floor(share * side), 0, side - 1);
    const i = cell((at[1] - y0) / (y1 - y0)) * side + cell((at[0] - x0) / (x1 - x0));
    const digits = clamp(2 - Math.floor(Math.log10((x1 - x0) / 4)), 0, 4);
    const words = [`(${at.map((v) => v.toFixed(digits).replace("-", "\u2212")).join(", ")})`];
    for (const map of this.maps.filter(({ mask }) => !mask)) {
      const k = map.winner[i], name = names[k] || `class ${k}`;
      words.push(`${map.title}: ${k === NONE ? "undecided" : `${name}, ${Math.round(map.confidence[i] / 2.55)} %`}`);
    }
    this.read.textContent = words.join("   \u00b7   ");
  }

  draw() {
    if (!this.root.isConnected) return;
    const empty = this.get("empty");
    this.row.dataset.empty = this.frame ? "" : empty;
    if (!this.frame) {
      this.build(0);
      this.row.textContent = empty;
      return;
    }
    if (!this.cells.length) this.row.textContent = "";
    this.build(this.maps.length);
    this.explain();
    const ink = coloursOf(this.root), interactive = this.get("interactive");
    this.large = this.root.closest(".amkd-present") ? LARGE : 1;
    const pair = this.large > 1 ? this.get("pair").map((n) => (n + this.maps.length) % this.maps.length) : null;
    this.cells.forEach(({ figure, index }) => { figure.hidden = Boolean(pair) && !pair.includes(index); });
    const count = pair ? pair.length : this.maps.length, across = this.across(count), beside = count > across && count % across;
    this.row.style.gridTemplateColumns = `repeat(${across}, minmax(0, 1fr))`;
    const [place, next] = beside ? [this.row, null] : [this.root, this.row.nextSibling]; // the legends fill what the last row leaves
    if (this.legends.parentElement !== place) place.insertBefore(this.legends, next);
    for (const cell of this.cells) {
      const map = this.maps[cell.index], { canvas } = cell;
      cell.title.textContent = map.title;
      if (cell.note.title !== map.note) {
        const parts = map.note ? map.note.split(/(?<=,) /) : []; // each stays on one line where there is room
        cell.note.replaceChildren(...parts.flatMap((part) => [" ", make(null, "span", {}, part)]));
        cell.note.title = map.note;
      }
      const width = Math.floor(cell.figure.clientWidth);
      if (width < 60) continue;
      cell.pad = Object.fromEntries(Object.entries(PAD).map(([side, room]) => [side, Math.round(room * this.large)]));
      const { pad } = cell, size = width - pad.left - pad.right;
      canvas.tabIndex = interactive ? 0 : -1;
      canvas.classList.toggle("amkd-point", interactive);
      canvas.classList.toggle("amkd-adding", interactive && this.get("adds") >= 0);
      const enter = this.get("adds") >= 0 ? ", Enter adds or removes one there" : "";
      const about = interactive ? `, arrow keys move the point${enter}` : "";
      canvas.setAttribute("aria-label", `${map.title} ${map.note}: decision map${about}`);
      cell.box = { left: pad.left, top: pad.top, size };
      this.paint(fitted(canvas, width, size + pad.top + pad.bottom), cell, map, ink);
    }
    if (!this.pointed) this.readOut(null);
    this.drawn += 1;
    const { serial, side } = this.frame;
    Object.assign(this.root.dataset, { drawn: this.drawn, serial, side, marks: this.get("marks").length, own: this.get("own").length });
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
    context.drawImage(map.mask ? hatched(map.mask, size, ink) : map.pixels, left, top, size, size);
    if (!map.mask) this.letters(context, map, ink, left, top, size);
    if (map.margin) this.contours(context, map, ink, left, top, size);
    for (const mark of this.get("marks")) {
      if (mark.panel === null || mark.panel === cell.index) this.mark(context, mark, ink, X, Y, size);
    }
    for (const [x, y, k] of this.get("own")) {
      const colour = this.get("palette")[k % this.get("palette").length];
      symbol(context, "triangle", X(x), Y(y), SIZES.triangle * this.large, colour, ink);
    }
    const point = this.get("point");
    if (point.length) handle(context, X(point[0]), Y(point[1]), ink);
    context.restore();
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1);
    this.axes(context, cell, ink, X, Y);
  }

  // Numbers, where no name and no edge is in their way, and the names at the ends of the axes.
  axes(context, { box: { left, top, size }, pad }, ink, X, Y) {
    const [x0, x1, y0, y1] = this.frame.area, [across, up] = this.get("units"), high = 11 * this.large;
    const room = (pixels) => ((x1 - x0) * pixels) / size, wanted = Math.max(2, size / (80 * this.large));
    Object.assign(context, { fillStyle: ink.muted, font: `${high}px system-ui, sans-serif`, textBaseline: "top" });
    const end = left + size - context.measureText(across).width - 3, written = { x: [], y: [] };
    context.textAlign = "center";
    for (const [v, word] of ticks(x0 + room(8), x1 - room(left + size - end + 8), wanted)) {
      context.fillText(word, X(v), top + size + 4);
      written.x.push(word);
    }
    context.textAlign = "left";
    context.fillText(across, end + 3, top + size + 4);
    Object.assign(context, { textAlign: "right", textBaseline: "middle" });
    for (const [v, word] of ticks(y0 + room(2), y1 - room(high + 8), wanted)) {
      context.fillText(word, left - 4, Y(v));
      written.y.push(word);
    }
    context.fillText(up, left - 4, top + high / 2);
    Object.assign(this.root.dataset, { ticks: `${written.x.join(" ")} | ${written.y.join(" ")}`, pad: pad.left });
  }

  // The letters of the largest regions, each well inside its own.
  letters(context, map, ink, left, top, size) {
    const { side } = this.frame, letter = (k) => letterOf(this.get("names"), k);
    Object.assign(context, { font: `600 ${12 * this.large}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle", lineWidth: 3 });
    for (const [k, row, column] of map.letters) {
      const x = left + ((column + 0.5) / side) * size, y = top + (1 - (row + 0.5) / side) * size;
      context.strokeStyle = ink.paper;
      context.strokeText(letter(k), x, y);
      context.fillStyle = ink.ink;
      context.fillText(letter(k), x, y);
    }
    if (map === this.maps[0]) this.root.dataset.letters = map.letters.map(([k]) => letter(k)).join(" ");
  }

  contours(context, map, ink, left, top, size) {
    const side = this.frame.side;
    const X = (c) => left + ((c + 0.5) / side) * size, Y = (r) => top + (1 - (r + 0.5) / side) * size;
    for (const level of this.get("levels")) {
      const lines = contour(map.margin, side, 255 * level);
      trace(context, lines.flatMap(([a, b]) => [[X(a[0]), Y(a[1])], [X(b[0]), Y(b[1])], [NaN]]));
      stroke(context, ink.ink, 0.8, [1.5, 3]);
    }
  }

  mark(context, mark, ink, X, Y, size) {
    const at = floats(mark.xy), spots = [], line = [ink.ink, 1.4, mark.dash ? [5, 4] : []];
    for (let i = 0; i < at.length; i += 2) spots.push([X(at[i]), Y(at[i + 1])]);
    if (mark.kind === "path") {
      trace(context, spots);
      stroke(context, ...line);
      for (const [x, y] of spots.slice(1, -1)) disc(context, x, y, 1.8, ink.ink);
      if (mark.numbered) numbers(context, spots, ink);
      const step = this.get("step"); // the place of a walk's slider
      if (mark.numbered && step >= 0) {
        disc(context, ...spots[Math.min(step, spots.length - 1)], 5.5, ink.paper);
        stroke(context, ink.accent, 2.5);
      }
    } else if (mark.kind === "box") {
      trace(context, spots);
      context.closePath();
      stroke(context, ...line);
      context.rect(-1e4, -1e4, 2e4, 2e4);
      context.globalAlpha = 0.5;
      context.fillStyle = ink.paper;
      context.fill("evenodd"); // a veil outside the polygon
      context.globalAlpha = 1;
    } else if (mark.kind === "image") {
      const image = this.image(mark.src), side = IMAGE * size, [[x, y]] = spots;
      if (image) {
        const where = [x + (mark.left ? -side - 8 : 8), y + (mark.below ? 8 : -side - 8), side, side];
        context.imageSmoothingEnabled = false;
        context.drawImage(image, ...where);
        Object.assign(context, { lineWidth: 1, strokeStyle: ink.ink });
        context.strokeRect(...where);
      }
    } else if (mark.kind === "label") this.label(context, mark, ink, spots[0], X);
    else {
      const palette = this.get("palette"), kinds = mark.k ? classes(mark.k, spots.length) : null;
      spots.forEach(([x, y], i) => {
        const colour = kinds ? palette[kinds[i] % palette.length] : ink.ink;
        const small = mark.kind === "dots" ? Math.min(1, size / CLEAR) : 1;
        symbol(context, mark.kind, x, y, (mark.size || SIZES[mark.kind]) * this.large * small, colour, ink);
      });
    }
  }

  label(context, mark, ink, [x, y], X) {
    context.font = `${11 * this.large}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    const [x0, x1] = this.frame.area, text = X(x1) - X(x0) < 0.75 * CLEAR ? mark.text.replace(/^[^:]*: /, "") : mark.text;
    const wide = context.measureText(text).width; // on a small map the class alone
    const wanted = x + (mark.left ? -9 - wide : 9), left = clamp(wanted, X(x0) + 4, X(x1) - wide - 4);
    const middle = y + (left === wanted ? 0 : 16 * this.large); // a label that had to move is below its point
    context.globalAlpha = 0.85;
    context.fillStyle = ink.paper;
    context.fillRect(left - 2, middle - 8 * this.large, wide + 4, 16 * this.large);
    context.globalAlpha = 1;
    context.fillStyle = ink.ink;
    context.fillText(text, left, middle);
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

function disc(context, x, y, r, colour) {
  shape(context, "circle", x, y, r);
  fill(context, colour);
}

// The number of each step beside its dot, where it has room.
function numbers(context, spots, ink) {
  Object.assign(context, { font: "10px system-ui, sans-serif", textAlign: "left", textBaseline: "bottom", lineWidth: 3 });
  let last = [-1e4, -1e4];
  spots.forEach(([x, y], step) => {
    if (!step || Math.hypot(x - last[0], y - last[1]) < 13) return;
    context.strokeStyle = ink.paper;
    context.strokeText(step, x + 4, y - 3);
    context.fillStyle = ink.ink;
    context.fillText(step, x + 4, y - 3);
    last = [x, y];
  });
}

function symbol(context, kind, x, y, r, colour, ink) {
  shape(context, kind, x, y, r);
  if (kind === "ring" || kind === "cross") {
    stroke(context, ink.paper, 4);
    stroke(context, ink.ink, kind === "ring" ? 2 : 1.8);
  } else {
    fill(context, colour);
    stroke(context, EDGE, kind === "dots" ? 0.7 : 1);
  }
}

function handle(context, x, y, ink) {
  disc(context, x, y, 9, `${ink.accent}40`);
  disc(context, x, y, 5, ink.accent);
  stroke(context, ink.paper, 1.5);
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
  context.globalCompositeOperation = "destination-in"; // only where the nets differ
  context.imageSmoothingEnabled = false;
  context.drawImage(mask, 0, 0, wide, wide);
  return canvas;
}

export default moduleOf(Maps);
