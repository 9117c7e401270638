// Marks of the joint map: teacher = circle, student = diamond, boundary sample = ring, misleading triplet = cross.

const RADIUS = 4.2;

function shape(context, kind, x, y, r) {
  context.beginPath();
  if (kind === "diamond") {
    const d = r * 1.25;
    context.moveTo(x, y - d);
    context.lineTo(x + d, y);
    context.lineTo(x, y + d);
    context.lineTo(x - d, y);
    context.closePath();
  } else {
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

// One small picture for each class, shape and ring, so that 5,000 samples are 5,000 copies.
class Stamps {
  constructor(ratio, tone) {
    this.ratio = ratio;
    this.tone = tone;
    this.made = new Map();
    this.half = 9;
  }

  get(colour, kind, ring) {
    const key = `${colour} ${kind} ${ring}`;
    if (!this.made.has(key)) {
      const side = Math.ceil(2 * this.half * this.ratio);
      const canvas = new OffscreenCanvas(side, side);
      const context = canvas.getContext("2d");
      context.scale(this.ratio, this.ratio);
      shape(context, kind, this.half, this.half, ring ? RADIUS - 0.6 : RADIUS);
      fill(context, colour);
      stroke(context, this.tone.paper, 0.7);
      if (ring) {
        shape(context, "circle", this.half, this.half, RADIUS + 2.4);
        stroke(context, this.tone.ink, 1.4);
      }
      this.made.set(key, canvas);
    }
    return this.made.get(key);
  }
}

function cross(context, x, y, tone, r = 4.5, line = 2) {
  context.beginPath();
  context.moveTo(x - r, y - r);
  context.lineTo(x + r, y + r);
  context.moveTo(x + r, y - r);
  context.lineTo(x - r, y + r);
  stroke(context, tone.paper, line + 2);
  stroke(context, tone.ink, line);
}

function words(context, text, x, y, tone, { align = "center", weight = 600, colour = tone.ink } = {}) {
  context.font = `${weight} 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = tone.paper;
  context.globalAlpha = 0.85;
  context.strokeText(text, x, y);
  context.globalAlpha = 1;
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function segment(context, a, b, colour, width, dash = []) {
  context.beginPath();
  context.moveTo(a[0], a[1]);
  context.lineTo(b[0], b[1]);
  stroke(context, colour, width, dash);
}

function inside(polygon, x, y) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

// Where the name of each class stands: at the sample nearest to its median.
function centres(samples, at) {
  const found = [];
  if (samples.names.length > 20) return found;
  const groups = new Map();
  for (let i = 0; i < samples.ids.length; i++) {
    if (samples.boundary[i] || !samples.visible(i)) continue;
    if (!groups.has(samples.label[i])) groups.set(samples.label[i], []);
    groups.get(samples.label[i]).push(i);
  }
  for (const [k, own] of groups) {
    const x = median(own.map((i) => at[2 * i])), y = median(own.map((i) => at[2 * i + 1]));
    const far = (i) => (at[2 * i] - x) ** 2 + (at[2 * i + 1] - y) ** 2;
    found.push([k, own.reduce((best, i) => (far(i) < far(best) ? i : best), own[0])]);
  }
  return found;
}
