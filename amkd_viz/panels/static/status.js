// The status line, for eyes and for screen readers. It also looks after its panel: the theme, the names, help and values of
// controls, the focus, the key of the help, and the notice that the kernel is gone.

const LOST = "The kernel was restarted or shut down: run this cell again.";
const PRESSES = "button, a, select, summary, textarea, input:not([type=range])"; // what takes the space bar itself
const LOOK = 1000; // milliseconds between two looks at the connection: a kernel that dies raises no event

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
    this.hear("copied", () => this.get("copied") && this.copy(this.get("copied")));
    this.stops.push(onTheme(() => this.theme()), () => clearTimeout(this.naming));
    const looking = setInterval(() => (this.connection(), namePlayers(el.closest(".amkd-panel"))), LOOK);
    this.stops.push(() => clearInterval(looking));
    this.show();
    requestAnimationFrame(() => {
      this.theme();
      const panel = el.closest(".amkd-panel");
      if (!panel) return;
      const name = () => (nameControls(panel, this.get("helps"), this.get("names")), nameFolds(panel));
      name();
      const later = () => {
        clearTimeout(this.naming);
        this.naming = setTimeout(name, 200);
      };
      const labels = new MutationObserver(later), attributeFilter = ["aria-valuenow"];
      for (const group of panel.querySelectorAll(".amkd-controls")) {
        labels.observe(group, { childList: true, subtree: true, attributeFilter });
      }
      this.stops.push(() => labels.disconnect(), keepFocus(panel), arrange(this, panel), coach(this, panel));
      panel.tabIndex = -1; // a click on a picture gives the panel its keys
      const key = (event) => this.key(event, panel);
      panel.addEventListener("keydown", key);
      const own = (event) => event.target.closest(".amkd-panel") === panel; // not that of a guest
      const copy = (event) => own(event) && event.target.matches(".amkd-copy") && this.copy(event.target.nextElementSibling.textContent);
      panel.addEventListener("click", copy);
      panel.addEventListener("dblclick", (event) => own(event) && this.reset(event.target));
      this.stops.push(() => panel.removeEventListener("keydown", key), () => panel.removeEventListener("click", copy));
      this.stops.push(pictureMenu(panel, (words) => this.tell(words)));
    });
  }

  // A double click on the name of a control.
  reset(target) {
    const box = target.matches(".widget-label") && target.closest("[class*=amkd-control-]");
    const name = box && [...box.classList].find((word) => word.startsWith("amkd-control-"));
    if (name) this.send({ reset: name });
  }

  // Words of the page's own, until the kernel has others.
  tell(words) {
    this.words.textContent = words;
  }

  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.tell("Copied.");
    } catch (error) {
      this.tell(`The clipboard refused (${error.message}): select the text and copy it.`);
    }
  }

  key(event, panel) {
    if (event.key === "Escape" && this.get("present")) this.send({ present: false });
    else if (event.key === "?" && !event.target.matches("input:not([type=range], [type=checkbox]), textarea")) {
      panel.querySelector(".amkd-head button").click(); // the first one is the help
    } else if (event.key === " " && !event.defaultPrevented && !event.target.matches(PRESSES)) this.play(panel);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // The space bar: start, pause or go on; where nothing trains, the player of the epochs or of the steps.
  play(panel) {
    const mine = (rule) => [...panel.querySelectorAll(rule)].find((e) => e.closest(".amkd-panel") === panel && e.getClientRects().length);
    (mine(".amkd-space") || mine(".widget-play button") || mine(".amkd-walk-bar button"))?.click();
  }

  // Without its kernel a panel keeps its place and its pictures, but nothing in it answers.
  connection() {
    const { comm, comm_live } = this.get("layout"); // a model of the page, with the comm to its twin in the kernel
    const lost = !comm_live || Boolean(comm?.jsServicesComm?.isDisposed);
    if (lost === this.lost) return;
    this.lost = lost;
    this.show();
    const panel = this.el.closest(".amkd-panel");
    panel?.classList.toggle("amkd-lost", lost);
    for (const part of panel?.children ?? []) part.inert = lost && !part.contains(this.el);
  }

  show() {
    const kind = this.lost ? "error" : this.get("kind"), busy = kind === "busy", share = this.get("share");
    this.words.textContent = this.lost ? LOST : this.get("text");
    this.el.dataset.kind = kind;
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

// ipywidgets drops the help of menus and checkboxes, and lets a slider on a log scale say its exponent.
function nameControls(panel, helps, names) {
  for (const box of panel.querySelectorAll(".jupyter-widgets")) {
    const label = box.querySelector(":scope > .widget-label");
    if (!label || !label.textContent.replace(/[\s\u200b]/g, "")) continue; // a checkbox has its text elsewhere
    for (const part of box.querySelectorAll(".noUi-handle, select, input")) {
      part.setAttribute("aria-label", label.textContent);
    }
    const value = box.querySelector(".widget-readout")?.textContent;
    if (value) box.querySelector(".noUi-handle")?.setAttribute("aria-valuetext", value);
  }
  for (const [place, name] of Object.entries(names)) {
    for (const part of panel.querySelectorAll(`.${place} :is(.noUi-handle, select, input:not([type=checkbox]))`)) {
      part.setAttribute("aria-label", name);
    }
  }
  for (const [name, help] of Object.entries(helps)) {
    const box = panel.querySelector(`.${name}`);
    if (!box) continue;
    for (const part of [box, ...box.querySelectorAll("[title]")]) part.title = help;
    box.dataset.help = help;
    for (const part of box.querySelectorAll(".noUi-handle, select, input")) part.setAttribute("aria-description", help);
  }
}

// A heading says whether its controls are there.
function nameFolds(panel) {
  for (const opener of panel.querySelectorAll(".amkd-fold > .jupyter-button")) {
    opener.ariaExpanded = String(opener.textContent.startsWith("▾"));
  }
}

// A player has no words of its own, and is drawn when there is something to play.
function namePlayers(panel) {
  for (const player of panel?.querySelectorAll(".widget-play") ?? []) {
    const buttons = [...player.querySelectorAll("button:not([aria-label])")];
    buttons.forEach((button, n) => (button.title = button.ariaLabel = ["Play or pause", "Back to the first", "Repeat"][n]));
  }
}

// A button that is disabled while it has the focus hands it to the next one in its row, else to the one before.
function keepFocus(panel) {
  let last = null;
  const remember = (event) => (last = event.target);
  panel.addEventListener("focusin", remember);
  let waiting = 0;
  const hand = () => {
    if (!last?.disabled || ![last, document.body, null].includes(document.activeElement)) return;
    const row = [...last.parentElement.querySelectorAll("button")], at = row.indexOf(last);
    [...row.slice(at + 1), ...row.slice(0, at).reverse()].find((button) => !button.disabled)?.focus({ preventScroll: true });
  };
  const observer = new MutationObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(hand, 100); // the buttons change one after the other
  });
  observer.observe(panel, { subtree: true, attributeFilter: ["disabled"] });
  return () => {
    clearTimeout(waiting);
    observer.disconnect();
    panel.removeEventListener("focusin", remember);
  };
}

export default moduleOf(Status);
