// Gallery and table of samples. The selection is the map's: a lasso there fills the table here, a row here lights up
// there, both without the kernel.

const GALLERY = 48, ROWS = 150; // more would be slow to lay out, and nobody reads them
const FIRST = { gallery: 24, rows: 15 }; // what is in sight comes at once, the rest when nobody waits
const SIDE = 34; // pixels of a thumbnail
const COLUMNS = [
  ["sample", (s, i) => s.word(i), (s, i) => s.ids[i]],
  ["class", (s, i) => s.className(s.label[i]), (s, i) => s.label[i]],
  ["teacher", (s, i) => said(s, i, 0), (s, i) => s.fact(i, 1)],
  ["student", (s, i) => said(s, i, 2), (s, i) => s.fact(i, 3)],
  ["d(a, p)", (s, i) => decimals(s.fact(i, 4)), (s, i) => s.fact(i, 4)],
  ["d(a, n)", (s, i) => decimals(s.fact(i, 5)), (s, i) => s.fact(i, 5)],
];
const TIPS = {
  teacher: "The teacher's class and its probability",
  student: "The student's class and its probability",
  "d(a, p)": "Squared distance of teacher and student on this sample, of 4 at most",
  "d(a, n)": "Squared distance from the teacher on this sample to the student on the nearest sample of another class, of 4 at most",
};
const said = (s, i, at) => (Number.isFinite(s.fact(i, at)) ? `${s.className(s.fact(i, at))} \u00b7 ${percent(s.fact(i, at + 1))}` : "\u2014");

class List {
  constructor(map, el) {
    this.map = map;
    this.samples = new Samples(map);
    this.sort = { column: 4, down: true };
    this.all = !map.get("selection").length;
    this.root = make(el, "div", { class: "amkd-samples", "data-lm-suppress-shortcuts": "true" });
    this.root.amkd = this; // for tests
    const bar = make(this.root, "div", { class: "amkd-samples-bar", role: "toolbar", "aria-label": "Samples" });
    this.tabs = [false, true].map((all) => {
      const made = make(bar, "button", { type: "button" });
      made.addEventListener("click", () => ((this.all = all), this.show()));
      return made;
    });
    this.gallery = make(this.root, "div", { class: "amkd-gallery", role: "group", "aria-label": "Pictures" });
    this.scroll = make(this.root, "div", { class: "amkd-scroll" });
    this.note = make(this.root, "div", { class: "amkd-note" });
    const load = bundled(() => this.take());
    const pick = bundled(() => this.show());
    const hear = (names, react) => {
      const events = names.split(" ").map((n) => `change:${n}`).join(" ");
      map.on(events, react);
      this.stops.push(() => map.off(events, react));
    };
    this.stops = [load.stop, pick.stop];
    hear("ids label boundary sprites palette names only facts part", load);
    hear("selection", () => {
      if (this.own && this.all) return this.count(); // what was clicked must not run away
      if (!this.own) this.all = !map.get("selection").length;
      pick();
    });
    hear("picked", () => this.mark());
    hear("hovered", () => this.mark());
    this.take();
  }

  close() {
    this.stops.forEach((stop) => stop());
    clearTimeout(this.later);
    URL.revokeObjectURL(this.source);
  }

  take() {
    this.samples.read();
    const png = this.map.get("sprites");
    if (png === this.png) return this.show();
    this.png = png;
    URL.revokeObjectURL(this.source);
    this.source = png && png.byteLength ? URL.createObjectURL(new Blob([raw(png)], { type: "image/png" })) : "";
    this.show();
  }

  // Positions in the order in which the table stands.
  order() {
    const { samples } = this, key = COLUMNS[this.sort.column][2], sign = this.sort.down ? -1 : 1;
    const wanted = this.all
      ? Array.from(samples.ids.keys())
      : this.map.get("selection").map((id) => samples.place.get(id)).filter((i) => i !== undefined);
    const value = (i) => (Number.isFinite(key(samples, i)) ? key(samples, i) : Infinity * sign);
    return wanted.filter((i) => samples.visible(i)).sort((a, b) => sign * (value(a) - value(b)) || a - b);
  }

