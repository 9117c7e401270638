// Strokes and symbols on a canvas. Teacher: circle; student: diamond; boundary sample: ring; crossing, misleading: cross.

// The context of a canvas of this size in CSS pixels, cleared; its units are CSS pixels.
function fitted(canvas, width, height) {
  if (canvas.amkdPen) return (canvas.amkdPen = new SvgPen(width, height)); // what is on the page stays
  const ratio = window.devicePixelRatio || 1, wide = Math.round(width * ratio), high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// A line through points, interrupted where one is NaN.
function trace(context, spots) {
  context.beginPath();
  let pen = "moveTo";
  for (const [x, y] of spots) {
    if (Number.isFinite(x)) context[pen](x, y);
    pen = Number.isFinite(x) ? "lineTo" : "moveTo";
  }
}

function shape(context, kind, x, y, r) {
  const corners = kind === "square" ? [[-r, -r], [r, -r], [r, r], [-r, r]] : [[0, -r], [r, 0], [0, r], [-r, 0]];
  if (kind === "cross") trace(context, [[x - r, y - r], [x + r, y + r], [NaN], [x + r, y - r], [x - r, y + r]]);
  else if (kind === "square" || kind === "diamond") {
    trace(context, corners.map(([u, v]) => [x + u, y + v]));
    context.closePath();
  } else if (kind === "triangle") {
    trace(context, [[x, y - 1.2 * r], [x + 1.1 * r, y + 0.8 * r], [x - 1.1 * r, y + 0.8 * r]]);
    context.closePath();
  } else {
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
  }
}

function fill(context, colour, opacity = 1) {
  context.globalAlpha = opacity;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
}

function stroke(context, colour, width, dash = []) {
  context.setLineDash(dash);
  context.lineWidth = width;
  context.strokeStyle = colour;
  context.stroke();
  context.setLineDash([]);
}

function segment(context, a, b, colour, width, dash = []) {
  trace(context, [a, b]);
  stroke(context, colour, width, dash);
}

function cross(context, x, y, tone, r = 4.5, line = 2) {
  shape(context, "cross", x, y, r);
  stroke(context, tone.paper, line + 2);
  stroke(context, tone.ink, line);
}

const LARGE = 1.5; // letters and lines for an audience
const DISTINCT = 10; // classes whose colours differ at a glance; of more, a letter says which one it is, too

// What stands for class k where its name would not fit: the name if that is short, else the index.
function letterOf(names, k) {
  const name = names[k] || "";
  return name && name.length <= 2 ? name : String(k);
}
