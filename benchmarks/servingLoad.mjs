// Load on a server, from a process of its own: `node servingLoad.mjs JOB` prints one line of JSON. Every answer is compared.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import autocannon from 'autocannon';

const job = JSON.parse(process.argv[2]);
const { bodies, answers } = JSON.parse(await readFile(job.file, 'utf8'));
const tally = { right: 0, wrong: 0, refused: 0, other: 0 };
const firstWrong = [];

/** Spiking answers are exact; ONNX Runtime rounds otherwise in batches of another size. */
function agrees(body, expected) {
  const logits = JSON.parse(body).outputs[0].data;
  return logits.length === expected.length && logits.every((logit, i) => Math.abs(logit - expected[i]) <= job.tolerance);
}

function judge(expected, status, body) {
  if (status === 200) {
    const right = agrees(body, expected);
    tally[right ? 'right' : 'wrong']++;
    if (!right && firstWrong.length < 1) firstWrong.push(body.slice(0, 300));
  } else tally[status === 429 ? 'refused' : 'other']++;
}

const headers = { 'inference-header-content-length': String(job.headerLength) };
const contents = bodies.map((body) => Buffer.from(body, 'base64'));
const before = process.cpuUsage();
const measured = await (job.rate ? openLoop() : closedLoop());
const { user, system } = process.cpuUsage(before);
const cores = (user + system) / 1e6 / measured.seconds; // That this process kept busy.
console.log(JSON.stringify({ ...tally, firstWrong, cores, perSecond: (tally.right + tally.wrong) / measured.seconds, ...measured }));

/** Each connection asks again as soon as it is answered. They begin at different requests: a batch of one picture many times is faster. */
async function closedLoop() {
  const requests = contents.map((body, i) => ({
    method: 'POST',
    path: job.path,
    headers,
    body,
    onResponse: (status, text) => judge(answers[i], status, text),
  }));
  let first = 0;
  const setupClient = (client) => {
    client.setRequests([...requests.slice(first), ...requests.slice(0, first)]);
    first = (first + 7) % requests.length;
  };
  const { latency, errors, timeouts, duration } = await autocannon({ url: job.url, connections: job.connections, duration: job.seconds, requests, setupClient, timeout: 30 });
  return { seconds: duration, lost: errors + timeouts, p50: latency.p50, p99: latency.p99 };
}

/** Requests come when they come (a Poisson process), whatever is still under way; autocannon's rate sends them once a second, in bursts. */
async function openLoop() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1000 });
  const times = [];
  const sent = [];
  let lost = 0;
  const began = performance.now();
  for (let due = began, n = 0; due < began + job.seconds * 1000; n++) {
    due += (-Math.log(1 - Math.random()) * 1000) / job.rate;
    if (due > performance.now()) await sleep(due - performance.now());
    const from = due; // Waiting for a late client counts as waiting.
    const i = n % contents.length;
    sent.push(post(agent, contents[i]).then(
      ({ status, text }) => {
        judge(answers[i], status, text);
        if (status === 200) times.push(performance.now() - from);
      },
      () => lost++,
    ));
  }
  await Promise.all(sent);
  const seconds = (performance.now() - began) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  const quantile = (q) => Number((times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? 0).toFixed(2));
  return { seconds, lost, p50: quantile(0.5), p99: quantile(0.99) };
}

function post(agent, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(job.url + job.path, { method: 'POST', agent, headers: { ...headers, 'content-length': body.length } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk) => (text += chunk));
      answer.on('end', () => resolve({ status: answer.statusCode, text }));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}
