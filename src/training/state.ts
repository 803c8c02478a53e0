import type { Shape } from '../graph/graph.js';
import type { ParameterSpec } from '../graph/parameters.js';
import type { InferenceSession, OrtTensor, Runtime } from '../onnx/runtime.js';
import { elementCount, type Parameters } from '../tensor.js';
import { averageName } from './average.js';
import { trainingStates, type StateSpec } from './optimizers.js';
import type { TrainConfig } from './options.js';

export type Tensors = Record<string, OrtTensor>;

/** Parameters, buffers, optimiser state and moving averages, by name, as tensors of ONNX Runtime. */
export class TrainingState {
  readonly #tensors: Tensors = {};
  readonly #states: readonly StateSpec[];
  readonly #shapes: ReadonlyMap<string, Shape>;

  constructor(
    readonly ort: Runtime,
    readonly specs: readonly ParameterSpec[],
    readonly config: TrainConfig,
  ) {
    this.#states = trainingStates(specs, config);
    const shapes = [...specs, ...this.#states.map(({ name, of }) => ({ name, shape: of.shape }))];
    this.#shapes = new Map(shapes.map(({ name, shape }) => [name, shape]));
  }

  /** Takes over parameters and training state; what state is missing starts anew. */
  load(parameters: Parameters, state: Parameters = new Map()): void {
    for (const { name } of this.specs) this.#set(name, parameters.get(name)!.data);
    for (const { name, of, startsAt } of this.#states) {
      const fresh = startsAt === 'parameter' ? parameters.get(of.name)!.data : new Float32Array(elementCount(of.shape));
      this.#set(name, state.get(name)?.data ?? fresh);
    }
  }

  /** Takes over the elements of those named, which may be in shared memory; the others stay. */
  take(tensors: ReadonlyMap<string, Float32Array>): void {
    for (const [name, data] of tensors) this.#set(name, data);
  }

  /** Takes over what a model gave as `NAME.next`. */
  takeNext(outputs: Tensors): void {
    for (const [name, tensor] of Object.entries(outputs)) {
      if (name.endsWith('.next')) this.#tensors[name.slice(0, -'.next'.length)] = tensor;
    }
  }

  /** The elements of one, as they are now. */
  held(name: string): Float32Array {
    return this.#tensors[name]!.data as Float32Array;
  }

  /** Of a parameter, buffer or state. */
  shape(name: string): Shape {
    return this.#shapes.get(name)!;
  }

  /** The weights that training goes on from. */
  parameters(): Parameters {
    return this.#copies(this.specs, (name) => name);
  }

  /** The moving average of the weights, or without one the weights themselves: what is evaluated and converted. */
  averagedParameters(): Parameters {
    return this.#copies(this.specs, (name) => this.#averaged(name));
  }

  /** Optimiser state and moving averages. */
  optimizerState(): Parameters {
    return this.#copies(this.#states, (name) => name);
  }

  /** Those that a session has inputs for. */
  inputs(session: InferenceSession): Tensors {
    return this.#inputs(session, (name) => name);
  }

  /** The same with the moving average of each, where there is one. */
  averagedInputs(session: InferenceSession): Tensors {
    return this.#inputs(session, (name) => this.#averaged(name));
  }

  /** All of them, as a loop takes them: `NAME.now`. */
  loopInputs(): Tensors {
    return Object.fromEntries(Object.entries(this.#tensors).map(([name, tensor]) => [`${name}.now`, tensor]));
  }

  #averaged(name: string): string {
    return this.config.ema > 0 ? averageName(name) : name;
  }

  #inputs(session: InferenceSession, heldAs: (name: string) => string): Tensors {
    const held = session.inputNames.filter((name) => Object.hasOwn(this.#tensors, name));
    return Object.fromEntries(held.map((name) => [name, this.#tensors[heldAs(name)]!]));
  }

  #set(name: string, data: Float32Array): void {
    this.#tensors[name] = new this.ort.Tensor('float32', data.slice(), [...this.shape(name)]);
  }

  #copies(specs: readonly { readonly name: string }[], heldAs: (name: string) => string): Parameters {
    return new Map(specs.map(({ name }) => [name, { shape: this.shape(name), data: this.held(heldAs(name)).slice() }]));
  }
}
