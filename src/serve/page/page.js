import { watchLive } from './live.js';
import { drawRaster, drawSettling } from './raster.js';

const $ = (id) => document.getElementById(id);
const svg = 'http://www.w3.org/2000/svg';
/** Milliseconds that a step is shown while playing. */
const pace = 600;

let picture;
let trace;
let shownStep = 0;
let playing;

async function ask(path, options = {}) {
  const key = sessionStorage.getItem('key');
  const answer = await fetch(path, { ...options, headers: { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) } });
  if (answer.status === 401) $('key-form').hidden = false;
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  throw new Error(error);
}

function say(text, bad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('bad', bad);
}

const guard = (work) => (...given) => work(...given).catch((error) => say(error.message, true));

const start = guard(async () => {
  const index = await (await ask('/v2/repository/index', { method: 'POST', body: '{"ready":true}' })).json();
  const names = [...new Set(index.map(({ name }) => name))];
  const models = await Promise.all(names.map(async (name) => (await ask(`/v2/models/${name}`)).json()));
  const spiking = models.filter(({ platform }) => platform === 'noisefloor_spiking');
  $('model').replaceChildren(...spiking.map(({ name }) => element('option', name)));
  $('model').dense = new Set(models.filter((model) => !spiking.includes(model)).map(({ name }) => name));
  $('key-form').hidden = true;
  say('');
});

const look = guard(async () => {
  if (!picture) return;
  stop();
  say('Asking…');
  const model = $('model').value;
  const post = (path) => ask(path, { method: 'POST', body: picture, headers: { 'content-type': 'application/octet-stream' } });
  const query = `model=${encodeURIComponent(model)}`;
  const dense = `${model}-dense`;
  const [answer, other] = await Promise.all([
    post(`/v1/trace?${query}&time_steps=${$('steps').value}`).then((found) => found.json()),
    $('model').dense.has(dense) ? post(`/v1/classify?model=${encodeURIComponent(dense)}&top_k=1`).then((found) => found.json()) : undefined,
  ]);
  trace = { ...answer, probabilities: answer.logits.map(softmax) };
  say('');
  showDense(other);
  layOut();
  play();
});

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const all = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / all);
}

function best(scores, count) {
  return scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b).slice(0, count);
}

/** The first step at which the lead of the first logit reaches the threshold, if any. */
function exitStep() {
  const threshold = Number($('threshold').value);
  const at = trace.logits.findIndex((logits) => {
    const [first, second] = best(logits, 2);
    return second === undefined || logits[first] - logits[second] >= threshold;
  });
  return at < 0 ? undefined : at + 1;
}

function layOut() {
  $('step').max = trace.logits.length;
  $('step').disabled = $('play').disabled = false;
  $('layers').replaceChildren(...trace.layers.map(({ name, neurons, spikes }) => {
    const figure = document.createElement('figure');
    const caption = document.createElement('figcaption');
    const total = spikes.reduce((sum, n) => sum + n, 0);
    const title = element('b', name);
    title.title = name;
    caption.append(title, element('span', `${(total / neurons).toFixed(2)} a neuron`));
    const canvas = document.createElement('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${name}, ${neurons} neurons. Spikes at each step: ${spikes.join(', ')}`);
    figure.append(canvas, caption);
    return figure;
  }));
}

function show(step) {
  shownStep = step;
  $('step').value = step;
  $('step-value').textContent = `${step} / ${trace.logits.length}`;
  const probabilities = trace.probabilities[step - 1];
  const [first] = best(probabilities, 1);
  $('verdict').textContent = `${trace.labels[first]}, ${percent(probabilities[first])}`;
  $('bars').replaceChildren(...best(probabilities, 5).map((index) => bar(trace.labels[index], probabilities[index])));
  const exit = exitStep();
  $('exit').textContent = exit === undefined
    ? `Early exit would have taken all ${trace.logits.length} time steps.`
    : `Early exit would have stopped after ${exit} of ${trace.logits.length}, with ${trace.labels[best(trace.logits[exit - 1], 1)[0]]}.`;
  const leading = best(trace.probabilities.at(-1), 5);
  drawSettling($('settle'), trace.probabilities, leading, step, exit);
  $('settle').setAttribute('aria-label', `After ${step} of ${trace.logits.length} time steps: ${leading.map((i) => `${trace.labels[i]} ${percent(probabilities[i])}`).join(', ')}`);
  $('legend').replaceChildren(...leading.map((index, i) => legend(trace.labels[index], i)));
  [...$('layers').querySelectorAll('canvas')].forEach((canvas, i) => drawRaster(canvas, trace.layers[i], step));
}

function play() {
  show(1);
  $('play').textContent = 'Pause';
  $('play').setAttribute('aria-pressed', 'true');
  const run = playing = {};
  let since = performance.now();
  const frame = (now) => {
    if (playing !== run) return;
    if (now - since >= pace) {
      since = now;
      if (shownStep === trace.logits.length) return stop();
      show(shownStep + 1);
    }
    requestAnimationFrame(frame);
  };
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return finish();
  requestAnimationFrame(frame);
}

function finish() {
  show(trace.logits.length);
  stop();
}

function stop() {
  playing = undefined;
  $('play').textContent = 'Play';
  $('play').setAttribute('aria-pressed', 'false');
}

function showDense(answer) {
  $('dense').hidden = answer === undefined;
  if (answer) $('dense-text').textContent = `${answer.classes[0].label}, ${percent(answer.classes[0].probability)}`;
}

function percent(p) {
  return `${(100 * p).toFixed(1)} %`;
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function rectangle(attributes) {
  const picture = document.createElementNS(svg, 'svg');
  picture.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(svg, 'rect');
  for (const [name, value] of Object.entries({ height: '100%', rx: 3, ...attributes })) shape.setAttribute(name, value);
  picture.append(shape);
  return picture;
}

function bar(label, probability) {
  const item = document.createElement('li');
  const name = Object.assign(element('span', label), { className: 'name', title: label });
  item.append(name, rectangle({ width: percent(probability).replace(' ', '') }), Object.assign(element('span', percent(probability)), { className: 'value' }));
  return item;
}

function legend(label, i) {
  const item = document.createElement('span');
  item.append(rectangle({ width: '100%', fill: `var(--c${i})` }), label);
  return item;
}

function take(file) {
  if (!file) return;
  picture = file;
  $('preview').src = URL.createObjectURL(file);
  $('preview').alt = `The picture ${file.name ?? ''}`;
  $('preview').hidden = false;
  $('drop-text').hidden = true;
  void look();
}

$('file').addEventListener('change', () => take($('file').files[0]));
document.addEventListener('paste', (event) => take(event.clipboardData.files[0]));
for (const name of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $('drop').classList.toggle('over', name === 'dragover');
    if (name === 'drop') take(event.dataTransfer.files[0]);
  });
}
$('model').addEventListener('change', () => void look());
$('steps').addEventListener('change', () => void look());
$('steps').addEventListener('input', () => ($('steps-value').textContent = $('steps').value));
$('threshold').addEventListener('input', () => {
  $('threshold-value').textContent = $('threshold').value;
  if (trace) show(shownStep);
});
$('step').addEventListener('input', () => {
  stop();
  show(Number($('step').value));
});
$('play').addEventListener('click', () => (playing ? stop() : play()));
$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('key', $('key').value);
  void start();
});
window.addEventListener('resize', () => trace && show(shownStep));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => trace && show(shownStep));

void start();
watchLive(() => ask('/metrics').then((answer) => answer.text(), () => undefined));
