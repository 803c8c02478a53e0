// Trains, converts and evaluates a row of docs/results.md: node scripts/reproduce.mjs ROW --data cifar10:DIR [--device cuda]
// Resumable: finished stages are kept, and one that was stopped goes on from its checkpoint. Without ROW it lists the rows.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';

const resnet18 = '--network resnet18 --noise nq --noise-strength 0.5 --levels 4 --weight-bits 8 --batch-size 500 --learning-rate 0.2 --warmup-epochs 3 --augment crop,flip,autoaugment --cutout 16 --decay weights --clip-norm 20';
const withoutNoise = resnet18.replace('--noise nq --noise-strength 0.5', '--noise none');
const overTime = '--batch-size 250 --cutout 16 --clip-norm 5 --decay weights';
const strong = '--augment crop,flip,autoaugment';
const restart = '--batch-size 500 --learning-rate 0.1 --warmup-epochs 2 --augment crop,flip,autoaugment --cutout 16 --decay weights --clip-norm 20';
const mixed = (recipe) => recipe.replace('--cutout 16', '--cutmix 1 --mix-probability 0.5');
const withCutMix = mixed(restart);
const fromMixed = withCutMix.replace('--learning-rate 0.1', '--learning-rate 0.06');
const bothTeachers = ['resnet18-relu-mixed', 'resnet18-mixed-base'];
const overTimeMixed = `${mixed(overTime)} ${strong}`;
const byRates = '--gradient rate --batch-statistics --batch-size 500 --warmup-epochs 1 --cutout 16 --clip-norm 20 --decay weights --augment crop,flip,autoaugment';
const vgg16 = withoutNoise.replace('--network resnet18', '--network vgg16').replace('--learning-rate 0.2', '--learning-rate 0.1');
const singleStep = resnet18.replace('--noise nq --noise-strength 0.5 --levels 4', '--noise single-step').replace('--learning-rate 0.2', '--learning-rate 0.05');
/**
 * A stage is a training, with `further` of another stage's network, or, with `from`, a fine-tuning over time of another stage;
 * with `teacher` by the logits of a third one, or the mean of several, too; or the `average` of two, by `shares`.
 */
