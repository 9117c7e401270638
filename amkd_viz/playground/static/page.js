// The page: controls, address, keyboard, and window.playground for programs.

const $ = (id) => document.getElementById(id);
const show = (id, text) => { $(id).textContent = text; };
const EVERY = 4; // steps between two evaluations where nothing is drawn
const percent = (share) => `${(100 * share).toFixed(1)} %`;
let training, teacherMap, studentMap, image = IMAGES ? PROBLEM.gallery[0] : null, point = [0, 0], target = null, playing = false, walks = {}, drawn = 0;

// Work in the order in which it is asked for, one at a time.
let chain = Promise.resolve();
function queued(work) {
  const made = chain.then(work);
  chain = made.catch(() => {});
  return made;
}

function fail(error) {
  playing = false;
  $("error").hidden = false;
  show("error", error.message);
  buttons();
}

const calm = () => { $("error").hidden = true; };

// ---- the address

function address() {
  const words = new URLSearchParams({ v: PROBLEM.version, data: PROBLEM.data, seed: training.seed, labels: training.labels, step: training.step });
  if (training.ofRun) words.set("run", 1);
  if (training.log.length) words.set("log", training.log.map((entry) => entry.join(":")).join(";"));
  if (training.own.length) words.set("own", training.own.map((p) => p.map((v, i) => (i < 2 ? +v.toFixed(3) : v)).join(",")).join(";"));
  if (IMAGES) words.set("image", image);
  words.set("point", point.map((v) => +v.toFixed(3)).join(","));
  if (target !== null) words.set("target", target);
  try {
    history.replaceState(null, "", `#${words}`);
  } catch { /* a page in a frame may not change its address */ }
}

