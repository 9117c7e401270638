// The image at a point of the plane, and what both nets say of it.

class Point {
  constructor(model, el) {
    this.model = model;
    this.root = make(el, "div", { class: "amkd-point-row" });
    this.picture = figure(this.root, "point");
    this.answers = new Answers(this.root);
    this.words = make(this.root, "div", { class: "amkd-note" });
    this.ask = bundled(() => this.draw());
    model.on("change:frame change:empty", this.ask);
    this.draw();
  }

  close() {
    this.ask.stop();
    this.model.off("change:frame change:empty", this.ask);
  }

  draw() {
    const sent = this.model.get("frame"), there = Boolean(sent.size);
    this.root.dataset.empty = String(!there);
    this.words.replaceChildren();
    if (!there) {
      this.words.textContent = this.model.get("empty");
      return;
    }
    const frame = { ...sent, pixels: new Uint8Array(raw(sent.images)), p: floats(sent.p) };
    paintImage(this.picture.canvas, frame, 0);
    this.picture.canvas.setAttribute("aria-label", "the image at the point that was dragged");
    this.picture.title.textContent = "this point";
    this.answers.shape(frame);
    this.answers.set(0, 1);
    for (const line of frame.words) make(this.words, "div", {}, line);
    this.root.dataset.inside = String(frame.inside);
    this.root.dataset.at = frame.at.map((v) => v.toFixed(3)).join(" ");
  }
}

export default {
  render({ model, el }) {
    const point = new Point(model, el);
    return () => point.close();
  },
};
