// Drawing of the joint map in two layers: the samples, and over them what follows the pointer.

const MOVE = 350; // milliseconds in which samples move to new places
const still = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

class Drawing extends View {
  // Decode new data, and move each sample from where it is to its new place.
  take() {
    const before = this.at && new Map(Array.from(this.samples.ids, (id, i) => [id, [this.at[2 * i], this.at[2 * i + 1]]]));
    const samples = this.samples.read();
    samples.pictures().then(this.ask);
    const ends = ["teacher", "student"].map((name) => new Float32Array(bytesOf(this.get(name))));
    this.hover = -1;
    this.tip.hidden = true;
    if (!samples.ids.length || ends.some((e) => e.length !== 2 * samples.ids.length)) {
      this.ends2 = this.at = null; // between two messages, or nothing yet
      this.ask();
      return;
    }
    const same = this.ends2 && ends.every((e, n) => e.length === this.ends2[n].length && e.every((v, i) => v === this.ends2[n][i]));
    this.ends2 = ends;
    this.frame();
    this.centres = null;
    if (!same && before && !still()) this.from = { before, start: performance.now() };
    this.ask();
  }

  // The rectangle around both layouts, so that morphing does not move the camera.
  frame() {
    let low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (const end of this.ends2) {
      for (let i = 0; i < end.length; i++) {
        low[i & 1] = Math.min(low[i & 1], end[i]);
        high[i & 1] = Math.max(high[i & 1], end[i]);
      }
    }
    this.middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    this.extent = [high[0] - low[0] || 1, high[1] - low[1] || 1];
  }

  // Places of all samples now, in units of the layout: between teacher and student, and perhaps still moving.
  positions() {
    const t = this.get("morph"), [a, b] = this.ends2;
    const at = new Float32Array(a.length);
    for (let i = 0; i < at.length; i++) at[i] = a[i] + t * (b[i] - a[i]);
    if (this.from) {
      const share = (performance.now() - this.from.start) / MOVE;
      if (share >= 1) this.from = null;
      else {
        const eased = share * share * (3 - 2 * share);
        this.samples.ids.forEach((id, i) => {
          const old = this.from.before.get(id);
          if (!old) return;
          at[2 * i] = old[0] + eased * (at[2 * i] - old[0]);
          at[2 * i + 1] = old[1] + eased * (at[2 * i + 1] - old[1]);
        });
        this.ask();
      }
    }
    return at;
  }

  scale() {
    const pad = 26;
    const fit = Math.min((this.width - 2 * pad) / this.extent[0], (this.height - 2 * pad) / this.extent[1]);
    return fit * this.camera.zoom;
  }

  pixel(x, y) {
    const s = this.scale();
    return [
      this.width / 2 + (x - this.middle[0] - this.camera.x) * s,
      this.height / 2 - (y - this.middle[1] - this.camera.y) * s,
    ];
  }

  // Where the teacher (0) or the student (1) places sample i.
  end(net, i) {
    return this.pixel(this.ends2[net][2 * i], this.ends2[net][2 * i + 1]);
  }

  spot(i) {
    return this.pixel(this.at[2 * i], this.at[2 * i + 1]);
  }

  // Where a sample stands, in CSS pixels of the window.
  locate(id) {
    const [x, y] = this.spot(this.samples.place.get(id)), box = this.canvas.getBoundingClientRect();
    return [box.left + x, box.top + y];
  }

  draw() {
    this.width = this.stage.clientWidth;
    this.large = this.root.closest(".amkd-present") ? LARGE : 1;
    const most = this.large > 1 ? window.innerHeight - 280 : Math.min(560, 0.65 * window.innerHeight);
    this.height = Math.round(Math.max(300, Math.min(most, this.width * 0.92)));
    if (!this.width) return;
    const ratio = window.devicePixelRatio || 1;
    const grown = this.canvas.width !== Math.round(this.width * ratio) || this.canvas.height !== Math.round(this.height * ratio);
    this.stale = this.stale || grown;
    if (!this.tone || this.stamps.ratio !== ratio) {
      this.tone = coloursOf(this.root);
      this.stamps = new Stamps(ratio, this.tone);
      this.stale = true;
    }
    if (this.stale) {
      this.stale = false;
      const context = fitted(this.dots, this.width, this.height);
      if (this.ends2) this.drawDots(context);
      else words(context, this.get("empty"), this.width / 2, this.height / 2, this.tone, { weight: 400, colour: this.tone.muted });
      this.tell();
    }
    const context = fitted(this.canvas, this.width, this.height);
    if (this.ends2) this.drawOver(context);
    this.root.dataset.picked = this.get("picked") ?? "";
    this.root.dataset.drawn = ++this.drawn;
  }

