// Figures in the site's scheme: stored in the light theme, dark is the same text with each colour told for its twin.
(() => {
  const config = {displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};
  const plots = [...document.querySelectorAll(".amkd-plot")].map(div => ({div, text: div.nextElementSibling.textContent}));
  const dark = () => document.body.dataset.mdColorScheme === "slate";

  function draw({div, text}) {
    if (dark()) for (const key in THEMES[0]) text = text.replaceAll(THEMES[0][key], THEMES[1][key]);
    const {data, layout, frames} = JSON.parse(text), {aspect, extra, high} = layout.meta || {};
    const width = div.clientWidth, height = aspect ? Math.min(high, width * aspect + extra) : layout.height || 420;
    div.style.height = `${height}px`;
    div.dataset.width = width;
    return Plotly.react(div, data, {...layout, width, height, autosize: false}, config)
      .then(() => frames && Plotly.addFrames(div, frames));
  }
  let last = Promise.resolve(); // one drawing at a time
  const paint = which => { last = last.then(() => Promise.all(which.map(draw))); };
  paint(plots);
  new MutationObserver(() => paint(plots)).observe(document.body, {attributeFilter: ["data-md-color-scheme"]});
  const watch = new ResizeObserver(() => paint(plots.filter(({div}) => div.clientWidth && +div.dataset.width !== div.clientWidth)));
  plots.forEach(({div}) => watch.observe(div));
})();
