// Maps and curves on canvases.

const SIDE = IMAGES ? 48 : 100; // grid resolution of the maps
let slice = IMAGES ? null : POINTS; // what the maps show: the points, or a plane through three images
const tones = () => {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "muted", "line", "grid", "paper", "warm", "accent"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
};

// Centres of the cells, row by row from the bottom, each from the left.
function gridPoints(side, [X0, X1, Y0, Y1]) {
  const x = new Float32Array(2 * side * side);
  for (let r = 0; r < side; r++) for (let c = 0; c < side; c++) {
    x.set([X0 + ((c + 0.5) / side) * (X1 - X0), Y0 + ((r + 0.5) / side) * (Y1 - Y0)], 2 * (r * side + c));
  }
  return x;
}

// The inputs at which a map of this slice asks a net, and which of them are valid: images may leave the pixel range.
let grid = null, within = null;
function lay(other) {
  slice = other;
  grid = slice.lift(gridPoints(SIDE, slice.area));
  within = Array.from({ length: SIDE * SIDE }, (_, i) => slice.valid(grid.subarray(i * WIDTH, (i + 1) * WIDTH)));
}

function raster(colour) {
  const image = new ImageData(SIDE, SIDE);
  for (let r = 0; r < SIDE; r++) for (let c = 0; c < SIDE; c++) {
    const rgba = colour(r * SIDE + c);
    if (rgba) image.data.set(within[r * SIDE + c] ? rgba : [...rgba.slice(0, 3), 0.3 * rgba[3]], 4 * ((SIDE - 1 - r) * SIDE + c));
  }
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function decisionMap(logits) {
  const winner = winners(logits), confidence = confidences(logits, winner), levels = PROBLEM.table[0].length;
  return { winner, pixels: raster((i) => PROBLEM.table[winner[i]][Math.round(confidence[i] * (levels - 1))]) };
}

function apartMap(a, b) {
  let count = 0;
  const pixels = raster((i) => (a.winner[i] === b.winner[i] ? null : ((count += within[i]), [...PROBLEM.warm, 220])));
  return { pixels, share: count / within.filter(Boolean).length };
}

const toX = (size) => (x) => ((x - slice.area[0]) / (slice.area[1] - slice.area[0])) * size;
const toY = (size) => (y) => (1 - (y - slice.area[2]) / (slice.area[3] - slice.area[2])) * size;

// One map: pixels, labelled points, the samples of the last step, walks, the point.
function paintMap(canvas, pixels, { dots = [], samples = [], walks = [], point = null, pictures = false }) {
  const size = Math.floor(canvas.clientWidth), pen = fitted2(canvas, size), tone = tones(), X = toX(size), Y = toY(size);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pixels, 0, 0, size, size);
  for (const { at, name, image } of pictures ? slice.anchors : []) {
    const side = Math.round(size / 9), x = Math.min(size - side - 2, Math.max(2, X(at[0]) - side / 2)), y = Y(at[1]) + (Y(at[1]) > size - side - 30 ? -side - 9 : 9);
    paintImage(pen, image, x, y, side);
    pen.strokeStyle = tone.paper;
    pen.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
    pen.font = "12px system-ui, sans-serif";
    Object.assign(pen, { textAlign: "center", textBaseline: "top", fillStyle: tone.ink, strokeStyle: tone.paper, lineWidth: 3 });
    pen.strokeText(name, x + side / 2, y + side + 2);
    pen.fillText(name, x + side / 2, y + side + 2);
  }
  for (const { at } of slice.anchors) {
    shape(pen, "circle", X(at[0]), Y(at[1]), 3.5);
    fill(pen, tone.paper);
    stroke(pen, tone.ink, 1.5);
  }
  for (const [x, y, k, strong] of dots) {
    shape(pen, "circle", X(x), Y(y), strong ? 3.2 : 1.6);
    fill(pen, PROBLEM.colours[k], strong ? 1 : 0.55);
    if (strong) stroke(pen, tone.paper, 0.8);
  }
  for (const [a, b] of samples) {
    segment(pen, [X(a[0]), Y(a[1])], [X(b[0]), Y(b[1])], tone.ink, 0.7);
    shape(pen, "circle", X(b[0]), Y(b[1]), 3);
    stroke(pen, tone.ink, 1.2);
  }
  for (const { path, dash, upto } of walks) {
    const spots = slice.flat(path.slice(0, upto + 1)).map(([x, y]) => [X(x), Y(y)]);
    trace(pen, spots);
    stroke(pen, tone.paper, 4);
    trace(pen, spots);
    stroke(pen, tone.ink, 1.8, dash ? [5, 4] : []);
    for (const [x, y] of spots.slice(1)) {
      shape(pen, "circle", x, y, 2.2);
      fill(pen, tone.ink);
    }
    const [x, y] = spots.at(-1);
    shape(pen, "circle", x, y, 5.5);
    stroke(pen, tone.ink, 2);
  }
  if (point) {
    shape(pen, "circle", X(point[0]), Y(point[1]), 7);
    fill(pen, tone.accent);
    stroke(pen, tone.paper, 2);
  }
}

// As ``fitted``, but the style keeps the width that the layout gives.
function fitted2(canvas, width, height = width) {
  const pen = fitted(canvas, width, height);
  canvas.style.width = canvas.style.height = "";
  return pen;
}

const LINES = ["#926024", "#008554", "#f354aa", "#ff3000"]; // of methods, see theme.py: no class has them

// Lines over steps; dotted lines where a setting was changed.
function paintCurves(canvas, lines, steps, changes, bounds = null) {
  const width = Math.floor(canvas.clientWidth), height = 150, pen = fitted2(canvas, width, height), tone = tones();
  const left = 34, right = width - 6, top = 6, bottom = height - 18;
  const values = lines.flatMap(({ points }) => points.map(([, y]) => y));
  const [low, high] = bounds ?? [0, Math.max(0.1, ...values) * 1.05];
  const X = (x) => left + (x / steps) * (right - left), Y = (y) => bottom - ((y - low) / (high - low)) * (bottom - top);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = tone.muted;
  pen.textBaseline = "middle";
  for (let i = 0; i <= 4; i++) {
    const v = low + ((high - low) * i) / 4;
    segment(pen, [left, Y(v)], [right, Y(v)], tone.grid, 1);
    pen.fillStyle = tone.muted;
    pen.textAlign = "right";
    pen.fillText(high > 20 ? v.toFixed(0) : v.toPrecision(2), left - 4, Y(v));
  }
  pen.textAlign = "center";
  for (const at of [0, 0.25, 0.5, 0.75, 1]) pen.fillText(String(Math.round(at * steps)), X(at * steps) - (at === 1 ? 8 : 0), bottom + 10);
  for (const step of changes) segment(pen, [X(step), top], [X(step), bottom], tone.accent, 1, [2, 3]);
  for (const { points, colour, dash } of lines) {
    trace(pen, points.map(([x, y]) => [X(x), Y(y)]));
    stroke(pen, colour, 1.8, dash);
    if (points.length) {
      shape(pen, "circle", X(points.at(-1)[0]), Y(points.at(-1)[1]), 2.5);
      fill(pen, colour);
    }
  }
}
