// A strip of thumbnails, cut from one sheet. One of them is in the tab order; arrow keys go on from there.

class Thumbs extends View {
  constructor(model, el) {
    super(model);
    this.root = make(el, "div", { class: "amkd-thumbs", "data-lm-suppress-shortcuts": "true" });
    const turn = (label, sign) => make(this.root, "button", { type: "button", class: "jupyter-button", "aria-label": label }, sign);
    const back = turn("Earlier images", "\u2039");
    this.strip = make(this.root, "div", { class: "amkd-thumbs-strip", role: "listbox", "aria-label": "Images to choose from" });
    this.turn = [back, turn("Later images", "\u203a")];
    this.turn.forEach((made, n) => made.addEventListener("click", () => this.page(n ? 1 : -1)));
    this.hear("frame empty", () => this.take());
    this.hear("chosen second uses", () => this.mark());
    this.strip.addEventListener("keydown", (event) => this.key(event));
    this.take();
  }

  async take() {
    const frame = this.get("frame");
    this.ids = frame.ids || [];
    const had = this.strip.contains(document.activeElement);
    this.turn[0].disabled = !(frame.page > 0);
    this.turn[1].disabled = !(frame.page + 1 < frame.pages);
    this.turn.forEach((made) => { made.hidden = !(frame.pages > 1); });
    if (!this.ids.length) {
      this.strip.replaceChildren(make(null, "div", { class: "amkd-note" }, this.get("empty")));
      return;
    }
    const sheet = await createImageBitmap(new Blob([raw(frame.sprites)], { type: "image/png" }));
    if (frame !== this.get("frame")) return; // a newer page has come meanwhile
    const [w, h, columns] = frame.tile;
    this.strip.replaceChildren(...this.ids.map((id, i) => {
      const made = make(null, "button", { type: "button", role: "option", tabindex: -1, "data-id": id });
      made.title = made.ariaLabel = `${frame.names[i]}, test ${id}`;
      made.style.setProperty("--amkd-own", frame.colours[i]);
      const canvas = make(made, "canvas", { width: w, height: h });
      canvas.getContext("2d").drawImage(sheet, (i % columns) * w, Math.floor(i / columns) * h, w, h, 0, 0, w, h);
      made.addEventListener("click", (event) => this.choose(i, event.shiftKey, true));
      return made;
    }));
    Object.assign(this.root.dataset, { page: frame.page, count: this.ids.length });
    this.mark();
    if (this.wanted !== undefined) this.choose(this.wanted < 0 ? this.ids.length - 1 : this.wanted, false, true);
    else if (had) this.strip.querySelector("[tabindex='0']").focus({ preventScroll: true });
    this.wanted = undefined;
  }

  mark() {
    const chosen = this.get("chosen"), second = this.get("second"), uses = this.get("uses");
    const at = Math.max(0, this.ids.indexOf(chosen));
    [...this.strip.querySelectorAll("button")].forEach((made, i) => {
      made.setAttribute("aria-selected", String(this.ids[i] === chosen));
      made.dataset.use = this.ids[i] === chosen ? uses[0] : this.ids[i] === second ? uses[1] : "";
      made.tabIndex = i === at ? 0 : -1;
    });
    Object.assign(this.root.dataset, { chosen: chosen ?? "", second: second ?? "" });
  }

  choose(i, second, focus = false) {
    this.send({ [second && this.get("uses")[1] ? "second" : "chosen"]: this.ids[i] });
    if (focus) this.strip.children[i].focus({ preventScroll: true });
  }

  page(by, wanted) {
    const { page, pages } = this.get("frame");
    if (page + by < 0 || page + by >= pages) return;
    this.wanted = wanted;
    this.send({ page: page + by });
  }

  key(event) {
    const now = [...this.strip.children].indexOf(document.activeElement), last = this.ids.length - 1;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.across(), ArrowUp: -this.across() }[event.key];
    if (by && now + by >= 0 && now + by <= last) this.choose(now + by, false, true);
    else if (by) this.page(Math.sign(by), by > 0 ? 0 : -1);
    else if (event.key === "Home") this.choose(0, false, true);
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

export default moduleOf(Thumbs);
