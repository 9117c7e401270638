// The site's figures follow its colour scheme; drawFigures is the library's own (views/assets/figures.js).
{
  const repaint = drawFigures(".amkd-plot", () => document.body.dataset.mdColorScheme === "slate");
  new MutationObserver(repaint).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
}
