// Earlier runs: headings sort, names open. Sorting happens here, without the kernel.

const COLUMNS = {
  name: ["run", (r) => r.name],
  date: ["date", (r) => new Date(1000 * r.date).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })],
  data: ["data", (r) => r.data],
  method: ["method", (r) => r.method],
  epochs: ["epochs", (r) => (r.epochs[0] === r.epochs[1] ? `${r.epochs[1]}` : `${r.epochs[0]} of ${r.epochs[1]}`)],
  accuracy: ["test accuracy", (r) => (r.accuracy === null ? "\u2014" : `${(100 * r.accuracy).toFixed(1)} %`)],
  state: ["state", (r) => r.state],
};
const NUMBERS = new Set(["date", "epochs", "accuracy"]);

class Runs extends View {
  constructor(model, el) {
    super(model);
    this.root = make(el, "details", { class: "amkd-runs" });
    this.words = make(this.root, "summary");
    this.table = make(make(this.root, "div"), "table", { class: "amkd-table" });
    this.by = "date";
    this.down = true;
    this.hear("rows shown", () => this.draw());
    this.draw();
  }

  sort(name) {
    this.down = name === this.by ? !this.down : NUMBERS.has(name); // numbers: the largest first
    this.by = name;
    this.draw(name);
  }

  draw(focus = "") {
    const rows = [...this.get("rows")], key = (r) => (this.by === "epochs" ? r.epochs[0] : r[this.by]);
    this.root.hidden = !rows.length;
    this.words.textContent = `Earlier runs (${rows.length})`;
    const order = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null); // without a number: last
      return (this.down ? -1 : 1) * (NUMBERS.has(this.by) ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    };
    rows.sort((a, b) => order(key(a), key(b)));
    this.table.replaceChildren();
    const head = make(make(this.table, "thead"), "tr"), body = make(this.table, "tbody");
    for (const [name, [words]] of Object.entries(COLUMNS)) {
      const cell = make(head, "th", { scope: "col" });
      if (name === this.by) cell.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      const button = make(cell, "button", { type: "button" }, `${words}${name === this.by ? (this.down ? " \u2193" : " \u2191") : ""}`);
      button.addEventListener("click", () => this.sort(name));
      if (name === focus) button.focus({ preventScroll: true });
    }
    for (const r of rows) {
      const row = make(body, "tr", r.path === this.get("shown") ? { "aria-current": "true" } : {});
      for (const [name, [, words]] of Object.entries(COLUMNS)) {
        const cell = make(row, "td");
        if (name !== "name") cell.textContent = words(r);
        else make(cell, "button", { type: "button", title: `Open ${r.path}` }, words(r)).addEventListener("click", () => this.send({ chosen: r.path }));
      }
    }
  }
}

export default moduleOf(Runs);