const stages = {
  'resnet18-base': { epochs: 195, options: resnet18 },
  resnet18: { from: 'resnet18-base', epochs: 12, options: `--time-steps 4 --learning-rate 0.004 ${overTime}` },
  'resnet18-t2': { from: 'resnet18-base', epochs: 16, options: `--time-steps 2 --learning-rate 0.006 ${overTime}` },
  'resnet18-l8-base': { epochs: 195, options: resnet18.replace('--levels 4', '--levels 8') },
  'resnet18-l8': { from: 'resnet18-l8-base', epochs: 14, options: `--time-steps 4 --learning-rate 0.004 ${overTime}` },
  'resnet18-l8-t2': { from: 'resnet18-l8-base', epochs: 14, options: `--time-steps 2 --learning-rate 0.006 ${overTime}` },
  'resnet18-long-base': { epochs: 240, options: `${resnet18} --weight-decay 1e-3` },
  'resnet18-long': { from: 'resnet18-long-base', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} ${strong}` },
  'resnet18-reset': { from: 'resnet18-long-base', epochs: 6, options: `--no-detach-reset --time-steps 4 --learning-rate 0.004 ${overTime} ${strong}` },
  'resnet18-reset-t2': { from: 'resnet18-long-base', epochs: 9, options: `--no-detach-reset --time-steps 2 --learning-rate 0.006 ${overTime} ${strong}` },
  'resnet18-relu': { epochs: 205, options: `${withoutNoise.replace('--levels 4', '--activation relu')} --weight-decay 1e-3` },
  'resnet18-qcfs-base': { epochs: 205, options: `${withoutNoise} --weight-decay 1e-3` },
  'resnet18-qcfs': { from: 'resnet18-qcfs-base', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} ${strong}` },
  'resnet18-taught': { from: 'resnet18-qcfs-base', teacher: 'resnet18-relu', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} ${strong}` },
  'resnet18-taught-longer': { from: 'resnet18-qcfs-base', teacher: 'resnet18-relu', epochs: 22, options: `--time-steps 4 --learning-rate 0.012 ${overTime} ${strong}` },
  'resnet18-taught-t2': { from: 'resnet18-qcfs-base', teacher: 'resnet18-relu', epochs: 16, options: `--time-steps 2 --learning-rate 0.006 ${overTime} ${strong}` },
  'resnet18-taught-t1': { from: 'resnet18-qcfs-base', teacher: 'resnet18-relu', epochs: 16, options: `--time-steps 1 --learning-rate 0.008 ${overTime} ${strong}` },
  'resnet18-restart-base': { further: 'resnet18-long', teacher: 'resnet18-relu', epochs: 135, options: restart },
  'resnet18-restart': { from: 'resnet18-restart-base', teacher: 'resnet18-relu', epochs: 22, options: `--no-detach-reset --time-steps 4 --learning-rate 0.004 ${overTime} ${strong}` },
  'resnet18-restart-t2': { from: 'resnet18-restart-base', teacher: 'resnet18-relu', epochs: 18, options: `--no-detach-reset --time-steps 2 --learning-rate 0.005 ${overTime} ${strong}` },
  'resnet18-restart-t1': { from: 'resnet18-restart-base', teacher: 'resnet18-relu', epochs: 12, options: `--time-steps 1 --optimizer adamw --learning-rate 3e-4 ${overTime} ${strong}` },
  'resnet18-average': { average: ['resnet18-restart', 'resnet18-restart-t1'], shares: '0.6,0.4' },
  'resnet18-relu-full': { further: 'resnet18-relu', teacher: 'resnet18-relu', epochs: 110, options: `${restart} --validation 0` },
  'resnet18-full-base': { further: 'resnet18-restart', teacher: 'resnet18-relu-full', epochs: 160, options: `${restart} --validation 0` },
  'resnet18-full': { from: 'resnet18-full-base', teacher: 'resnet18-relu-full', epochs: 22, options: `--no-detach-reset --time-steps 4 --learning-rate 0.004 ${overTime} ${strong} --validation 0 --keep-every 2` },
  'resnet18-full-t1': { from: 'resnet18-full-base', teacher: 'resnet18-relu-full', epochs: 22, options: `--time-steps 1 --optimizer adamw --learning-rate 3e-4 ${overTime} ${strong} --validation 0` },
  'resnet18-relu-mixed': { further: 'resnet18-relu', epochs: 115, options: withCutMix },
  'resnet18-mixed-base': { further: 'resnet18-restart', teacher: 'resnet18-relu-mixed', epochs: 140, options: withCutMix },
  'resnet18-mixed': { from: 'resnet18-mixed-base', teacher: 'resnet18-relu-mixed', epochs: 22, options: `--no-detach-reset --time-steps 4 --learning-rate 0.004 ${overTime} ${strong} --keep-every 2` },
  'resnet18-mixed-t2': { from: 'resnet18-mixed-base', teacher: 'resnet18-relu-mixed', epochs: 16, options: `--no-detach-reset --time-steps 2 --learning-rate 0.005 ${overTime} ${strong} --keep-every 2` },
  'resnet18-mixed-t1': { from: 'resnet18-mixed-base', teacher: 'resnet18-relu-mixed', epochs: 28, options: `--time-steps 1 --optimizer adamw --learning-rate 3e-4 ${overTime} ${strong} --keep-every 2` },
  'resnet18-mixed-average': { average: ['resnet18-mixed', 'resnet18-mixed-t1'], shares: '0.6,0.4' },
  'resnet18-both-base': { further: 'resnet18-mixed-base', teacher: bothTeachers, epochs: 110, options: fromMixed },
  'resnet18-both': { from: 'resnet18-both-base', teacher: bothTeachers, epochs: 24, options: `--no-detach-reset --time-steps 4 --learning-rate 0.005 ${overTimeMixed} --keep-every 2` },
  'resnet18-both-t1': { from: 'resnet18-both-base', teacher: bothTeachers, epochs: 40, options: `--time-steps 1 --optimizer adamw --learning-rate 5e-4 ${overTimeMixed} --keep-every 10` },
  'resnet18-both-t2': { from: 'resnet18-both-base', teacher: bothTeachers, epochs: 16, options: `--no-detach-reset --time-steps 2 --learning-rate 0.005 ${overTimeMixed} --keep-every 2` },
  'resnet18-rate': { from: 'resnet18-long', epochs: 60, options: `--time-steps 4 --learning-rate 0.02 ${byRates}` },
  'resnet18-rate-t2': { from: 'resnet18-taught-t2', teacher: 'resnet18-long', epochs: 30, options: `--time-steps 2 --learning-rate 0.02 ${byRates}` },
  'vgg16-base': { epochs: 80, options: vgg16 },
  vgg16: { from: 'vgg16-base', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} ${strong}` },
  'resnet18-sparse-base': { epochs: 140, options: `${resnet18} --activity-penalty 0.1` },
  'resnet18-sparse': { from: 'resnet18-sparse-base', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} --activity-penalty 0.1` },
  'resnet18-sparser-base': { epochs: 120, options: `${resnet18} --activity-penalty 0.2` },
  'resnet18-sparser': { from: 'resnet18-sparser-base', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} --activity-penalty 0.2` },
  'resnet18-sparser-t2': { from: 'resnet18-sparser-base', epochs: 16, options: `--time-steps 2 --learning-rate 0.006 ${overTime} --activity-penalty 0.2` },
  'resnet18-sparser-taught': { from: 'resnet18-sparser', teacher: 'resnet18-relu', epochs: 16, options: `--time-steps 4 --learning-rate 0.004 ${overTime} ${strong} --activity-penalty 0.2` },
  'resnet18-sparser-t2-taught': { from: 'resnet18-sparser-t2', teacher: 'resnet18-relu', epochs: 16, options: `--time-steps 2 --learning-rate 0.006 ${overTime} ${strong} --activity-penalty 0.2` },
  'resnet18-sparser-restart-base': { further: 'resnet18-sparser', teacher: 'resnet18-relu', epochs: 50, options: `${restart.replace('--learning-rate 0.1', '--learning-rate 0.05')} --activity-penalty 0.4` },
  'resnet18-sparser-restart': { from: 'resnet18-sparser-restart-base', teacher: 'resnet18-relu', epochs: 16, options: `--no-detach-reset --time-steps 4 --learning-rate 0.004 ${overTime} ${strong} --activity-penalty 0.4` },
  'resnet18-sparsest-base': { further: 'resnet18-sparser-restart', teacher: bothTeachers, epochs: 50, options: `${withCutMix.replace('--learning-rate 0.1', '--learning-rate 0.05')} --activity-penalty 0.9` },
  'resnet18-sparsest': { from: 'resnet18-sparsest-base', teacher: bothTeachers, epochs: 14, options: `--no-detach-reset --time-steps 4 --learning-rate 0.003 ${overTimeMixed} --activity-penalty 0.4 --keep-every 4` },
  'resnet18-single-step': { epochs: 80, options: singleStep },
  'resnet18-single-step-low': { epochs: 60, options: `${singleStep} --initial-threshold 1` },
  'resnet20-l2': { epochs: 30, options: '--network resnet20 --noise none --levels 2 --batch-size 512 --learning-rate 0.2' },
};

