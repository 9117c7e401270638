// True distances of one anchor, not those of the map: the positive, the margin band, the nearest negatives.

class Bars extends View {
  constructor(model, el, map) {
    super(model);
    this.map = map;
    this.samples = new Samples(map);
    this.root = make(el, "div", { class: "amkd-bars", "data-lm-suppress-shortcuts": "true" });
    const ask = this.bundle(() => this.draw());
    this.hear("d_ap margin rows title empty", ask);
    this.hear("ids label names palette", ask, map);
    this.draw();
  }

  draw() {
    const rows = this.get("rows"), d_ap = this.get("d_ap"), margin = this.get("margin"), samples = this.samples.read();
    this.root.dataset.rows = rows.length;
    this.root.replaceChildren();
    if (!rows.length) {
      make(this.root, "div", { class: "amkd-note" }, this.get("empty"));
      return;
    }
    const end = Math.max(d_ap + margin, rows[rows.length - 1][1]) * 1.06 || 1;
    this.share = (v) => `${(100 * v) / end}%`;
    make(this.root, "div", { class: "amkd-bars-title" }, this.get("title"));
    const chart = make(this.root, "div", { class: "amkd-chart" });
    const inner = make(make(chart, "div", { class: "amkd-band" }), "div", { title: "Negatives that end before or inside the margin band are active" });
    Object.assign(inner.style, { left: this.share(d_ap), width: this.share(margin) });
    make(inner, "span", {}, `margin ${decimals(margin)}`);
    this.bar(chart, "positive: student", d_ap, "var(--amkd-ink)", "amkd-positive");
    for (const [id, d, active, misleads] of rows) {
      const i = samples.place.get(id);
      if (i === undefined) continue;
      const name = `${shorten(samples.className(samples.label[i]), 12)}, ${samples.word(i)}`;
      const row = this.bar(chart, name, d, samples.colour(i), active ? "" : "amkd-inactive");
      if (misleads) row.querySelector("b").append(" \u00d7");
      row.addEventListener("pointerenter", () => this.map.set("hovered", id));
      row.addEventListener("pointerleave", () => this.map.set("hovered", null));
    }
    const notes = ["Squared distance from the anchor (the teacher's embedding of this sample), at most 4."];
    if (rows.some(([, , active]) => !active)) notes.push("Pale: beyond the margin, no gradient.");
    if (rows.some(([, , , misleads]) => misleads)) notes.push("\u00d7 the map is misleading: it shows this negative on the wrong side of the positive.");
    make(this.root, "div", { class: "amkd-note" }, notes.join(" "));
  }

  bar(chart, name, d, colour, kind) {
    const row = make(chart, "div", { class: `amkd-bar-row ${kind}` });
    make(row, "span", { title: name }, name);
    const track = make(row, "div");
    Object.assign(make(track, "i").style, { width: this.share(d), background: colour });
    make(track, "b", {}, decimals(d)).style.left = this.share(d);
    return row;
  }
}

export default moduleOf(Bars, mapOf);
