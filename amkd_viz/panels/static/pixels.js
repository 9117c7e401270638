// Images as whole pixels, and the predictions of two nets beside each other.

const ADDS = [231, 99, 0], TAKES = [63, 144, 218]; // the colours of raster.py

function paintImage(canvas, frame, which) {
  const [w, h, channels] = frame.size, count = w * h, from = which * count * channels;
  const image = new ImageData(w, h);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = frame.pixels[from + i * channels + (channels === 3 ? c : 0)];
    image.data[4 * i + 3] = 255;
  }
  put(canvas, image);
}

function paintSigned(canvas, frame, which) {
  const [w, h] = frame.size, count = w * h, from = which * count;
  const image = new ImageData(w, h);
  for (let i = 0; i < count; i++) {
    const value = frame.change[from + i];
    image.data.set(value > 0 ? ADDS : TAKES, 4 * i);
    image.data[4 * i + 3] = Math.min(255, 2 * Math.abs(value));
  }
  put(canvas, image);
}

function put(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function figure(parent, kind) {
  const made = make(parent, "figure", { class: `amkd-picture amkd-picture-${kind}` });
  const caption = make(made, "figcaption");
  return { made, canvas: make(made, "canvas", { role: "img" }), title: make(caption, "b"), note: make(caption, "span") };
}

// One row per class, one column per net; the widths change, the rows stay.
class Answers {
  constructor(parent) {
    this.root = make(parent, "div", { class: "amkd-answers" });
  }

  shape(frame) {
    const key = JSON.stringify([frame.nets, frame.rows]);
    this.frame = frame;
    if (key === this.key) return;
    this.key = key;
    this.root.replaceChildren();
    this.root.style.setProperty("--amkd-nets", frame.nets.length);
    make(this.root, "span");
    this.heads = frame.nets.map((name) => make(this.root, "b", {}, name));
    this.bars = frame.rows.map((row) => {
      const name = make(this.root, "span", { class: "amkd-answers-name", title: row.name }, row.name);
      const cells = frame.nets.map(() => {
        const track = make(this.root, "div");
        const bar = make(track, "i");
        bar.style.background = row.colour;
        return { bar, value: make(track, "span") };
      });
      return { name, cells };
    });
    this.says = this.line("says", "the class that the net predicts", "amkd-answers-says");
    this.gaps = frame.gap ? this.line("gap", "logit of the base class minus that of the target class", "") : null;
  }

  line(name, help, kind) {
    make(this.root, "span", { class: "amkd-answers-name", title: help }, name);
    return this.frame.nets.map(() => make(this.root, "span", { class: kind }));
  }

  set(which, many, gap) {
    const { frame } = this, rows = frame.rows.length;
    frame.nets.forEach((_, n) => {
      const predicted = frame.says[n][which];
      this.says[n].textContent = predicted;
      this.says[n].title = predicted;
      if (this.gaps) this.gaps[n].textContent = gap(n);
      this.bars.forEach(({ cells }, r) => {
        const p = frame.p[(n * many + which) * rows + r], { bar, value } = cells[n];
        bar.style.width = `${100 * Math.max(0, p)}%`;
        value.textContent = percent(p);
        value.classList.toggle("amkd-top", frame.rows[r].name === predicted);
      });
    });
  }
}