const number = (text) => Number(text);
const program = new Command('reproduce')
  .argument('[row]', Object.keys(stages).join(', '))
  .option('--data <spec>', 'such as cifar10:DIR')
  .addOption(new Option('--out <dir>', 'folder for the runs').default('runs'))
  .addOption(new Option('--seed <n>').argParser(number).default(0))
  .addOption(new Option('--device <device>').choices(['cpu', 'cuda']).default('cpu'))
  .addOption(new Option('--devices <ids>', 'CUDA devices, such as 1'))
  .option('--time-steps <list>', 'of the evaluation (default: 1,2,4,8,16; of a ReLU network 8,16,32)')
  .option('--no-evaluate', 'train and convert alone')
  .parse();
const options = program.opts();
const [row] = program.args;
if (row === undefined) {
  for (const [name, { average, shares, from, further, teacher, epochs, options: text }] of Object.entries(stages)) {
    if (average) console.log(`${name}: the average of ${average.join(' and ')} by ${shares}`);
    else console.log(`${name}: ${from ? `over time, from ${from}, ` : ''}${further ? `from ${further}, ` : ''}${teacher ? `taught by ${[teacher].flat().join(' and ')}, ` : ''}${epochs} epochs, ${text}`);
  }
  process.exit();
}
if (!Object.hasOwn(stages, row)) program.error(`Unknown row "${row}". There are ${Object.keys(stages).join(', ')}.`);
if (options.data === undefined) program.error('Give the data, such as --data cifar10:DIR.');

