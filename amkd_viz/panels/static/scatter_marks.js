// Marks of the joint map: teacher = circle, student = diamond, boundary sample = ring, misleading triplet = cross.

const RADIUS = 4.2;

// A diamond has to be wider than a circle to look as large.
const sampleShape = (context, kind, x, y, r) => shape(context, kind, x, y, kind === "diamond" ? 1.25 * r : r);

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
      this.draw(context, colour, kind, ring, this.half, this.half, 1);
      this.made.set(key, canvas);
    }
    return this.made.get(key);
  }

  draw(context, colour, kind, ring, x, y, opacity) {
    sampleShape(context, kind, x, y, ring ? RADIUS - 0.6 : RADIUS);
    fill(context, colour, opacity);
    stroke(context, this.tone.paper, 0.7);
    if (!ring) return;
    shape(context, "circle", x, y, RADIUS + 2.4);
    stroke(context, this.tone.ink, 1.4);
  }
}

function words(context, text, x, y, tone, { align = "center", weight = 600, colour = tone.ink, large = 1 } = {}) {
  context.font = `${weight} ${12 * large}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
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

function inside(polygon, x, y) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

// Names of more classes than this would cover the samples: letters stand for them.
const lettered = (names) => names.length > 20;

// Where the name of each class stands: at the sample nearest to its median.
function centres(samples, at) {
  const found = [], groups = new Map();
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
