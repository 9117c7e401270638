// A strip of thumbnails: one sheet of pictures, buttons cut from it. One of them is in the tab order; arrows go on.

class Thumbs {
  constructor(model, el) {
    this.model = model;
    this.root = make(el, "div", { class: "amkd-thumbs", "data-lm-suppress-shortcuts": "true" });
    this.turn = [-1, 1].map((by) => {
      const about = { type: "button", class: "jupyter-button", "aria-label": by < 0 ? "Earlier images" : "Later images" };
      const made = make(null, "button", about, by < 0 ? "\u2039" : "\u203a");
      made.addEventListener("click", () => this.page(by));
      return made;
    });
    this.strip = make(null, "div", { class: "amkd-thumbs-strip", role: "listbox", "aria-label": "Images to choose from" });
    this.root.append(this.turn[0], this.strip, this.turn[1]);
    this.stops = [];
    const hear = (name, react) => {
      model.on(`change:${name}`, react);
      this.stops.push(() => model.off(`change:${name}`, react));
    };
    hear("frame", () => this.take());
    for (const name of ["chosen", "second", "uses"]) hear(name, () => this.mark());
    hear("empty", () => this.take());
    this.strip.addEventListener("keydown", (event) => this.key(event));
    this.take();
  }

  close() {
    this.stops.forEach((stop) => stop());
  }

  async take() {
    const frame = this.model.get("frame");
    this.ids = frame.ids || [];
    const had = this.strip.contains(document.activeElement);
    this.turn[0].disabled = !(frame.page > 0);
    this.turn[1].disabled = !(frame.page + 1 < frame.pages);
    this.turn.forEach((made) => { made.hidden = !(frame.pages > 1); });
    if (!this.ids.length) {
      this.strip.replaceChildren(make(null, "div", { class: "amkd-note" }, this.model.get("empty")));
      return;
    }
    const sheet = await createImageBitmap(new Blob([raw(frame.sprites)], { type: "image/png" }));
    if (frame !== this.model.get("frame")) return; // a newer page has come meanwhile
    const [w, h, columns] = frame.tile;
    this.strip.replaceChildren(...this.ids.map((id, i) => {
      const made = make(null, "button", { type: "button", role: "option", tabindex: -1, "data-id": id });
      made.setAttribute("aria-label", `${frame.names[i]}, test ${id}`);
      made.title = `${frame.names[i]}, test ${id}`;
      made.style.setProperty("--amkd-own", frame.colours[i]);
      const canvas = make(made, "canvas", { width: w, height: h });
      canvas.getContext("2d").drawImage(sheet, (i % columns) * w, Math.floor(i / columns) * h, w, h, 0, 0, w, h);
      made.addEventListener("click", (event) => this.choose(i, event.shiftKey, true));
      return made;
    }));
    this.root.dataset.page = frame.page;
    this.root.dataset.count = this.ids.length;
    this.mark();
    if (this.wanted !== undefined) this.choose(this.wanted < 0 ? this.ids.length - 1 : this.wanted, false, true);
    else if (had) this.strip.querySelector("[tabindex='0']").focus({ preventScroll: true });
    this.wanted = undefined;
  }

  mark() {
    const chosen = this.model.get("chosen"), second = this.model.get("second"), uses = this.model.get("uses");
    const at = Math.max(0, this.ids.indexOf(chosen));
    [...this.strip.querySelectorAll("button")].forEach((made, i) => {
      made.setAttribute("aria-selected", String(this.ids[i] === chosen));
      made.dataset.use = this.ids[i] === chosen ? uses[0] : this.ids[i] === second ? uses[1] : "";
      made.tabIndex = i === at ? 0 : -1;
    });
    this.root.dataset.chosen = chosen ?? "";
    this.root.dataset.second = second ?? "";
  }

  choose(i, second, focus = false) {
    this.model.set(second && this.model.get("uses")[1] ? "second" : "chosen", this.ids[i]);
    this.model.save_changes();
    const made = this.strip.children[i];
    if (focus) made.focus({ preventScroll: true });
  }

  page(by, wanted) {
    const { page, pages } = this.model.get("frame");
    if (page + by < 0 || page + by >= pages) return;
    this.wanted = wanted;
    this.model.set("page", page + by);
    this.model.save_changes();
  }

  key(event) {
    const now = [...this.strip.children].indexOf(document.activeElement), last = this.ids.length - 1;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.across(), ArrowUp: -this.across() }[event.key];
    if (by) {
      const next = now + by;
      if (next >= 0 && next <= last) this.choose(next, false, true);
      else this.page(Math.sign(by), by > 0 ? 0 : -1);
    } else if (event.key === "Home") this.choose(0, false, true);
    else if (event.key === "End") this.choose(last, false, true);
    else if (event.key === "PageDown") this.page(1, 0);
    else if (event.key === "PageUp") this.page(-1, 0);
    else if (event.key === "Enter" || event.key === " ") this.choose(now, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the notebook would go to another cell, or run this one
  }

  // How many thumbnails stand in one row.
  across() {
    const made = [...this.strip.children];
    const second = made.findIndex((m) => m.offsetTop > made[0].offsetTop);
    return second < 0 ? made.length : second;
  }
}

export default {
  render({ model, el }) {
    const thumbs = new Thumbs(model, el);
    return () => thumbs.close();
  },
};