// What a link says, as ``set`` takes it.
function fromAddress(text) {
  const words = new URLSearchParams(text.replace(/^#/, ""));
  if (![...words.keys()].length) return null;
  const { seed, labels } = PROBLEM.start, found = { seed, labels, step: 0, log: [], own: [], target: null };
  const number = (word) => (word.trim() === "" ? NaN : Number(word));
  found.version = number(words.get("v") ?? "");
  if (words.has("data")) found.data = words.get("data");
  for (const key of ["seed", "labels", "step", "target", "image"]) if (words.has(key)) found[key] = number(words.get(key));
  if (words.has("run")) found.run = words.get("run") === "1";
  const list = (word) => (word ? word.split(";") : []);
  if (words.has("log")) found.log = list(words.get("log")).map((entry) => entry.split(":")).map(([step, key, value]) => [number(step), key, value]);
  if (words.has("own")) found.own = list(words.get("own")).map((entry) => entry.split(",").map(number));
  if (words.has("point")) found.point = words.get("point").split(",").map(number);
  return found;
}

const whole = (value, low, high) => Number.isInteger(value) && value >= low && value <= high;

// Refuse what the page cannot show, in one sentence, before anything changes.
function check(given) {
  if (given === null || typeof given !== "object") throw new Error(`A state must be an object, got ${given}.`);
  if ("version" in given && given.version !== PROBLEM.version) {
    const what = Number.isNaN(given.version) ? "no version" : `version ${given.version}`;
    throw new Error(`This link has ${what}, but the page reads version ${PROBLEM.version}; make the link again on this page.`);
  }
  if ("data" in given && given.data !== PROBLEM.data) throw new Error(`This link is of ${given.data}, but the page holds ${PROBLEM.data}; open it with the page of ${given.data}.`);
  if (given.run && !PROBLEM.run) throw new Error("This link is of the page of a run, which this page is not; open it with that page.");
  if ("seed" in given && !whole(given.seed, 0, PROBLEM.seeds.length - 1)) throw new Error(`seed must be a whole number from 0 to ${PROBLEM.seeds.length - 1}, got ${given.seed}.`);
  if ("labels" in given && !PROBLEM.labels.includes(given.labels)) throw new Error(`labels must be one of ${PROBLEM.labels.join(", ")}, got ${given.labels}.`);
  const steps = PROBLEM.epochs * PROBLEM.rates[given.labels ?? training.labels].batches;
  if ("step" in given && !whole(given.step, 0, steps)) throw new Error(`step must be a whole number from 0 to ${steps}, got ${given.step}.`);
  if ("target" in given && given.target !== null && !whole(given.target, 0, K - 1)) throw new Error(`target must be a class from 0 to ${K - 1}, got ${given.target}.`);
  if ("image" in given && IMAGES && !whole(given.image, 0, PROBLEM.test.y.length - 1)) throw new Error(`image must be a whole number from 0 to ${PROBLEM.test.y.length - 1}, got ${given.image}.`);
  if (IMAGES && given.own?.length) throw new Error("This page trains on images, and takes no points of your own.");
  const numbers = (values, count) => values?.length === count && [...values].every(Number.isFinite);
  if ("point" in given && !numbers(given.point, 2)) throw new Error(`point must be two numbers, got ${given.point}.`);
  for (const p of given.own ?? []) if (!numbers(p, 3) || !whole(p[2], 0, K - 1)) throw new Error(`A point of your own must be two numbers and a class from 0 to ${K - 1}, got ${p}.`);
  for (const [step, key, value] of given.log ?? []) {
    if (!whole(step, 0, steps)) throw new Error(`A change must be at a step from 0 to ${steps}, got ${step}.`);
    checked(key, value);
  }
  for (const name of ["theta", "momentum"]) if (name in given && !numbers(given[name], training[name].length)) throw new Error(`${name} must be ${training[name].length} numbers.`);
  for (const key of Object.keys(given)) if (key === "method" || key in RANGES) checked(key, given[key]);
}

// ---- what programs use

function state() {
  const { seed, labels, step, steps, epoch, now, log, own, theta, momentum, terms, accuracy, agreement, last } = training;
  return {
    version: PROBLEM.version, data: PROBLEM.data, run: training.ofRun, seed, labels, step, ...now, log, own, image, point, target,
    theta: [...theta], momentum: [...momentum],
    // what follows is computed, and ``set`` leaves it aside
    steps, epoch, playing, terms, accuracy, agreement, weights: training.weights(),
    walks: Object.fromEntries(Object.entries(walks).map(([net, { path, base, target, steps, crossed }]) => [net, { path, base, target, steps, crossed }])),
    samples: edges(),
    decisions: studentMap ? [...studentMap.winner] : [],
    last: last && { ...last, x: [...last.x], waits: [...last.waits] },
  };
}

// Show a state, or change parts of one. A seed, labels, own points, a log or a step start the training anew and repeat
// it up to the step, by the settings that are given, if no log is; ``run`` takes the student of the page's run; ``theta`` and ``momentum`` replace the student; ``next``
// replaces inputs of the next step.
function set(given) {
  return queued(async () => {
    check(given);
    calm();
    const again = ["seed", "labels", "own", "log", "step"].some((key) => key in given);
    const settings = "log" in given ? [] : Object.keys(given).filter((key) => key === "method" || key in RANGES);
    const goal = given.step ?? (again ? 0 : training.step);
    if (again) {
      for (const key of ["seed", "labels"]) if (key in given) training[key] = given[key];
      if ("own" in given) training.own = given.own.map((p) => [...p]);
      const log = [...(given.log ?? training.log.filter(([, key]) => !settings.includes(key))), ...settings.map((key) => [0, key, given[key]])];
      training.log = log.map(([step, key, value]) => [step, key, checked(key, value)]);
      training.restart();
    } else for (const key of settings) training.change(key, given[key]);
    if (given.run) training.takeRun();
    else if ("theta" in given) jump(goal);
    else await repeat(goal);
    for (const name of ["theta", "momentum"]) if (name in given) training[name] = Float32Array.from(given[name]);
    if ("next" in given) training.given = given.next;
    if (IMAGES && "image" in given && given.image !== image) await choose(given.image);
    if ("point" in given) point = [...given.point];
    if ("target" in given) target = given.target;
    await refresh();
    address();
    return state();
  });
}

function jump(goal) {
  while (training.step < goal) {
    training.step += 1;
    training.apply();
  }
}

async function repeat(goal) {
  while (training.step < goal) {
    await training.advance();
    if (training.step % 20 === 0 && training.step < goal) {
      await refresh(); // the page stays alive
      show("at", `Repeating step ${training.step} of ${goal} ...`);
      await new Promise((done) => setTimeout(done));
    } else if (training.step % EVERY === 0) await training.evaluate();
  }
}

async function advance() {
  const given = training.given;
  training.given = undefined;
  await training.advance(given);
}

function step(n = 1) {
  return queued(async () => {
    for (let i = 0; i < n && training.step < training.steps; i++) {
      await advance();
      if (training.step % EVERY === 0) await training.evaluate();
    }
    await refresh();
    address();
    return state();
  });
}

// The class that a net predicts at points [[x, y], ...] or flat images.
function decide(net, points) {
  return queued(async () => winners(await training.logits(net, Float32Array.from(points.flat()))));
}

// ---- pictures

async function refresh() {
  await training.evaluate();
  teacherMap ??= decisionMap(await training.logits("teacher", grid));
  studentMap = decisionMap(await training.logits("student", grid));
  await walk();
  paint();
}

// Lay the maps through a test image and the nearest ones of the two other classes that the teacher finds likeliest.
async function choose(number) {
  const { x, y } = training.test, base = nth(x, number), scores = await training.logits("teacher", base), far = (i) => dot(minus(nth(x, i), base), minus(nth(x, i), base));
  const likely = PROBLEM.classes.map((_, k) => k).filter((k) => k !== y[number]).sort((a, b) => scores[b] - scores[a]).slice(0, 2);
  const nearest = likely.map((k) => y.flatMap((own, i) => (own === k ? [i] : [])).reduce((best, i) => (far(i) < far(best) ? i : best)));
  lay(planeThrough([number, ...nearest].map((i) => nth(x, i)), [number, ...nearest].map((i) => PROBLEM.classes[y[i]])));
  [image, point, teacherMap] = [number, [0, 0], null];
}

// Where a walk begins: the point, or the image at this place of the plane.
const start = () => (IMAGES ? slice.lift(Float32Array.from(point)).map((v) => Math.min(1, Math.max(0, v))) : point);

async function walk() {
  for (const net of ["teacher", "student"]) walks[net] = await training.walk(net, start(), target);
  const most = Math.max(walks.teacher.steps, walks.student.steps), slider = $("iterate"), atEnd = slider.value === slider.max;
  slider.max = Math.max(1, most);
  if (atEnd) slider.value = slider.max;
}

function dots() {
  if (IMAGES) return [];
  const { train, labelled, own } = training, strong = new Set(labelled), found = [];
  train.y.forEach((k, i) => { if (!strong.has(i)) found.push([train.x[2 * i], train.x[2 * i + 1], k, false]); });
  for (const i of labelled) found.push([train.x[2 * i], train.x[2 * i + 1], train.y[i], true]);
  return [...found, ...own.map(([x, y, k]) => [x, y, k, true])];
}

function edges() {
  const { samples, last } = training;
  if (!samples || !last) return [];
  return samples.rows.slice(0, samples.count).map((row, i) => [[...last.x.slice(WIDTH * row, WIDTH * (row + 1))], [...nth(samples.x, i)]]);
}

function paint() {
  const canvas = (name) => document.querySelector(`[data-map="${name}"] canvas`);
  const note = (name, text) => {
    document.querySelector(`[data-map="${name}"] figcaption span`).textContent = text;
    const title = document.querySelector(`[data-map="${name}"] b`).textContent;
    canvas(name).setAttribute("aria-label", `${title}: ${text}. Arrow keys move the point.`);
  };
  const all = dots(), upto = Number($("iterate").value), strong = all.filter((dot) => dot[3]);
  const other = (net, dash) => ({ ...walks[net], dash, upto });
  paintMap(canvas("teacher"), teacherMap.pixels, { dots: all, walks: [other("teacher")], point, pictures: true });
  paintMap(canvas("student"), studentMap.pixels, { dots: strong, samples: IMAGES ? [] : edges(), walks: [other("student")], point });
  const apart = apartMap(teacherMap, studentMap);
  paintMap(canvas("apart"), apart.pixels, { walks: [other("teacher"), other("student", true)], point });
  note("teacher", PROBLEM.nets[0]);
  note("student", `${percent(training.accuracy)} right`);
  note("apart", `on ${percent(apart.share)} of the ${IMAGES ? "valid part" : "map"}`);
  if (IMAGES) pictures(upto);
  curves();
  words();
  buttons();
  document.body.dataset.drawn = ++drawn;
}

// The walks and samples of a page of images, and which images of the gallery the student gets wrong.
function pictures(upto) {
  const figure = (name) => document.querySelector(`[data-strip="${name}"]`), name = (k) => PROBLEM.classes[k], pairs = edges();
  for (const net of ["teacher", "student"]) {
    const own = walks[net], at = Math.min(upto, own.steps), top = own.probabilities[net][at];
    paintWalk(figure(net).querySelector("canvas"), own, net, at, strongest(own));
    figure(net).querySelector("span").textContent = `step ${at}: ${name(own.classes[at])}, ${percent(Math.max(...top))}`;
    figure(net).querySelector("canvas").setAttribute("aria-label", `Walk by the ${net}: ${own.classes.map(name).join(", ")}`);
  }
  paintSamples(figure("samples").querySelector("canvas"), pairs);
  figure("samples").querySelector("span").textContent = pairs.length ? `${pairs.length} of the last step` : "none in the last step";
  figure("samples").querySelector("canvas").hidden = !pairs.length;
  const shown = [...new Set(["teacher", "student"].flatMap((net) => strongest(walks[net])))].sort((a, b) => a - b);
  key($("classes"), shown.map((k) => [PROBLEM.colours[k], name(k)]));
  for (const button of document.querySelectorAll("#gallery button")) {
    const i = Number(button.dataset.image), right = PROBLEM.test.y[i], guess = training.predicted[i], wrong = guess !== right;
    button.ariaPressed = String(i === image);
    button.classList.toggle("wrong", wrong);
    button.ariaLabel = button.title = `Test image ${i}: ${name(right)}${wrong ? `, which the student takes for ${name(guess)}` : ""}`;
  }
}

// Classes that either net gives a tenth of its probability to anywhere on a walk.
const strongest = ({ probabilities }) => PROBLEM.classes.map((_, k) => k).filter((k) => Object.values(probabilities).some((rows) => rows.some((row) => row[k] > 0.1)));

function key(parent, entries) {
  parent.replaceChildren(...entries.map(([colour, text]) => {
    const entry = document.createElement("span"), mark = document.createElement("i");
    mark.style.background = colour;
    entry.append(mark, text);
    return entry;
  }));
}

function curves() {
  const [scores, losses] = document.querySelectorAll("#curves figure"), { history, steps, log } = training;
  const changes = [...new Set(log.map(([at]) => at).filter((at) => at > 0))];
  const line = (of) => history.map((at) => [at.step, of(at)]).filter(([, y]) => y !== undefined);
  const accuracy = { points: line((at) => 100 * at.accuracy), colour: LINES[0] };
  const agreement = { points: line((at) => 100 * at.agreement), colour: LINES[1], dash: [5, 4] }; // often equal
  paintCurves(scores.querySelector("canvas"), [accuracy, agreement], steps, changes, [0, 100]);
  key(scores.querySelector("span"), [[LINES[0], `accuracy ${percent(training.accuracy)}`], [LINES[1], `same as the teacher ${percent(training.agreement)}`]]);
  const lines = TERMS.map((term, i) => ({ term, points: line((at) => at.terms[term]), colour: LINES[i % 4] })).filter(({ points }) => points.length);
  paintCurves(losses.querySelector("canvas"), lines, steps, changes);
  key(losses.querySelector("span"), lines.map(({ term, colour }) => [colour, `${nameOf(term)} ${training.terms[term]?.toFixed(2) ?? "off"}`]));
}

function nameOf(term) {
  const method = Object.values(PROBLEM.methods).find(({ terms }) => terms.includes(term));
  return method.shorts[method.terms.indexOf(term)];
}

function words() {
  const { step, steps, epoch, now } = training, done = step >= steps;
  show("at", `step ${step} of ${steps}, epoch ${Math.min(epoch + 1, PROBLEM.epochs)} of ${PROBLEM.epochs}${done ? ": finished" : ""}`);
  const weights = training.weights();
  show("formula", `loss = ${Object.entries(weights).map(([term, w]) => `${+w.toFixed(2)} × ${nameOf(term)}`).join(" + ")}`);
  const upto = Number($("iterate").value), name = (k) => PROBLEM.classes[k];
  show("walk", ["teacher", "student"].map((net) => {
    const { base, steps: made, crossed, classes, target: to } = walks[net], at = Math.min(upto, made);
    const end = crossed ? `crosses into ${name(classes[made])} in ${made} step${made === 1 ? "" : "s"}` : `does not cross in ${made} steps`;
    return `By the ${net} the ${IMAGES ? "image" : "point"} is ${name(base)}; towards ${name(to)} it ${end}${at < made ? `; after step ${at} it is ${name(classes[at])}` : ""}.`;
  }).join(" "));
  for (const input of document.querySelectorAll("#sliders input")) {
    const { key: own } = input.dataset, value = own === "labels" ? PROBLEM.labels.indexOf(training.labels) : own === "seed" ? training.seed : now[own];
    if (document.activeElement !== input || Number(input.value) !== value) input.value = value;
    const weight = TERMS.includes(own) ? (own in weights ? `× ${+value.toFixed(2)} = ${+weights[own].toFixed(2)}` : "not used") : null;
    input.nextElementSibling.textContent = weight ?? (own === "labels" ? training.labels : own === "rate" ? `× ${value}` : value);
    input.disabled = TERMS.includes(own) && !(own in weights);
  }
  for (const radio of document.querySelectorAll("#method input")) radio.checked = radio.value === now.method;
  $("target").value = target ?? "";
}

function buttons() {
  const ready = Boolean(document.body.dataset.ready);
  show("play", playing ? "Pause" : training?.step >= training?.steps ? "Play again" : "Play");
  for (const id of ["play", "one", "again"]) $(id).disabled = !ready;
  $("one").disabled ||= training.step >= training.steps;
  $("undo").disabled = !training?.own.length;
}

// ---- a person's hands

// The settings of now, as changes at the first step: what Start again begins with.
const fromStart = () => Object.entries(training.now).filter(([key, value]) => value !== PROBLEM.start[key]).map(([key, value]) => [0, key, value]);

const attempt = (work) => work.catch(fail);

async function play() {
  if (playing) {
    playing = false;
    await queued(async () => { await refresh(); address(); });
    return;
  }
  calm();
  if (training.step >= training.steps) await set({ seed: training.seed, log: fromStart() });
  playing = true;
  buttons();
  let shown = 0, begun = performance.now(), made = 0;
  while (playing && training.step < training.steps) {
    await queued(advance);
    made += 1;
    const rate = Number($("speed").value), ahead = rate ? begun + (1000 * made) / rate - performance.now() : 0;
    if (rate && ahead < -500) [begun, made] = [performance.now(), 0]; // the browser is slower than that
    if (performance.now() - shown > 45 || ahead > 20) {
      await queued(refresh);
      await new Promise(requestAnimationFrame);
      shown = performance.now();
    }
    const rest = rate ? begun + (1000 * made) / rate - performance.now() : 0;
    if (rest > 4) await new Promise((done) => setTimeout(done, rest));
  }
  playing = false;
  await queued(async () => { await refresh(); address(); });
}

let asked = false, rest = 0; // the newest place of the point is enough, and its address once it rests: browsers count them
function moved(to) {
  const [x0, x1, y0, y1] = slice.area;
  point = [Math.min(x1, Math.max(x0, to[0])), Math.min(y1, Math.max(y0, to[1]))];
  if (asked) return;
  asked = true;
  attempt(queued(async () => {
    asked = false;
    await walk();
    paint();
    clearTimeout(rest);
    rest = setTimeout(address, 200);
  }));
}

function listen(canvas) {
  const place = (event) => {
    const box = canvas.getBoundingClientRect(), [x0, x1, y0, y1] = slice.area;
    return [x0 + ((event.clientX - box.left) / box.width) * (x1 - x0), y1 - ((event.clientY - box.top) / box.height) * (y1 - y0)];
  };
  let dragging = false;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !training) return;
    if ($("draw").checked) {
      const own = [...training.own, [...place(event).map((v) => +v.toFixed(3)), Number($("class").value)]];
      attempt(ownPoints(own));
    } else {
      dragging = true;
      canvas.setPointerCapture(event.pointerId);
      moved(place(event));
    }
    canvas.focus({ preventScroll: true });
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => dragging && moved(place(event)));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { dragging = false; });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way || !training) return;
    const size = (event.shiftKey ? 0.05 : 0.01) * (slice.area[1] - slice.area[0]);
    moved([point[0] + way[0] * size, point[1] + way[1] * size]);
    event.preventDefault();
  });
}

