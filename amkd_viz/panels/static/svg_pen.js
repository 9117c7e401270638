// A pen that writes SVG: the part of a canvas's context that our views use, so that one drawing serves both.

const short2 = (v) => String(Math.round(v * 100) / 100);
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
let clips = 0;

class SvgPen {
  constructor(width, height) {
    Object.assign(this, { width, height, parts: [], saved: [], open: 0, scale: 1, d: "", dash: [], vector: true });
    Object.assign(this, { globalAlpha: 1, fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, font: "10px sans-serif" });
    Object.assign(this, { textAlign: "start", textBaseline: "alphabetic", lineJoin: "miter", imageSmoothingEnabled: true });
    this.ruler = new OffscreenCanvas(1, 1).getContext("2d");
    this.pictures = new Map();
  }

  add(part) {
    this.parts.push(this.globalAlpha < 1 ? part.replace(" ", ` opacity="${short2(this.globalAlpha)}" `) : part);
  }

  setTransform() {}
  clearRect() {}
  beginPath() { this.d = ""; }
  moveTo(x, y) { this.d += `M${short2(x)} ${short2(y)}`; }
  lineTo(x, y) { this.d += `${this.d ? "L" : "M"}${short2(x)} ${short2(y)}`; }
  closePath() { this.d += "Z"; }
  rect(x, y, w, h) { this.d += `M${short2(x)} ${short2(y)}h${short2(w)}v${short2(h)}h${short2(-w)}Z`; }
  arc(x, y, r) { // whole circles only
    const [a, b] = [short2(r), short2(2 * r)];
    this.d += `M${short2(x - r)} ${short2(y)}a${a} ${a} 0 1 0 ${b} 0a${a} ${a} 0 1 0 -${b} 0Z`;
  }
  setLineDash(dash) { this.dash = dash; }
  fill(rule) { this.add(`<path d="${this.d}" fill="${this.fillStyle}"${rule ? ` fill-rule="${rule}"` : ""}/>`); }
  line() {
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.join(" ")}"` : "";
    return `fill="none" stroke="${this.strokeStyle}" stroke-width="${this.lineWidth}" stroke-linejoin="${this.lineJoin}"${dash}`;
  }
  stroke() { this.add(`<path d="${this.d}" ${this.line()}/>`); }
  box(x, y, w, h) { return `x="${short2(x)}" y="${short2(y)}" width="${short2(w)}" height="${short2(h)}"`; }
  fillRect(...at) { this.add(`<rect ${this.box(...at)} fill="${this.fillStyle}"/>`); }
  strokeRect(...at) { this.add(`<rect ${this.box(...at)} ${this.line()}/>`); }
  measureText(text) {
    this.ruler.font = this.font;
    return this.ruler.measureText(text);
  }
  text(text, x, y, paint) {
    const anchor = { center: "middle", right: "end", end: "end" }[this.textAlign] || "start";
    const base = { middle: "central", top: "text-before-edge", bottom: "text-after-edge" }[this.textBaseline] || "auto";
    const place = `x="${short2(x)}" y="${short2(y)}" text-anchor="${anchor}" dominant-baseline="${base}"`;
    this.add(`<text ${place} style="font:${escaped(this.font.replaceAll('"', "'"))}" ${paint}>${escaped(text)}</text>`);
  }
  fillText(text, x, y) { this.text(text, x, y, `fill="${this.fillStyle}"`); }
  strokeText(text, x, y) { this.text(text, x, y, this.line()); }
  clip() {
    const name = `amkd-clip-${++clips}`;
    this.parts.push(`<clipPath id="${name}"><path d="${this.d}"/></clipPath><g clip-path="url(#${name})">`);
    this.open += 1;
  }
  save() {
    const { globalAlpha, fillStyle, strokeStyle, lineWidth, font, textAlign, textBaseline, lineJoin, dash, open } = this;
    this.saved.push({ globalAlpha, fillStyle, strokeStyle, lineWidth, font, textAlign, textBaseline, lineJoin, dash, open });
  }
  restore() {
    const { open } = this, before = this.saved.pop();
    Object.assign(this, before);
    for (let i = before.open; i < open; i++) this.parts.push("</g>");
  }
  drawImage(image, x, y, w = image.width, h = image.height) {
    if (!this.pictures.has(image)) this.pictures.set(image, pixelsOf(image));
    const look = this.imageSmoothingEnabled ? "" : ' style="image-rendering:pixelated"';
    this.add(`<image ${this.box(x, y, w, h)} preserveAspectRatio="none"${look} href="${this.pictures.get(image)}"/>`);
  }
  svg() {
    return this.parts.join("");
  }
}

// A picture as a data URL, pixel by pixel.
function pixelsOf(image) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: image.naturalWidth || image.width, height: image.naturalHeight || image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL();
}
