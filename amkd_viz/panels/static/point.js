// The image at a point of the plane, and what both nets predict for it.

class Point extends View {
  constructor(model, el) {
    super(model);
    this.root = make(el, "div", { class: "amkd-point-row" });
    this.picture = figure(this.root, "point");
    this.answers = new Answers(this.root);
    this.words = make(this.root, "div", { class: "amkd-note" });
    this.hear("frame empty", this.bundle(() => this.draw()));
    this.draw();
  }

  draw() {
    const sent = this.get("frame"), empty = !sent.size;
    this.root.dataset.empty = String(empty);
    this.words.textContent = empty ? this.get("empty") : "";
    if (empty) return;
    const frame = { ...sent, pixels: new Uint8Array(raw(sent.images)), p: floats(sent.p) };
    paintImage(this.picture.canvas, frame, 0);
    this.picture.canvas.setAttribute("aria-label", "the image at the point");
    this.picture.title.textContent = "this point";
    this.answers.shape(frame);
    this.answers.set(0, 1);
    for (const line of frame.words) make(this.words, "div", {}, line);
    Object.assign(this.root.dataset, { inside: String(frame.inside), at: frame.at.map((v) => v.toFixed(3)).join(" ") });
  }
}

export default moduleOf(Point);
