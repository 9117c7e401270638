// Points on the unit circle: the squared distance of two is their chord squared, 2 - 2 cos of the angle between them.
const SIDE = 320, MIDDLE = SIDE / 2, RADIUS = 118, STEP = Math.PI / 90;
const NS = "http://www.w3.org/2000/svg";
const NAMES = ["a", "p"];

const distance = (u, v) => 2 - 2 * Math.cos(u - v);
const at = (angle, r = RADIUS) => [MIDDLE + r * Math.cos(angle), MIDDLE - r * Math.sin(angle)];

function loss(angles, margin) {
  const [a, p, ...negatives] = angles;
  const brackets = negatives.map((n) => distance(a, p) - distance(a, n) + margin);
  const active = brackets.map((b) => b > 0);
  // slopes by the angles of p and of each negative; the anchor is the teacher's and has no gradient
  const share = active.filter(Boolean).length / negatives.length;
  const slopes = [0, share * 2 * Math.sin(p - a), ...negatives.map((n, i) => (active[i] ? -2 * Math.sin(n - a) : 0) / negatives.length)];
  return { value: brackets.reduce((sum, b) => sum + Math.max(0, b), 0) / negatives.length, active, slopes };
}

function element(parent, tag, about, text = "") {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(about)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function render({ model, el }) {
  const svg = element(el, "svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, width: SIDE, height: SIDE, class: "amkd-circle" });
  const words = document.createElement("div");
  words.setAttribute("aria-live", "polite");
  el.appendChild(words);
  let held = -1;

  const name = (i) => NAMES[i] ?? `n${i - 1}`;
  const move = (i, angle) => {
    const angles = [...model.get("angles")];
    angles[i] = Math.atan2(Math.sin(angle), Math.cos(angle));
    model.set("angles", angles);
    model.save_changes();
  };

  function draw(focus = -1) {
    const angles = model.get("angles"), margin = model.get("margin"), found = loss(angles, margin);
    svg.replaceChildren();
    const defs = element(svg, "defs", {});
    const head = element(defs, "marker", { id: "amkd-tip", markerWidth: 8, markerHeight: 8, refX: 4, refY: 3, orient: "auto" });
    element(head, "path", { d: "M0,0 L6,3 L0,6 z", fill: "#b3541e" });
    element(svg, "circle", { cx: MIDDLE, cy: MIDDLE, r: RADIUS, fill: "none", stroke: "#9aa1ad" });
    const bound = distance(angles[0], angles[1]) + margin; // a negative nearer than this is active
    if (bound < 4) {
      const half = Math.acos(1 - bound / 2), [x0, y0] = at(angles[0] - half), [x1, y1] = at(angles[0] + half);
      const d = `M${x0},${y0} A${RADIUS},${RADIUS} 0 ${half > Math.PI / 2 ? 1 : 0} 0 ${x1},${y1}`;
      element(svg, "path", { d, fill: "none", stroke: "#b3541e", "stroke-width": 5, opacity: 0.35, class: "band" });
    } else element(svg, "circle", { cx: MIDDLE, cy: MIDDLE, r: RADIUS, fill: "none", stroke: "#b3541e", "stroke-width": 5, opacity: 0.35, class: "band" });
    angles.forEach((angle, i) => {
      const [x, y] = at(angle), on = i < 2 || found.active[i - 2];
      const colour = i === 0 ? "#1f2430" : i === 1 ? "#2b62c4" : on ? "#b3541e" : "#6b7280";
      if (found.slopes[i]) {
        const turn = -found.slopes[i] * 0.35, [tx, ty] = at(angle + turn, RADIUS + 18), [sx, sy] = at(angle, RADIUS + 18);
        element(svg, "path", { d: `M${sx},${sy} L${tx},${ty}`, stroke: "#b3541e", "stroke-width": 2, "marker-end": "url(#amkd-tip)", class: "gradient" });
      }
      const about = { tabindex: 0, role: "slider", "aria-label": name(i), "aria-valuenow": angle.toFixed(2), "data-i": i, "data-active": on };
      const group = element(svg, "g", about);
      element(group, "circle", { cx: x, cy: y, r: 9, fill: colour, stroke: "#fefefe", "stroke-width": 2, style: "cursor:grab" });
      // a and p outside, n1, n2, ... inside and one pair deeper than the next: real distances lie close together
      const [lx, ly] = at(angle, i < 2 ? RADIUS + 34 : RADIUS - 22 - 16 * ((i >> 1) % 2));
      element(group, "text", { x: lx, y: ly + 4, "text-anchor": "middle", "font-size": 13, fill: "currentColor" }, name(i));
      group.addEventListener("pointerdown", (event) => {
        held = i;
        svg.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      group.addEventListener("keydown", (event) => {
        const turn = { ArrowLeft: STEP, ArrowUp: STEP, ArrowRight: -STEP, ArrowDown: -STEP }[event.key];
        if (!turn) return;
        event.preventDefault();
        event.stopPropagation();
        move(i, angle + turn);
        svg.querySelector(`[data-i="${i}"]`).focus();
      });
    });
    const [a, p, ...negatives] = angles;
    const far = negatives.map((n, i) => `d(a, n${i + 1}) = ${distance(a, n).toFixed(2)}${found.active[i] ? " active" : ""}`);
    words.textContent = `${model.get("words")} d(a, p) = ${distance(a, p).toFixed(2)}; ${far.join("; ")}. Loss ${found.value.toFixed(3)}.`;
    words.dataset.loss = found.value;
    if (focus >= 0) svg.querySelector(`[data-i="${focus}"]`).focus();
  }

  svg.addEventListener("pointermove", (event) => {
    if (held < 0) return;
    const box = svg.getBoundingClientRect();
    move(held, Math.atan2(box.top + box.height / 2 - event.clientY, event.clientX - box.left - box.width / 2));
  });
  svg.addEventListener("pointerup", () => (held = -1));
  const react = () => draw();
  model.on("change:angles change:margin change:words", react);
  draw();
  return () => model.off("change:angles change:margin change:words", react);
}
export default { render };
