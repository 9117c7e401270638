// Gallery and table of samples. They share the map's selection, without the kernel: a lasso there fills the table here, a
// row that is clicked here lights up there.

const GALLERY = 48, ROWS = 150; // at most; more would be slow to lay out
const FIRST = { gallery: 24, rows: 15 }; // visible ones at once, the rest a little later
const SIDE = 34; // pixels of a thumbnail
const LONG = 7, MANY = 10; // letters of a name that a predicted class has no room for; classes whose colours differ at a glance
const COLUMNS = [
  ["sample", (s, i) => s.word(i), (s, i) => s.ids[i]],
  ["class", (s, i) => s.className(s.label[i]), (s, i) => s.label[i]],
  ["teacher", (s, i) => predicted(s, i, 0), (s, i) => s.fact(i, 1), (s, i) => sure(s, i, 0)],
  ["student", (s, i) => predicted(s, i, 2), (s, i) => s.fact(i, 3), (s, i) => sure(s, i, 2)],
  ["d(a, p)", (s, i) => decimals(s.fact(i, 4)), (s, i) => s.fact(i, 4)],
  ["d(a, n)", (s, i) => decimals(s.fact(i, 5)), (s, i) => s.fact(i, 5)],
];
const TIPS = {
  teacher: "The teacher's class and its probability",
  student: "The student's class and its probability",
  "d(a, p)": "Squared distance between the teacher's and the student's embedding of this sample, at most 4",
  "d(a, n)": "Squared distance from the teacher's embedding of this sample to the student's of the nearest sample of another class, at most 4",
};
const predicted = (s, i, at) => (Number.isFinite(s.fact(i, at)) ? s.className(s.fact(i, at)) : "\u2014");
const sure = (s, i, at) => (Number.isFinite(s.fact(i, at)) ? ` \u00b7 ${percent(s.fact(i, at + 1))}` : "");
const classOf = (s, i, n) => (n === 1 ? s.label[i] : s.fact(i, n === 2 ? 0 : 2)); // in column n

class List extends View {
  constructor(model, el, map) {
    super(map); // its traits are the map's
    this.samples = new Samples(map);
    this.sort = { column: 4, down: true };
    this.all = !this.get("selection").length;
    this.root = make(el, "div", { class: "amkd-samples", "data-lm-suppress-shortcuts": "true" });
    const bar = make(this.root, "div", { class: "amkd-samples-bar", role: "toolbar", "aria-label": "Samples" });
    this.tabs = [false, true].map((all) => {
      const made = make(bar, "button", { type: "button" });
      made.addEventListener("click", () => ((this.all = all), this.show()));
      return made;
    });
    this.gallery = make(this.root, "div", { class: "amkd-gallery", role: "group", "aria-label": "Pictures" });
    this.scroll = make(this.root, "div", { class: "amkd-scroll" });
    this.note = make(this.root, "div", { class: "amkd-note" });
    const show = this.bundle(() => this.show());
    this.hear("ids label boundary sprites palette names only facts part", this.bundle(() => this.take()));
    this.hear("selection", () => {
      if (this.own && this.all) return this.count(); // what was clicked must not move
      if (!this.own) this.all = !this.get("selection").length;
      show();
    });
    this.hear("picked hovered", () => this.mark());
    this.stops.push(() => clearTimeout(this.later), () => URL.revokeObjectURL(this.source));
    this.take();
  }

  take() {
    this.samples.read();
    const png = this.get("sprites");
    if (png === this.png) return this.show();
    this.png = png;
    URL.revokeObjectURL(this.source);
    this.source = png && png.byteLength ? URL.createObjectURL(new Blob([raw(png)], { type: "image/png" })) : "";
    this.show();
  }

  // Positions of the samples in the order of the table.
  order() {
    const { samples } = this, key = COLUMNS[this.sort.column][2], sign = this.sort.down ? -1 : 1;
    const wanted = this.all
      ? Array.from(samples.ids.keys())
      : this.get("selection").map((id) => samples.place.get(id)).filter((i) => i !== undefined);
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
    const notes = [];
    if (!order.length) notes.push(this.all ? "No sample to list." : "Nothing is selected: drag around samples in the map, or click one.");
    if (order.length > ROWS) notes.push(`The first ${ROWS} of ${order.length.toLocaleString("en")} in this order.`);
    if (this.root.querySelector(".amkd-differs")) notes.push("Bold: the student disagrees with the teacher.");
    this.note.textContent = notes.join(" ");
    Object.assign(this.root.dataset, { rows: Math.min(order.length, ROWS), listed: order.length });
    this.count();
  }

  // Update the tabs and the marks.
  count() {
    const { samples } = this, selection = this.get("selection");
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
    this.brief = this.samples.names.some((name) => name.length > LONG);
    table.classList.toggle("amkd-brief", this.brief);
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
    COLUMNS.forEach(([, text, , after], n) => {
      const cell = make(row, "td"), words = text(samples, i);
      if (n < 1 || n > 3) return cell.append(words);
      const k = classOf(samples, i, n), known = Number.isFinite(k), many = samples.names.length > MANY;
      const short = !after || !this.brief || !known ? words : many ? String(k) : ""; // where the colour says it
      if (known) make(cell, "i").style.background = samples.palette[k % samples.palette.length];
      cell.title = words;
      make(cell, "span", {}, short);
      if (after) make(cell, "b", {}, short ? after(samples, i) : after(samples, i).slice(3));
    });
    const student = samples.fact(i, 2);
    if (Number.isFinite(student) && student !== samples.fact(i, 0)) row.cells[3].className = "amkd-differs";
    this.listen(row, i);
  }

  listen(made, i) {
    const id = this.samples.ids[i];
    for (const [event, value] of [["pointerenter", id], ["pointerleave", null], ["focus", id], ["blur", null]]) {
      made.addEventListener(event, () => this.model.set("hovered", value)); // stays in the page: never saved
    }
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

  // A click selects a row of the list of all samples; in the list of selected ones it picks it, and its triplets are drawn.
  choose(id, add) {
    const old = this.get("selection");
    let next = old;
    if (add) next = old.includes(id) ? old.filter((other) => other !== id) : [...old, id];
    else if (this.all || !old.includes(id)) next = [id];
    this.own = true;
    this.send({ selection: next, picked: next.includes(id) ? id : next[0] ?? null });
    this.own = false;
  }

  mark() {
    if (!this.selected) return;
    const hovered = this.get("hovered"), picked = this.get("picked");
    for (const made of this.root.querySelectorAll("[data-id]")) {
      const id = Number(made.dataset.id);
      made.classList.toggle("amkd-hovered", id === hovered);
      made.classList.toggle("amkd-selected", this.selected.has(id));
      made.classList.toggle("amkd-picked", id === picked);
      if (made.tagName === "TR") made.setAttribute("aria-selected", String(this.selected.has(id)));
    }
  }
}

export default moduleOf(List, mapOf);
