// Base of all views: they listen to their models until they are closed, and redraw once per frame.

const shorten = (text, most) => (text.length <= most ? text : `${text.slice(0, most - 1)}\u2026`);
const floats = (view) => new Float32Array(raw(view));

class View {
  constructor(model) {
    this.model = model;
    this.stops = [];
  }

  get(name) {
    return this.model.get(name);
  }

  // Set traits, and tell the kernel.
  send(values, model = this.model) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  }

  // Call react when one of these traits changes.
  hear(names, react, model = this.model) {
    const events = names.split(" ").map((name) => `change:${name}`).join(" ");
    model.on(events, react);
    this.stops.push(() => model.off(events, react));
  }

  // A function that calls react in the next frame, however often it is called before.
  bundle(react) {
    const ask = bundled(react);
    this.stops.push(ask.stop);
    return ask;
  }

  resized(element, react) {
    const observer = new ResizeObserver(react);
    observer.observe(element);
    this.stops.push(() => observer.disconnect());
  }

  close() {
    this.stops.forEach((stop) => stop());
  }
}

// The module that shows a model with a class of views; shared: the model of which the view shows a part, if any.
const moduleOf = (Kind, shared = () => null) => ({
  async render({ model, el }) {
    const view = new Kind(model, el, await shared(model));
    return () => view.close();
  },
});

const mapOf = (model) => model.widget_manager.get_model(model.get("map").replace("IPY_MODEL_", ""));
