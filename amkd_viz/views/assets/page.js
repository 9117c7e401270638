// The theme of a page: the reader's system decides until the button is pressed.
const root = document.documentElement, button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const shown = () => (root.dataset.theme === "auto" ? (system.matches ? "dark" : "light") : root.dataset.theme);

function themed() {
  root.dataset.shown = shown();
  button.textContent = shown() === "dark" ? "Light" : "Dark";
}
themed();
const repaint = drawFigures(".plot", () => shown() === "dark", () => { root.dataset.ready = shown(); });
const change = () => { themed(); repaint(); };
button.onclick = () => { root.dataset.theme = shown() === "dark" ? "light" : "dark"; change(); };
system.addEventListener("change", change);
const scrolls = ({ target }) => target.toggleAttribute("data-scrolls", target.scrollWidth > target.clientWidth + 1);
const cards = new ResizeObserver((entries) => entries.forEach(scrolls));
document.querySelectorAll(".card").forEach((card) => cards.observe(card));
