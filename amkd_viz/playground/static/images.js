// What a page of images shows in place of points: a plane through three of them, the attack as a strip, samples.

const [CHANNELS, HIGH, LONG] = PROBLEM.shape;
const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
const minus = (a, b) => Array.from(a, (v, i) => v - b[i]);

// Points (x, y) as inputs of a net, and a path of inputs as points: the points themselves.
const POINTS = { area: PROBLEM.area, lift: (points) => points, flat: (path) => path, valid: () => true, anchors: [] };

// The plane through three images, as views/planes.py lays it; ``names`` are drawn beside them.
function planeThrough(images, names) {
  const origin = Array.from(images[0]), first = minus(images[1], origin), second = minus(images[2], origin), side = Math.sqrt(dot(first, first));
  const u = first.map((v) => v / side), along = dot(second, u), rest = second.map((v, i) => v - along * u[i]), height = Math.sqrt(dot(rest, rest));
  const v = rest.map((value) => value / height), places = [[0, 0], [side, 0], [along, height]];
  const ends = [0, 1].map((axis) => [Math.min(...places.map((p) => p[axis])), Math.max(...places.map((p) => p[axis]))]);
  const half = 0.85 * Math.max(...ends.map(([low, high]) => high - low)), [x, y] = ends.map(([low, high]) => (low + high) / 2);
  return {
    area: [x - half, x + half, y - half, y + half],
    lift: (points) => {
      const made = new Float32Array((points.length / 2) * WIDTH);
      for (let i = 0; i < points.length / 2; i++) for (let j = 0; j < WIDTH; j++) made[i * WIDTH + j] = origin[j] + points[2 * i] * u[j] + points[2 * i + 1] * v[j];
      return made;
    },
    flat: (path) => path.map((image) => [dot(minus(image, origin), u), dot(minus(image, origin), v)]),
    valid: (image) => image.every((value) => value >= -1e-6 && value <= 1 + 1e-6),
    anchors: places.map((at, i) => ({ at, name: names[i], image: images[i] })),
  };
}

// An image as a canvas of its own pixels. A difference, of any sign, is grey where it is 0.
function pixels(image, difference = 0) {
  const made = new ImageData(LONG, HIGH);
  for (let i = 0; i < HIGH * LONG; i++) {
    const values = [0, 1, 2].map((c) => image[(c % CHANNELS) * HIGH * LONG + i]).map((v) => (difference ? 0.5 + (0.5 * v) / difference : v));
    made.data.set([...values.map((v) => 255 * v), 255], 4 * i);
  }
  const canvas = new OffscreenCanvas(LONG, HIGH);
  canvas.getContext("2d").putImageData(made, 0, 0);
  return canvas;
}

function paintImage(pen, image, x, y, size, difference = 0) {
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pixels(image, difference), x, y, size, size);
}

// The iterates of a walk, their differences from the first, and below them both nets' probabilities on each.
function paintWalk(canvas, { path, classes, probabilities }, net, upto, ends) {
  const wide = Math.floor(canvas.clientWidth), columns = Math.max(3, path.length), gap = 3, size = Math.min(56, Math.floor((wide - 30) / columns) - gap);
  const left = 30, rows = [0, size + gap], top = 2 * (size + gap) + 18, bottom = top + 90, high = bottom + 6, pen = fitted2(canvas, wide, high), tone = tones();
  canvas.style.height = `${high}px`;
  const X = (i) => left + i * (size + gap) + size / 2, most = Math.max(1e-6, ...minus(path.at(-1), path[0]).map(Math.abs));
  path.forEach((image, i) => {
    pen.globalAlpha = i <= upto ? 1 : 0.35;
    paintImage(pen, image, X(i) - size / 2, rows[0], size);
    paintImage(pen, minus(image, path[0]), X(i) - size / 2, rows[1], size, most);
    pen.globalAlpha = 1;
  });
  shape(pen, "square", X(upto), size + gap / 2, 0);
  pen.strokeStyle = tone.accent;
  pen.lineWidth = 2;
  pen.strokeRect(X(upto) - size / 2 - 1, 1, size + 2, 2 * size + gap);
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  classes.forEach((k, i) => {
    pen.fillStyle = i && k !== classes[0] ? tone.accent : tone.muted;
    pen.fillText(PROBLEM.classes[k], X(i), top - 9);
  });
  const Y = (share) => bottom - share * (bottom - top - 4);
  for (const share of [0, 0.5, 1]) {
    segment(pen, [left, Y(share)], [X(columns - 1) + size / 2, Y(share)], tone.grid, 1);
    pen.fillStyle = tone.muted;
    pen.textAlign = "right";
    pen.fillText(`${100 * share}`, left - 4, Math.min(Y(share), high - 6));
  }
  for (const [own, dash] of [[net === "teacher" ? "student" : "teacher", [3, 3]], [net, []]]) for (const k of ends) {
    trace(pen, probabilities[own].map((row, i) => [X(i), Y(row[k])]));
    stroke(pen, PROBLEM.colours[k], own === net ? 2 : 1.4, dash);
  }
}

// Pairs of a base image and its boundary sample, side by side.
function paintSamples(canvas, pairs) {
  const wide = Math.floor(canvas.clientWidth), across = 4, size = Math.min(44, Math.floor(wide / across / 2) - 5), cell = Math.floor(wide / across);
  const rows = Math.max(1, Math.ceil(pairs.length / across)), high = rows * (size + 6), pen = fitted2(canvas, wide, high);
  canvas.style.height = `${high}px`;
  pairs.forEach(([from, to], i) => {
    const x = (i % across) * cell, y = Math.floor(i / across) * (size + 6);
    paintImage(pen, from, x, y, size);
    paintImage(pen, to, x + size + 1, y, size);
  });
}