  drawDots(context) {
    const { samples, stamps, at } = this, t = this.get("morph");
    this.at = this.positions();
    const selected = new Set(this.get("selection").map((id) => samples.place.get(id)));
    selected.delete(undefined);
    if (selected.size <= 200) this.drawMoves(context, selected);
    const kind = t < 0.5 ? "circle" : "diamond", half = stamps.half * stamps.ratio;
    const pictures = samples.palette.map((colour) => [0, 1].map((ring) => stamps.get(colour, kind, ring)));
    // without the context's own scale: a copy pixel by pixel is what a browser does fastest
    context.setTransform(1, 0, 0, 1, 0, 0);
    const s = this.scale() * stamps.ratio, left = (this.width * stamps.ratio) / 2, top = (this.height * stamps.ratio) / 2;
    const [x0, y0] = [this.middle[0] + this.camera.x, this.middle[1] + this.camera.y];
    const stamp = (i) => {
      const x = left + (this.at[2 * i] - x0) * s - half, y = top - (this.at[2 * i + 1] - y0) * s - half;
      if (context.vector) stamps.draw(context, samples.colour(i), kind, samples.boundary[i], ...this.spot(i), selected.has(i) ? 1 : alpha);
      else context.drawImage(pictures[samples.label[i] % pictures.length][samples.boundary[i]], Math.round(x), Math.round(y));
    };
    const alpha = (context.globalAlpha = selected.size ? 0.22 : 0.85);
    for (let i = 0; i < samples.ids.length; i++) if (samples.visible(i) && !selected.has(i)) stamp(i);
    context.globalAlpha = 1;
    for (const i of selected) if (samples.visible(i)) stamp(i);
    context.setTransform(stamps.ratio, 0, 0, stamps.ratio, 0, 0);
    if (!at || at.length !== this.at.length || at.some((v, i) => v !== this.at[i])) this.centres = null;
    this.centres ||= centres(samples, this.at);
    const named = (k) => (lettered(samples.names) ? letterOf(samples.names, k) : shorten(samples.className(k), 14)), { large } = this;
    for (const [k, i] of this.centres) {
      const [x, y] = this.spot(i);
      words(context, named(k), x, y - 15 * large, this.tone, { large });
    }
    this.root.dataset.letters = this.centres.map(([k]) => named(k)).join(" | ");
  }

  drawOver(context) {
    this.drawMisleading(context, this.get("morph"));
    this.drawStar(context);
    if (this.hover >= 0) {
      shape(context, "circle", ...this.spot(this.hover), 8);
      stroke(context, this.tone.accent, 2);
      this.placeTip(); // it moves along
    }
    if (this.lasso) this.drawLasso(context);
  }

  // From the teacher's to the student's place of each selected sample.
  drawMoves(context, selected) {
    context.globalAlpha = 0.5;
    for (const i of selected) segment(context, this.end(0, i), this.end(1, i), this.tone.line, 1);
    context.globalAlpha = 1;
  }

  // Anchor: the teacher's place of the picked sample; positive: the student's; negatives: the student's of others.
  drawStar(context) {
    const i = this.samples.place.get(this.get("picked"));
    if (i === undefined) return;
    const { tone, samples } = this, anchor = this.end(0, i), positive = this.end(1, i);
    const negatives = this.get("star").negatives || [];
    const ends = negatives.map(([id, wrong]) => [samples.place.get(id), wrong]).filter(([j]) => j !== undefined);
    for (const [j] of ends) segment(context, anchor, this.end(1, j), tone.muted, 1);
    segment(context, anchor, positive, tone.ink, 2.2);
    for (const [j, wrong] of ends) {
      const [x, y] = this.end(1, j);
      sampleShape(context, "diamond", x, y, wrong ? 6.5 : 5);
      fill(context, samples.colour(j));
      stroke(context, tone.ink, 1.2);
      if (wrong) cross(context, x, y, tone, 3, 1.6);
    }
    const up = anchor[1] <= positive[1] ? -1 : 1; // each label on the side away from the other mark
    for (const [[x, y], kind, text, side] of [[anchor, "circle", "anchor: teacher", up], [positive, "diamond", "positive: student", -up]]) {
      sampleShape(context, kind, x, y, 6.5);
      fill(context, samples.colour(i));
      stroke(context, tone.ink, 2.4);
      const { large } = this, align = x < 70 * large ? "left" : x > this.width - 70 * large ? "right" : "center";
      const free = (v) => !this.centres.some(([, k]) => {
        const [u, w] = this.spot(k);
        return Math.abs(u - x) < 75 * large && Math.abs(w - 15 * large - v) < 12 * large; // the name of a class is there
      });
      const rows = [side * 18, side * 33, -side * 18].map((by) => y + by * large);
      words(context, text, x, rows.find(free) ?? rows[0], tone, { align, large });
    }
  }

  // Triplets of the net that is shown: the dotted line is longer on the map and shorter in truth, or the reverse.
  drawMisleading(context, t) {
    const net = t === 0 ? 0 : t === 1 ? 1 : -1;
    for (const [own, ...ids] of this.get("misleading")) {
      const at = ids.map((id) => this.samples.place.get(id));
      if (own !== net || at.some((i) => i === undefined || !this.samples.visible(i))) continue;
      const [a, p, n] = at.map((i) => this.spot(i));
      segment(context, a, p, this.tone.ink, 1.2);
      segment(context, a, n, this.tone.ink, 1.2, [4, 4]);
      cross(context, n[0], n[1], this.tone);
    }
  }

  drawLasso(context) {
    trace(context, this.lasso);
    context.closePath();
    fill(context, this.tone.accent, 0.12);
    stroke(context, this.tone.accent, 1.5, [5, 4]);
  }
}
