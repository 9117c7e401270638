// Draws the figures of a page. Each is stored in the light theme; dark is the same text with each light colour replaced
// by its dark counterpart. THEMES (light, dark) and HOVERED, a rule for buttons, come from the page.
function drawFigures(selector, dark, after = () => {}) {
  const plots = [...document.querySelectorAll(selector)].map((div) => ({ div, text: div.nextElementSibling.textContent }));
  document.head.insertAdjacentHTML("beforeend", `<style>${HOVERED}</style>`);
  const config = { displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  function draw({ div, text }) {
    if (dark()) for (const key in THEMES[0]) text = text.replaceAll(THEMES[0][key], THEMES[1][key]);
    const { data, layout, frames } = JSON.parse(text), { aspect, extra, high, least = 0 } = layout.meta || {};
    const width = Math.max(div.clientWidth, least); // on a phone it scrolls in its own box
    const height = aspect ? Math.min(high, width * aspect + extra) : layout.height || 420;
    div.toggleAttribute("data-scrolls", width > div.clientWidth);
    div.style.height = `${height + (width > div.clientWidth ? 14 : 0)}px`; // with the bar
    div.dataset.width = div.clientWidth;
    return Plotly.react(div, data, { ...layout, width, height, autosize: false }, config)
      .then(() => frames && Plotly.addFrames(div, frames));
  }

  let last = Promise.resolve(); // one drawing at a time: Plotly fails when asked again while it draws
  function paint(which = plots) {
    return (last = last.then(() => Promise.all(which.map(draw))).then(after));
  }
  const stale = ({ div }) => div.clientWidth > 60 && +div.dataset.width !== div.clientWidth;
  const watch = new ResizeObserver(() => plots.some(stale) && paint(plots.filter(stale)));
  paint().then(() => plots.forEach(({ div }) => watch.observe(div)));
  return () => paint();
}