const cli = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist', 'cli', 'main.js');
const noisefloor = (...args) => {
  console.error(`noisefloor ${args.join(' ')}`);
  execFileSync(process.execPath, [cli, ...args], { stdio: 'inherit' });
};
const folder = (name) => join(options.out, options.seed === 0 ? name : `${name}-seed${options.seed}`);
mkdirSync(options.out, { recursive: true });
const trained = train(row);
const relu = isRelu(row);
noisefloor('convert', trained, ...(relu ? ['--calibrate', options.data] : []), '--out', `${trained}.safetensors`);
const { timeSteps = relu ? '8,16,32' : '1,2,4,8,16' } = options;
if (options.evaluate) noisefloor('eval', `${trained}.safetensors`, '--data', options.data, '--time-steps', timeSteps, '--against', trained);

/** Such a network has no thresholds before it is calibrated. */
function isRelu(name) {
  const { average, further, options: text } = stages[name];
  if (average) return isRelu(average[0]);
  return further === undefined ? text.includes('--activation relu') : isRelu(further);
}

/** The folder of a stage, trained. */
function train(name) {
  const { average, shares, from, further, teacher, epochs, options: text } = stages[name];
  const out = folder(name);
  if (average) {
    if (!existsSync(join(out, 'checkpoint.safetensors'))) noisefloor('average', ...average.map(train), '--shares', shares, '--out', out);
    return out;
  }
  if (epochsOf(out) >= epochs) return out;
  const [before, beginning] = [from, further].map((other) => (other === undefined ? undefined : train(other)));
  const teachers = [teacher ?? []].flat().flatMap((one) => ['--teacher', train(one)]);
  const device = options.device === 'cuda' ? ['--device', 'cuda', '--precision', 'mixed', ...(options.devices ? ['--devices', options.devices] : [])] : [];
  const resume = existsSync(join(out, 'checkpoint.safetensors')) ? ['--resume'] : [];
  const start = before ? ['finetune', before] : ['train', ...(beginning ? ['--initial-from', beginning] : [])];
  noisefloor(...start, ...text.split(' '), ...teachers, '--epochs', String(epochs), '--seed', String(options.seed), '--data', options.data, '--out', out, ...device, ...resume);
  return out;
}

function epochsOf(out) {
  const log = join(out, 'log.jsonl');
  if (!existsSync(log) || !existsSync(join(out, 'checkpoint.safetensors'))) return 0;
  const last = readFileSync(log, 'utf8').trim().split('\n').at(-1);
  return last ? JSON.parse(last).epoch : 0;
}