// Own points join the training set, which starts the training anew.
function ownPoints(own) {
  return queued(async () => {
    training.own = own;
    playing = false;
    training.restart();
    await refresh();
    address();
  });
}

function slider(own, label, low, high, by, change) {
  const input = Object.assign(document.createElement("input"), { type: "range", min: low, max: high, step: by, id: `slider-${own}` });
  input.dataset.key = own;
  input.addEventListener("input", () => attempt(change(Number(input.value))));
  const name = Object.assign(document.createElement("label"), { htmlFor: input.id, textContent: label });
  $("sliders").append(name, input, document.createElement("output"));
}

function controls() {
  const titles = { ce: "labels", kd: "+ the teacher's predictions", bss: "+ boundary samples", amkd: "+ triplets" };
  for (const name of Object.keys(PROBLEM.methods)) {
    const label = document.createElement("label"), radio = Object.assign(document.createElement("input"), { type: "radio", name: "method", value: name });
    radio.addEventListener("change", () => attempt(set({ method: name })));
    label.append(radio, ` ${name} `, Object.assign(document.createElement("small"), { textContent: titles[name] ?? "" }));
    $("method").append(label);
  }
  for (const term of TERMS) slider(term, `Weight: ${nameOf(term)}`, 0, 8, 0.25, (value) => set({ [term]: value }));
  slider("step_size", "Attack step size", 0.05, 3, 0.05, (value) => set({ step_size: value }));
  slider("rate", "Learning rate", 0.1, 3, 0.1, (value) => set({ rate: value }));
  slider("labels", `Labelled ${IMAGES ? "images" : "points"}`, 0, PROBLEM.labels.length - 1, 1, (value) => set({ labels: PROBLEM.labels[value], log: fromStart() }));
  slider("seed", "Seed", 0, PROBLEM.seeds.length - 1, 1, (value) => set({ seed: value, log: fromStart() }));
  for (const [k, name] of PROBLEM.classes.entries()) for (const id of ["target", "class"]) $(id).append(new Option(name, k));
  $("target").prepend(new Option("likeliest", ""));
  $("target").addEventListener("change", (event) => attempt(set({ target: event.target.value === "" ? null : Number(event.target.value) })));
  $("iterate").addEventListener("input", () => attempt(queued(async () => paint())));
  $("play").addEventListener("click", () => attempt(play()));
  $("one").addEventListener("click", () => attempt(step(1)));
  $("again").addEventListener("click", () => { playing = false; attempt(set({ seed: training.seed, log: fromStart() })); });
  $("undo").addEventListener("click", () => attempt(ownPoints(training.own.slice(0, -1))));
  document.querySelectorAll("#maps canvas").forEach(listen);
  if (IMAGES) gallery();
  key($("keys"), [...PROBLEM.classes.map((name, k) => [PROBLEM.colours[k], name])]);
  for (const { title, text, hash } of PROBLEM.situations) {
    const item = document.createElement("li"), link = Object.assign(document.createElement("a"), { href: hash });
    link.append(Object.assign(document.createElement("b"), { textContent: title }), text);
    item.append(link);
    $("situations").querySelector("ul").append(item);
  }
  $("situations").hidden = !PROBLEM.situations.length;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !document.body.dataset.ready) return;
    const busy = event.target.matches("button, select, a, input:not([type='range'])");
    const own = { " ": busy ? null : "play", s: "one", r: "again" }[event.key.toLowerCase()];
    if (!own || event.target.matches("select")) return;
    event.preventDefault();
    $(own).click();
  });
  addEventListener("hashchange", () => { playing = false; attempt((async () => set(fromAddress(location.hash) ?? {}))()); });
  let width = 0;
  new ResizeObserver(() => { if (drawn && width !== document.body.clientWidth) { width = document.body.clientWidth; queued(async () => paint()); } }).observe(document.body);
}

