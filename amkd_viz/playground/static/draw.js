// Maps and curves on canvases.

const SIDE = 100; // grid resolution of the maps
const [X0, X1, Y0, Y1] = PROBLEM.area;
const tones = () => {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ink", "muted", "line", "grid", "paper", "warm", "accent"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
};

// Centres of the cells, row by row from the bottom, each from the left.
function gridPoints(side) {
  const x = new Float32Array(2 * side * side);
  for (let r = 0; r < side; r++) for (let c = 0; c < side; c++) {
    x.set([X0 + ((c + 0.5) / side) * (X1 - X0), Y0 + ((r + 0.5) / side) * (Y1 - Y0)], 2 * (r * side + c));
  }
  return x;
}

const GRID = gridPoints(SIDE);

function raster(colour) {
  const image = new ImageData(SIDE, SIDE);
  for (let r = 0; r < SIDE; r++) for (let c = 0; c < SIDE; c++) {
    const rgba = colour(r * SIDE + c);
    if (rgba) image.data.set(rgba, 4 * ((SIDE - 1 - r) * SIDE + c));
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
  const pixels = raster((i) => (a.winner[i] === b.winner[i] ? null : (count++, [...PROBLEM.warm, 220])));
  return { pixels, share: count / a.winner.length };
}

const toX = (size) => (x) => ((x - X0) / (X1 - X0)) * size;
const toY = (size) => (y) => (1 - (y - Y0) / (Y1 - Y0)) * size;

// One map: pixels, labelled points, the samples of the last step, walks, the point.
function paintMap(canvas, pixels, { dots = [], samples = [], walks = [], point = null }) {
  const size = Math.floor(canvas.clientWidth), pen = fitted2(canvas, size), tone = tones(), X = toX(size), Y = toY(size);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pixels, 0, 0, size, size);
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
    const spots = path.slice(0, upto + 1).map(([x, y]) => [X(x), Y(y)]);
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

const LINES = ["#925500", "#186d3d", "#ff49db", "#24ce00"]; // of methods: no class has them

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
  for (const { points, colour } of lines) {
    trace(pen, points.map(([x, y]) => [X(x), Y(y)]));
    stroke(pen, colour, 1.8);
    if (points.length) {
      shape(pen, "circle", X(points.at(-1)[0]), Y(points.at(-1)[1]), 2.5);
      fill(pen, colour);
    }
  }
}
