// Ticks of a numbered axis.

// Round numbers from low to high, about as many as wanted, each with its text.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) {
    found.push([v, (Math.abs(v) < step / 1e6 ? 0 : v).toFixed(digits).replace("-", "\u2212")]);
  }
  return found;
}