function gallery() {
  for (const id of ["gallery", "pictures"]) $(id).hidden = false;
  $("own").hidden = true;
  $("pictures").before($("walking"));
  for (const i of PROBLEM.gallery) {
    const button = document.createElement("button"), picture = Object.assign(document.createElement("canvas"), { width: LONG, height: HIGH });
    picture.getContext("2d").drawImage(pixels(nth(training.test.x, i)), 0, 0);
    picture.ariaHidden = "true";
    Object.assign(button, { type: "button" }).dataset.image = i;
    button.addEventListener("click", () => attempt(set({ image: i, target: null })));
    button.append(picture);
    $("gallery").querySelector("div").append(button);
  }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  show("theme", name === "dark" ? "Light" : "Dark");
  if (drawn) queued(async () => paint());
}

async function begin() {
  document.body.dataset.view = new URLSearchParams(location.search).get("view") ?? "all";
  const system = matchMedia("(prefers-color-scheme: dark)");
  theme(system.matches ? "dark" : "light");
  system.addEventListener("change", () => theme(system.matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  training = new Training(await openRuntime());
  if (IMAGES) await choose(image);
  else {
    lay(POINTS);
    point = [...nth(training.train.x, training.labelled[0])];
  }
  controls();
  if (PROBLEM.run) training.takeRun();
  window.playground = { state, set, step, decide };
  let wrong = null;
  try {
    const link = fromAddress(location.hash);
    if (link) await set(link);
  } catch (error) {
    wrong = error;
  }
  await queued(refresh);
  document.body.dataset.ready = "true";
  buttons();
  if (wrong) fail(wrong);
}

begin().catch(fail);
