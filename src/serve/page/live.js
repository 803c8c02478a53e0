/** Reads samples `name{labels} value` of Prometheus' text. */
function samples(text, name) {
  return text.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#') && /[{ ]/.test(line[name.length])).map((line) => {
    const at = line.lastIndexOf(' ');
    return { labels: line.slice(name.length, at), value: Number(line.slice(at + 1)) };
  });
}

const sum = (list) => list.reduce((all, { value }) => all + value, 0);

/** Cumulative counts by upper bound, over all models and routes. */
function buckets(text) {
  const counts = new Map();
  for (const { labels, value } of samples(text, 'noisefloor_request_seconds_bucket')) {
    const bound = /le="([^"]+)"/.exec(labels)[1];
    const limit = bound === '+Inf' ? Infinity : Number(bound);
    counts.set(limit, (counts.get(limit) ?? 0) + value);
  }
  return [...counts].sort(([a], [b]) => a - b);
}

/** The bucket that holds a quantile of what came between two readings, as an upper bound. */
function quantile(now, before, q) {
  const grown = now.map(([limit, count], i) => [limit, count - (before?.[i]?.[1] ?? 0)]);
  const all = grown.at(-1)?.[1] ?? 0;
  const found = all > 0 ? grown.find(([, count]) => count >= q * all) : undefined;
  if (!found) return '–';
  return found[0] === Infinity ? '> 10 s' : `≤ ${Number((found[0] * 1000).toPrecision(3))} ms`;
}

/** Shows what the server does, every second; `read` fetches the metrics' text, or undefined where it may not. */
export function watchLive(read) {
  let before;
  const tick = async () => {
    const text = document.hidden ? undefined : await read();
    if (text === undefined) return;
    const now = { at: performance.now(), count: sum(samples(text, 'noisefloor_request_seconds_count')), buckets: buckets(text) };
    const seconds = before ? (now.at - before.at) / 1000 : 1;
    document.getElementById('live-rate').textContent = before ? ((now.count - before.count) / seconds).toFixed(0) : '–';
    document.getElementById('live-median').textContent = quantile(now.buckets, before?.buckets, 0.5);
    document.getElementById('live-p99').textContent = quantile(now.buckets, before?.buckets, 0.99);
    document.getElementById('live-queue').textContent = String(sum(samples(text, 'noisefloor_queue_images')));
    before = now;
  };
  void tick();
  setInterval(() => void tick(), 1000);
}
