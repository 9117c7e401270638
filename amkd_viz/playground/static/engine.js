// A training: the exported graphs, and what stands between them: the order of the points and the random draws.

const PROBLEM = JSON.parse(document.getElementById("problem").textContent);
const bytes = (text) => Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const K = PROBLEM.classes.length, IMAGES = PROBLEM.shape.length === 3, WIDTH = PROBLEM.shape.reduce((a, b) => a * b); // numbers of one input
const inputs = (text) => (IMAGES ? Float32Array.from(bytes(text), (v) => v / 255) : floats(text));

async function unpacked(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// ONNX Runtime, one thread: a page from a file has no shared memory.
async function openRuntime() {
  for (const name of ["WebAssembly", "DecompressionStream"]) {
    if (!(name in window)) throw new Error(`This browser has no ${name}, which the training needs; open the page in a recent one.`);
  }
  const take = (id) => {
    const element = document.getElementById(id), text = element.textContent;
    element.remove();
    return unpacked(text);
  };
  const url = URL.createObjectURL(new Blob([await take("module")], { type: "text/javascript" }));
  const ort = await import(url);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = (await take("wasm")).buffer;
  ort.env.logLevel = "error";
  return ort;
}

// Draws in [0, 1) that depend on the words alone: mulberry32, seeded by FNV-1a.
function random(...words) {
  let state = 2166136261;
  for (const c of words.join(" ")) state = Math.imul(state ^ c.charCodeAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(values, draw) {
  const made = [...values];
  for (let i = made.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [made[i], made[j]] = [made[j], made[i]];
  }
  return made;
}

// What a person may change while it trains; every change is written down, so that a link repeats it.
const TERMS = [...new Set(Object.values(PROBLEM.methods).flatMap((method) => method.terms))];
const RANGES = { step_size: [0.001, 10], rate: [0, 10], ...Object.fromEntries(TERMS.map((term) => [term, [0, 100]])) };

function checked(key, value) {
  if (key === "method") {
    if (!Object.hasOwn(PROBLEM.methods, value)) throw new Error(`The method must be one of ${Object.keys(PROBLEM.methods).join(", ")}, got ${value}.`);
    return value;
  }
  const range = RANGES[key];
  if (!range) throw new Error(`There is no setting ${key}; settings are method, ${Object.keys(RANGES).join(", ")}.`);
  const number = typeof value === "number" ? value : parseFloat(value);
  if (!(number >= range[0] && number <= range[1])) throw new Error(`${key} must be between ${range[0]} and ${range[1]}, got ${value}.`);
  return number;
}

class Training {
  constructor(ort) {
    this.ort = ort;
    this.sessions = new Map();
    this.seed = PROBLEM.start.seed;
    this.labels = PROBLEM.start.labels;
    this.own = []; // [x, y, class] of points that a person has drawn
    this.log = []; // [step, setting, value]
    this.train = { x: inputs(PROBLEM.train.x), y: PROBLEM.train.y };
    this.test = { x: inputs(PROBLEM.test.x), y: PROBLEM.test.y };
    this.teacher = floats(PROBLEM.teacher);
    this.restart();
  }

  restart() {
    this.theta = floats(PROBLEM.seeds[this.seed].theta);
    this.momentum = new Float32Array(PROBLEM.parameters);
    this.step = 0;
    this.now = Object.fromEntries(["method", ...Object.keys(RANGES)].map((key) => [key, PROBLEM.start[key]]));
    this.apply();
    this.terms = {};
    this.samples = null;
    this.last = null;
    this.history = [];
    this.ofRun = false;
  }

  // The student of the run that the page was made from.
  takeRun() {
    this.theta = floats(PROBLEM.run.theta);
    this.step = this.steps;
    this.ofRun = true;
  }

  get batches() { return PROBLEM.rates[this.labels].batches; }
  get steps() { return PROBLEM.epochs * this.batches; }
  get epoch() { return Math.min(Math.floor(this.step / this.batches), PROBLEM.epochs - 1); }
  get method() { return PROBLEM.methods[this.now.method]; }
  get labelled() { return PROBLEM.seeds[this.seed].order.slice(0, this.labels); }

  change(key, value) {
    value = checked(key, value);
    this.log = this.log.filter(([step, other]) => step < this.step || (step === this.step && other !== key));
    this.log.push([this.step, key, value]);
    this.now[key] = value;
  }

  // Make the changes that were written down for this step.
  apply() {
    for (const [step, key, value] of this.log) if (step === this.step) this.now[key] = value;
  }

  // Weight of each term of the method now: its schedule times its slider.
  weights() {
    const row = this.method.weights[this.epoch];
    return Object.fromEntries(this.method.terms.map((term, i) => [term, row[i] * this.now[term]]));
  }

  // Inputs (N, ...) and classes of the batch of this step: epochs in an order that depends on seed and epoch alone.
  batch() {
    const points = [...this.labelled, ...this.own.map((_, i) => -1 - i)];
    const order = shuffled(points, random(this.seed, "order", this.epoch)), size = PROBLEM.batch;
    const from = (this.step % this.batches) * size, x = new Float32Array(WIDTH * size), y = new Array(size);
    const draw = random(this.seed, "crop", this.step);
    for (let i = 0; i < size; i++) { // with fewer points than a batch holds, they are repeated
      const at = order[(from + i) % order.length];
      x.set(at < 0 ? this.own[-1 - at].slice(0, 2) : augmented(nth(this.train.x, at), draw), WIDTH * i);
      y[i] = at < 0 ? this.own[-1 - at][2] : this.train.y[at];
    }
    return { x, y };
  }

  // Everything that the next step takes beside the nets.
  next() {
    const draw = random(this.seed, "step", this.step), waits = new Float32Array(PROBLEM.limit * K);
    for (let i = 0; i < waits.length; i++) waits[i] = -Math.log(1 - draw());
    const rate = PROBLEM.rates[this.labels].rate[Math.min(this.step, this.steps - 1)] * this.now.rate;
    return { ...this.batch(), waits, weights: this.weights(), step_size: this.now.step_size, rate };
  }

  async session(name, graph) {
    if (!this.sessions.has(name)) this.sessions.set(name, await this.ort.InferenceSession.create(await unpacked(graph)));
    return this.sessions.get(name);
  }

  tensor(values, shape = [values.length]) {
    return new this.ort.Tensor("float32", values instanceof Float32Array ? values : Float32Array.from(values), shape);
  }

  whole(values) {
    return new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), [values.length]);
  }

  // One training step, by the smallest graph that has all terms with a weight: the attack runs only where it is needed.
  async advance(given = {}) {
    const inputs = { ...this.next(), ...given }, live = Object.keys(inputs.weights).filter((term) => inputs.weights[term]);
    const others = Object.entries(PROBLEM.methods).filter(([name]) => PROBLEM.shared.includes(name));
    const fits = ([, { graph, terms }]) => graph && live.every((term) => terms.includes(term));
    const smaller = others.filter(([, { terms }]) => terms.length < this.method.terms.length);
    const [name, method] = [...smaller, [this.now.method, this.method], ...others].find(fits);
    const session = await this.session(name, method.graph);
    if (PROBLEM.rates[this.labels].anew.includes(this.step)) this.momentum = new Float32Array(PROBLEM.parameters);
    const feeds = {
      teacher: this.tensor(this.teacher),
      theta: this.tensor(this.theta),
      momentum: this.tensor(this.momentum),
      x: this.tensor(inputs.x, [PROBLEM.batch, ...PROBLEM.shape]),
      y: this.whole(inputs.y),
      waits: this.tensor(inputs.waits, [PROBLEM.limit, K]),
      weights: this.tensor(method.terms.map((term) => inputs.weights[term] || 0)),
      step_size: this.tensor([inputs.step_size], []),
      rate: this.tensor([inputs.rate], []),
    };
    const made = await session.run(Object.fromEntries(session.inputNames.map((input) => [input, feeds[input]])));
    if (!made.new_theta.data.every(Number.isFinite)) throw new Error("The training has diverged; lower the learning rate or the weights, and start again.");
    this.theta = made.new_theta.data;
    this.momentum = made.new_momentum.data;
    const terms = made.terms.data;
    this.terms = Object.fromEntries(method.terms.map((term, i) => [term, terms[i]]).filter(([term]) => live.includes(term)));
    this.samples = made.samples ? { x: made.samples.data, rows: [...made.rows.data].map(Number), count: Number(made.count.data[0]) } : null;
    this.last = inputs;
    this.step += 1;
    this.history.push({ step: this.step, terms: this.terms });
    this.apply();
  }

  async logits(net, x) {
    const session = await this.session(`${net} logits`, PROBLEM.graphs[net]);
    const theta = net === "teacher" ? this.teacher : this.theta;
    return (await session.run({ theta: this.tensor(theta), x: this.tensor(x, [x.length / WIDTH, ...PROBLEM.shape]) })).logits.data;
  }

  // Share of test points on which the student is right, and on which it agrees with the teacher.
  async evaluate() {
    const student = winners(await this.logits("student", this.test.x));
    this.byTeacher ??= winners(await this.logits("teacher", this.test.x));
    const share = (others) => student.reduce((sum, k, i) => sum + (k === others[i]), 0) / student.length;
    this.predicted = student;
    this.accuracy = share(this.test.y);
    this.agreement = share(this.byTeacher);
    if (this.history.at(-1)?.step !== this.step) this.history.push({ step: this.step, terms: {} });
    Object.assign(this.history.at(-1), { accuracy: this.accuracy, agreement: this.agreement });
  }

  // The attack on one input, towards the likeliest other class or the one that is asked for.
  async walk(net, point, wanted = null) {
    const x = Float32Array.from(point), scores = [...await this.logits(net, x)], base = scores.indexOf(Math.max(...scores));
    const others = scores.map((_, k) => k).filter((k) => k !== base).sort((a, b) => scores[b] - scores[a]);
    const target = wanted !== null && wanted !== base ? wanted : others[0];
    const session = await this.session(`${net} walk`, PROBLEM.graphs.walk[net]);
    const theta = this.tensor(net === "teacher" ? this.teacher : this.theta);
    const path = [[...point]], fixed = { theta, target: this.whole([target]), step_size: this.tensor([this.now.step_size], []) };
    let crossed = false;
    while (!crossed && path.length <= PROBLEM.attack_steps) {
      const made = await session.run({ ...fixed, x: this.tensor(path.at(-1), [1, ...PROBLEM.shape]) });
      path.push([...made.new_x.data]);
      crossed = Number(made.status.data[0]) !== 0;
    }
    const iterates = Float32Array.from(path.flat()), classes = winners(await this.logits(net, iterates)), probabilities = {};
    if (IMAGES) for (const own of ["teacher", "student"]) probabilities[own] = softmax(await this.logits(own, iterates));
    return { base, target, steps: path.length - 1, path, classes, crossed, probabilities };
  }
}

const nth = (x, i) => x.subarray(WIDTH * i, WIDTH * (i + 1));

// An image after a random crop, padded with black, and mirroring, as the recipe's; a point as it is.
function augmented(x, draw) {
  const { pad, flip } = PROBLEM.augment;
  if (!pad && !flip) return x;
  const [channels, high, wide] = PROBLEM.shape, made = new Float32Array(x.length), any = () => Math.floor(draw() * (2 * pad + 1)) - pad;
  const down = any(), right = any(), mirrored = flip && draw() < 0.5;
  for (let c = 0; c < channels; c++) for (let i = 0; i < high; i++) for (let j = 0; j < wide; j++) {
    const row = i + down, column = (mirrored ? wide - 1 - j : j) + right;
    if (row >= 0 && row < high && column >= 0 && column < wide) made[(c * high + i) * wide + j] = x[(c * high + row) * wide + column];
  }
  return made;
}

function winners(logits) {
  const found = new Array(logits.length / K);
  for (let i = 0; i < found.length; i++) {
    let best = 0;
    for (let k = 1; k < K; k++) if (logits[i * K + k] > logits[i * K + best]) best = k;
    found[i] = best;
  }
  return found;
}

// Probabilities of each row.
function softmax(logits) {
  return Array.from({ length: logits.length / K }, (_, i) => {
    const row = [...logits.slice(i * K, (i + 1) * K)], most = Math.max(...row), shares = row.map((z) => Math.exp(z - most)), sum = shares.reduce((a, b) => a + b);
    return shares.map((share) => share / sum);
  });
}

// Largest probability of each row.
function confidences(logits, winner) {
  return winner.map((k, i) => {
    let sum = 0;
    for (let j = 0; j < K; j++) sum += Math.exp(logits[i * K + j] - logits[i * K + k]);
    return 1 / sum;
  });
}
