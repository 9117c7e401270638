// What canvases with numbered axes share.

const floats = (view) => new Float32Array(raw(view));

// Round numbers of an axis from low to high, about as many as wanted, with their words.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) {
    found.push([v, (Math.abs(v) < step / 1e6 ? 0 : v).toFixed(digits).replace("-", "\u2212")]);
  }
  return found;
}
