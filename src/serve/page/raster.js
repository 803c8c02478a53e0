/** Canvas in device pixels with the colours of the page. */
function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(width * devicePixelRatio));
  canvas.height = Math.max(1, Math.round(height * devicePixelRatio));
  const context = canvas.getContext('2d');
  context.scale(devicePixelRatio, devicePixelRatio);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  return { context, width, height, colour: (name) => style.getPropertyValue(name).trim() };
}

/** Probability of some classes by step, as far as `until` steps. */
export function drawSettling(canvas, probabilities, classes, until, exitStep) {
  const { context, width, height, colour } = prepare(canvas);
  const [left, right, top, bottom] = [50, 12, 10, 24];
  const steps = probabilities.length;
  const x = (step) => left + (steps === 1 ? 0.5 : (step - 1) / (steps - 1)) * (width - left - right);
  const y = (p) => top + (1 - p) * (height - top - bottom);
  context.font = '12px system-ui, sans-serif';
  context.fillStyle = colour('--soft');
  context.strokeStyle = colour('--line');
  context.textAlign = 'right';
  for (const p of [0, 0.5, 1]) {
    line(context, [[left, y(p)], [width - right, y(p)]]);
    context.fillText(`${p * 100} %`, left - 6, y(p) + 4);
  }
  context.textAlign = 'center';
  for (let step = 1; step <= steps; step++) context.fillText(String(step), x(step), height - 6);
  if (exitStep !== undefined) {
    context.strokeStyle = colour('--ink');
    context.setLineDash([5, 4]);
    line(context, [[x(exitStep), top], [x(exitStep), height - bottom]]);
    context.setLineDash([]);
  }
  context.lineWidth = 2.5;
  classes.forEach((index, i) => {
    context.strokeStyle = context.fillStyle = colour(`--c${i}`);
    const points = probabilities.slice(0, until).map((p, t) => [x(t + 1), y(p[index])]);
    line(context, points);
    for (const [px, py] of points) {
      context.beginPath();
      context.arc(px, py, 3.5, 0, 2 * Math.PI);
      context.fill();
    }
  });
}

/** One layer: a mark a spike; steps after `until` are still to come. Under it the spikes of all neurons. */
export function drawRaster(canvas, { raster, spikes }, until) {
  const { context, width, height, colour } = prepare(canvas);
  const steps = spikes.length;
  const bars = 34;
  const column = width / steps;
  const row = (height - bars - 6) / raster.length;
  const most = Math.max(1, ...spikes);
  for (let t = 0; t < steps; t++) {
    context.fillStyle = colour('--ahead');
    context.fillRect(t * column + 1, 0, column - 2, height - bars - 6);
    if (t >= until) continue;
    context.fillStyle = colour(t === until - 1 ? '--spike' : '--accent');
    const tall = (spikes[t] / most) * bars;
    context.fillRect(t * column + 1, height - tall, column - 2, tall);
  }
  raster.forEach((times, neuron) => {
    for (const t of times) {
      if (t >= until) continue;
      context.fillStyle = colour(t === until - 1 ? '--spike' : '--accent');
      context.fillRect(t * column + 2, neuron * row, column - 4, Math.max(1, row - 0.6));
    }
  });
}

function line(context, points) {
  context.beginPath();
  points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.stroke();
}
