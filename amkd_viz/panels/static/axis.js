// Ticks of a numbered axis.

// Round numbers from low to high, about as many as wanted and at least two, each with its text.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const inside = (s) => Math.floor(high / s + 1e-9) - Math.ceil(low / s - 1e-9);
  let at = [1, 2, 5, 10].findIndex((m) => m * power >= rough);
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10].map((m) => m * power);
  for (at += 3; at > 0 && inside(steps[at]) < 1;) at--;
  const step = steps[at];
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) {
    found.push([v, (Math.abs(v) < step / 1e6 ? 0 : v).toFixed(digits).replace("-", "\u2212")]);
  }
  return found;
}
