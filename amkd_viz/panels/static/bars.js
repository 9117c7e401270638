// Distances of one anchor as they are, not as the map shows them: the positive, the margin band, the nearest negatives.

const shorten = (text) => (text.length <= 12 ? text : `${text.slice(0, 11)}\u2026`);

class Bars {
  constructor(model, map, el) {
    this.model = model;
    this.map = map;
    this.samples = new Samples(map);
    this.root = make(el, "div", { class: "amkd-bars", "data-lm-suppress-shortcuts": "true" });
    this.ask = bundled(() => this.draw());
    this.stops = [this.ask.stop];
    const hear = (who, events, react) => {
      who.on(events, react);
      this.stops.push(() => who.off(events, react));
    };
    hear(model, "change:d_ap change:margin change:rows change:title change:empty", this.ask);
    hear(map, "change:ids change:label change:names change:palette", this.ask);
    this.draw();
  }

  close() {
    this.stops.forEach((stop) => stop());
  }

  draw() {
    const get = (name) => this.model.get(name);
    const rows = get("rows"), d_ap = get("d_ap"), margin = get("margin"), samples = this.samples.read();
    this.root.dataset.rows = rows.length;
    this.root.replaceChildren();
    if (!rows.length) {
      make(this.root, "div", { class: "amkd-note" }, get("empty"));
      return;
    }
    const end = Math.max(d_ap + margin, rows[rows.length - 1][1]) * 1.06 || 1;
    const share = (v) => `${(100 * v) / end}%`;
    make(this.root, "div", { class: "amkd-bars-title" }, get("title"));
    const chart = make(this.root, "div", { class: "amkd-chart" });
    const band = make(chart, "div", { class: "amkd-band" });
    const inner = make(band, "div", { title: `the margin band: negatives that end in it or before it are active` });
    inner.style.left = share(d_ap);
    inner.style.width = share(margin);
    make(inner, "span", {}, `margin ${decimals(margin)}`);
    this.bar(chart, "positive: student", d_ap, share(d_ap), "var(--amkd-ink)", "amkd-positive");
    let wrong = 0;
    for (const [id, d, active, misleads] of rows) {
      const i = samples.place.get(id);
      if (i === undefined) continue;
      const made = this.bar(chart, `${shorten(samples.className(samples.label[i]))}, ${samples.word(i)}`, d, share(d), samples.colour(i));
      made.classList.toggle("amkd-inactive", !active);
      if (misleads) made.querySelector("b").append(" \u00d7");
      wrong += misleads;
      made.addEventListener("pointerenter", () => this.map.set("hovered", id));
      made.addEventListener("pointerleave", () => this.map.set("hovered", null));
    }
    const told = ["Squared distance from the anchor, the teacher on this sample; 4 at most."];
    if (rows.some(([, , active]) => !active)) told.push("Pale: beyond the margin, no pull.");
    if (wrong) told.push("\u00d7 the picture misleads here: the map has it on the wrong side of the positive.");
    make(this.root, "div", { class: "amkd-note" }, told.join(" "));
  }

  bar(parent, name, d, width, colour, kind = "") {
    const row = make(parent, "div", { class: `amkd-bar-row ${kind}` });
    make(row, "span", { title: name }, name);
    const track = make(row, "div");
    const bar = make(track, "i");
    bar.style.width = width;
    bar.style.background = colour;
    make(track, "b", {}, decimals(d)).style.left = width;
    return row;
  }
}

async function render({ model, el }) {
  const map = await model.widget_manager.get_model(model.get("map").replace("IPY_MODEL_", ""));
  const bars = new Bars(model, map, el);
  return () => bars.close();
}

export default { render };
