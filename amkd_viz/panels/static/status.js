// The status line, for eyes and for screen readers. It also sets the theme of its panel, and gives its sliders the names
// that a screen reader needs.

class Status extends View {
  constructor(model, el) {
    super(model);
    this.el = el;
    el.classList.add("amkd-status");
    this.words = make(el, "span", { role: "status", "aria-live": "polite" });
    this.bar = make(el, "progress", { max: 1 });
    this.cancel = make(el, "button", { class: "jupyter-button" }, "Cancel");
    this.cancel.addEventListener("click", () => this.send({ cancelled: this.get("cancelled") + 1 }));
    this.hear("text kind share cancellable", () => this.show());
    this.stops.push(onTheme(() => this.theme()), () => clearTimeout(this.naming));
    this.show();
    requestAnimationFrame(() => {
      this.theme();
      const panel = el.closest(".amkd-panel");
      if (!panel) return;
      nameControls(panel);
      const labels = new MutationObserver(() => {
        clearTimeout(this.naming);
        this.naming = setTimeout(() => nameControls(panel), 200);
      });
      for (const group of panel.querySelectorAll(".amkd-controls")) labels.observe(group, { childList: true, subtree: true });
      this.stops.push(() => labels.disconnect());
    });
  }

  show() {
    const busy = this.get("kind") === "busy", share = this.get("share");
    this.words.textContent = this.get("text");
    this.el.dataset.kind = this.get("kind");
    this.bar.hidden = !busy;
    if (share >= 0) this.bar.value = share;
    else this.bar.removeAttribute("value");
    this.cancel.hidden = !(busy && this.get("cancellable"));
  }

  theme() {
    const now = document.body.dataset.jpThemeLight === "false" ? "dark" : "light";
    this.el.closest(".amkd-panel")?.setAttribute("data-theme", now);
  }
}

function nameControls(panel) {
  for (const box of panel.querySelectorAll(".jupyter-widgets")) {
    const label = box.querySelector(":scope > .widget-label");
    if (!label || !label.textContent.replace(/[\s\u200b]/g, "")) continue; // a checkbox has its text elsewhere
    for (const part of box.querySelectorAll(".noUi-handle, select, input")) {
      part.setAttribute("aria-label", label.textContent);
    }
  }
}

export default moduleOf(Status);
