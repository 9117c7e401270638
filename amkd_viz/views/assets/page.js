// Figures are stored in the light theme; dark is the same text with each light colour told for its dark twin.
const root = document.documentElement, button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const plots = [...document.querySelectorAll(".plot")].map(div => ({div, text: div.nextElementSibling.textContent}));
const config = {displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};

function shown() {
  const wanted = root.dataset.theme;
  return wanted === "auto" ? (system.matches ? "dark" : "light") : wanted;
}
function size(layout, width) {
  const {aspect, extra, high} = layout.meta || {};
  const height = aspect ? Math.min(high, width * aspect + extra) : layout.height || 420;
  return {width, height, autosize: false};
}
function draw({div, text}) {
  if (shown() === "dark")
    for (const key in THEMES[0]) text = text.replaceAll(THEMES[0][key], THEMES[1][key]);
  const spec = JSON.parse(text);
  Object.assign(spec.layout, size(spec.layout, div.clientWidth));
  div.dataset.width = div.clientWidth;
  return Plotly.react(div, spec.data, spec.layout, config).then(() => spec.frames && Plotly.addFrames(div, spec.frames));
}
let last = Promise.resolve(); // one drawing at a time: plotly does not like to be asked again while it draws
function paint(which = plots) {
  root.dataset.shown = shown();
  button.textContent = shown() === "dark" ? "Light" : "Dark";
  last = last.then(() => Promise.all(which.map(draw))).then(() => { root.dataset.ready = shown(); });
  return last;
}
button.onclick = () => { root.dataset.theme = shown() === "dark" ? "light" : "dark"; paint(); };
system.addEventListener("change", () => paint());
const watch = new ResizeObserver(() => {
  const stale = plots.filter(({div}) => div.clientWidth > 60 && +div.dataset.width !== div.clientWidth);
  if (stale.length) paint(stale);
});
paint().then(() => plots.forEach(({div}) => watch.observe(div)));
