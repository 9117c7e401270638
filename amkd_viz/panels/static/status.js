// The line that says in words what is happening, for eyes and for screen readers. It also tells the kernel which theme
// is on, and gives the sliders of its panel the names that a screen reader needs.

function name(root) {
  for (const box of root.querySelectorAll(".jupyter-widgets")) {
    const label = box.querySelector(":scope > .widget-label");
    if (!label || !label.textContent.replace(/[\s\u200b]/g, "")) continue; // a checkbox has its words elsewhere
    for (const part of box.querySelectorAll(".noUi-handle, select, input")) {
      part.setAttribute("aria-label", label.textContent);
    }
  }
}

function render({ model, el }) {
  el.classList.add("amkd-status");
  const words = el.appendChild(document.createElement("span"));
  words.setAttribute("role", "status");
  words.setAttribute("aria-live", "polite");
  const bar = el.appendChild(document.createElement("progress"));
  bar.max = 1;
  const cancel = el.appendChild(document.createElement("button"));
  cancel.textContent = "Cancel";
  cancel.className = "jupyter-button";
  cancel.addEventListener("click", () => {
    model.set("cancelled", model.get("cancelled") + 1);
    model.save_changes();
  });

  const show = () => {
    words.textContent = model.get("text");
    el.dataset.kind = model.get("kind");
    const share = model.get("share");
    bar.hidden = model.get("kind") !== "busy";
    if (share >= 0) bar.value = share;
    else bar.removeAttribute("value");
    cancel.hidden = !(model.get("kind") === "busy" && model.get("cancellable"));
  };
  const theme = () => {
    const now = document.body.dataset.jpThemeLight === "false" ? "dark" : "light";
    el.closest(".amkd-panel")?.setAttribute("data-theme", now);
    if (model.get("theme") !== now) {
      model.set("theme", now);
      model.save_changes();
    }
  };
  model.on("change:text change:kind change:share change:cancellable", show);
  const themes = new MutationObserver(theme);
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  show();
  let naming;
  const labels = new MutationObserver(() => {
    clearTimeout(naming);
    naming = setTimeout(() => name(el.closest(".amkd-panel") || el), 200);
  });
  requestAnimationFrame(() => {
    theme();
    const panel = el.closest(".amkd-panel");
    if (!panel) return;
    name(panel);
    for (const group of panel.querySelectorAll(".amkd-controls")) labels.observe(group, { childList: true, subtree: true });
  });
  return () => {
    themes.disconnect();
    labels.disconnect();
    clearTimeout(naming);
    model.off("change:text change:kind change:share change:cancellable", show);
  };
}

export default { render };
