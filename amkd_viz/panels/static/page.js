// Shared by canvases and lists of samples: bytes from the kernel, colours of the page, the samples of a map's model.

const raw = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer; // aligned copy
const bytesOf = (view) => (view && view.byteLength ? raw(view) : new ArrayBuffer(0));

function coloursOf(element) {
  const style = getComputedStyle(element);
  const read = (...names) => names.map((n) => style.getPropertyValue(n).trim()).find(Boolean);
  return {
    ink: read("--amkd-ink", "--jp-ui-font-color1") || "#1f2430",
    muted: read("--amkd-muted", "--jp-ui-font-color2") || "#5d6573",
    line: read("--amkd-line", "--jp-border-color1") || "#b4bac6",
    paper: read("--amkd-paper", "--jp-layout-color0") || "#fefefe",
    warm: read("--amkd-warm", "--jp-warn-color1") || "#9a7b46",
    accent: read("--amkd-accent", "--jp-brand-color1") || "#2b62c4",
  };
}

function onTheme(react) {
  const observer = new MutationObserver(react);
  // While JupyterLab swaps stylesheets nothing has a size to draw in; when they are in place it sets the style of the body.
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "style"];
  observer.observe(document.body, { attributes: true, attributeFilter });
  document.addEventListener("amkd-draw", react); // somebody wants the picture once more: see leave.js
  return () => {
    observer.disconnect();
    document.removeEventListener("amkd-draw", react);
  };
}

function make(parent, tag, about = {}, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) made.setAttribute(name, value);
  if (text !== "") made.textContent = text; // never as HTML: a class may have any name
  parent?.appendChild(made);
  return made;
}

// Bundle calls: a burst of changes is drawn once, in the next frame.
function bundled(react) {
  let asked = 0;
  const ask = () => {
    if (!asked) asked = requestAnimationFrame(() => ((asked = 0), react()));
  };
  ask.stop = () => cancelAnimationFrame(asked);
  return ask;
}

const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const percent = (p) => (Number.isFinite(p) ? `${(100 * p).toFixed(0)} %` : "\u2014");
const decimals = (v) => (Number.isFinite(v) ? v.toFixed(v !== 0 && Math.abs(v) < 0.005 ? 4 : 2).replace("-", "\u2212") : "\u2014");

const WIDTH = 7; // facts of a sample, see FACTS in scatter.py

// The decoded samples of a map's model; sample ids[i] is at position i of every array.
class Samples {
  constructor(model) {
    this.model = model;
    this.sheet = null;
  }

  read() {
    const get = (name) => bytesOf(this.model.get(name));
    this.ids = new Int32Array(get("ids"));
    this.label = new Uint16Array(get("label"));
    this.boundary = new Uint8Array(get("boundary"));
    this.facts = new Float32Array(get("facts"));
    this.only = new Set(this.model.get("only"));
    this.names = this.model.get("names");
    this.palette = this.model.get("palette");
    this.place = new Map();
    this.ids.forEach((id, i) => this.place.set(id, i));
    return this;
  }

  async pictures() {
    const png = this.model.get("sprites");
    if (png === this.decoded) return;
    this.decoded = png;
    const blob = png && png.byteLength ? new Blob([raw(png)], { type: "image/png" }) : null;
    this.sheet = blob && (await createImageBitmap(blob));
  }

  visible(i) {
    return !this.only.size || this.only.has(this.label[i]);
  }

  fact(i, which) {
    return this.facts.length ? this.facts[i * WIDTH + which] : NaN;
  }

  className(k) {
    return k >= 0 && k < this.names.length ? this.names[k] : "undecided";
  }

  colour(i) {
    return this.palette[this.label[i] % Math.max(1, this.palette.length)] || "#888888";
  }

  word(i) {
    const part = this.model.get("part");
    const id = this.ids[i];
    return id < 0 ? `\u25ef ${part} ${-1 - id}` : `${part} ${id}`;
  }

  lines(i) {
    const words = [this.ids[i] < 0 ? `boundary sample from ${this.word(i).slice(2)}` : this.word(i)];
    const target = this.fact(i, 6);
    const label = this.className(this.label[i]);
    words.push(this.ids[i] < 0 && Number.isFinite(target) ? `${label} \u2192 ${this.className(target)}` : `class ${label}`);
    if (Number.isFinite(this.fact(i, 0))) {
      words.push(`teacher: ${this.className(this.fact(i, 0))} \u00b7 ${percent(this.fact(i, 1))}`);
      words.push(`student: ${this.className(this.fact(i, 2))} \u00b7 ${percent(this.fact(i, 3))}`);
    }
    return words;
  }

  // Columns and rows of the sheet, and where sample i stands in it.
  tile(i) {
    const [w, h, columns] = this.model.get("tile");
    return { w, h, columns, x: i % columns, y: Math.floor(i / columns) };
  }

  // Draw the thumbnail of sample i, whole pixels, as large as the canvas allows.
  thumbnail(canvas, i, side) {
    const { w, h, x, y } = this.tile(i);
    if (!this.sheet || !w) return false;
    const ratio = window.devicePixelRatio || 1;
    const scale = (side * ratio) / Math.max(w, h);
    canvas.width = Math.max(1, Math.round(w * scale));
    canvas.height = Math.max(1, Math.round(h * scale));
    canvas.style.width = `${canvas.width / ratio}px`;
    canvas.style.height = `${canvas.height / ratio}px`;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.sheet, x * w, y * h, w, h, 0, 0, canvas.width, canvas.height);
    return true;
  }
}