  show() {
    const order = this.order();
    this.gallery.hidden = !this.source;
    const pictures = (from, to) => (this.source ? order.slice(from, to).map((i) => this.picture(i)) : []);
    this.gallery.replaceChildren(...pictures(0, FIRST.gallery));
    const body = this.table(order.slice(0, FIRST.rows));
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      this.gallery.append(...pictures(FIRST.gallery, GALLERY));
      order.slice(FIRST.rows, ROWS).forEach((i) => this.row(body, i));
      this.mark();
    }, 120);
    const told = [];
    if (!order.length) told.push(this.all ? "No sample to list." : "Nothing is selected: drag around samples in the map, or click one.");
    if (order.length > ROWS) told.push(`The first ${ROWS} of ${order.length.toLocaleString("en")} in this order.`);
    if (this.root.querySelector(".amkd-differs")) told.push("In colour: the student disagrees with the teacher.");
    this.note.textContent = told.join(" ");
    this.root.dataset.rows = Math.min(order.length, ROWS);
    this.root.dataset.listed = order.length;
    this.count();
  }

  // The words on the tabs, and which marks are lit.
  count() {
    const { samples } = this, selection = this.map.get("selection");
    const visible = samples.ids.reduce((n, _, i) => n + samples.visible(i), 0);
    this.tabs[0].textContent = `selected ${selection.length.toLocaleString("en")}`;
    this.tabs[1].textContent = `all ${visible.toLocaleString("en")}`;
    this.tabs.forEach((made, n) => made.setAttribute("aria-pressed", String(this.all === (n === 1))));
    this.selected = new Set(selection);
    this.root.dataset.selected = selection.length;
    this.mark();
  }

  picture(i) {
    const made = make(null, "button", { type: "button", "data-id": this.samples.ids[i] });
    made.setAttribute("aria-label", this.samples.lines(i).join(", "));
    made.style.borderBottomColor = this.samples.colour(i);
    made.classList.toggle("amkd-ring", this.samples.boundary[i] === 1);
    const { w, h, columns, x, y } = this.samples.tile(i), scale = SIDE / Math.max(w, h);
    const style = make(made, "i").style; // a window on the one sheet: cheaper than a canvas each
    style.width = `${w * scale}px`;
    style.height = `${h * scale}px`;
    style.backgroundImage = `url(${this.source})`;
    style.backgroundSize = `${columns * w * scale}px auto`;
    style.backgroundPosition = `${-x * w * scale}px ${-y * h * scale}px`;
    this.listen(made, i);
    return made;
  }

  table(order) {
    const table = make(null, "table");
    const head = make(make(table, "thead"), "tr");
    COLUMNS.forEach(([name], n) => {
      const cell = make(head, "th", { scope: "col" });
      const made = make(cell, "button", { type: "button", title: TIPS[name] || `Sort by ${name}` }, name);
      if (n === this.sort.column) {
        cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
        made.textContent += this.sort.down ? " \u25be" : " \u25b4";
      }
      made.addEventListener("click", () => {
        this.sort = { column: n, down: n === this.sort.column ? !this.sort.down : n > 1 };
        this.show();
      });
    });
    const body = make(table, "tbody");
    order.forEach((i) => this.row(body, i));
    this.scroll.replaceChildren(table);
    return body;
  }

  row(body, i) {
    const { samples } = this;
    const row = make(body, "tr", { tabindex: 0, "data-id": samples.ids[i] });
    COLUMNS.forEach(([, text], n) => {
      const cell = make(row, "td");
      if (n === 1) make(cell, "i").style.background = samples.colour(i);
      cell.append(text(samples, i));
    });
    const student = samples.fact(i, 2);
    if (Number.isFinite(student) && student !== samples.fact(i, 0)) row.cells[3].className = "amkd-differs";
    this.listen(row, i);
  }

  listen(made, i) {
    const id = this.samples.ids[i];
    const hover = (value) => () => this.map.set("hovered", value);
    made.addEventListener("pointerenter", hover(id));
    made.addEventListener("pointerleave", hover(null));
    made.addEventListener("focus", hover(id));
    made.addEventListener("blur", hover(null));
    made.addEventListener("click", (event) => this.choose(id, event.shiftKey || event.ctrlKey || event.metaKey));
    if (made.tagName === "TR") {
      made.addEventListener("keydown", (event) => {
        const next = { ArrowDown: made.nextElementSibling, ArrowUp: made.previousElementSibling }[event.key];
        if (next) next.focus();
        else if (event.key === "Enter" || event.key === " ") this.choose(id, event.shiftKey);
        else return;
        event.preventDefault();
      });
    }
  }

  // In the list of all, a row is selected; in the list of what is selected, it is picked: its triplets are drawn.
  choose(id, add) {
    const old = this.map.get("selection");
    let next = old;
    if (add) next = old.includes(id) ? old.filter((other) => other !== id) : [...old, id];
    else if (this.all || !old.includes(id)) next = [id];
    this.own = true;
    this.map.set("selection", next);
    this.map.set("picked", next.includes(id) ? id : next[0] ?? null);
    this.own = false;
    this.map.save_changes();
  }

  mark() {
    if (!this.selected) return;
    const hovered = this.map.get("hovered"), picked = this.map.get("picked");
    for (const made of this.root.querySelectorAll("[data-id]")) {
      const id = Number(made.dataset.id);
      made.classList.toggle("amkd-hovered", id === hovered);
      made.classList.toggle("amkd-selected", this.selected.has(id));
      made.classList.toggle("amkd-picked", id === picked);
      if (made.tagName === "TR") made.setAttribute("aria-selected", String(this.selected.has(id)));
    }
  }
}

async function render({ model, el }) {
  const map = await model.widget_manager.get_model(model.get("map").replace("IPY_MODEL_", ""));
  const list = new List(map, el);
  return () => list.close();
}

export default { render };
