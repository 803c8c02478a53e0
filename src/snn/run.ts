/** What one pass over a batch gives, from the native engine and from the reference alike. */
export interface RunResult {
  readonly count: number;
  readonly timeSteps: number;
  readonly classes: number;
  /** Read-out after each step, [timeSteps, count, classes]: running sums in integers; see `ReadoutLayer.unit`. */
  readonly potentials: Int32Array;
  /** With `statistics: true`. */
  readonly statistics?: RunStatistics;
  /** With `counts: true`: per spiking layer in model order, spikes of each neuron over all steps, [count, C, H, W]. */
  readonly counts?: readonly Uint16Array[];
}

/** Sums over the whole batch. */
export interface RunStatistics {
  /** Per spiking layer in model order: spikes at each time step, [timeSteps]. */
  readonly spikes: readonly Float64Array[];
  /**
   * Per synapse, layers and their synapses in model order. For a spiking source: additions at each time step, that is
   * spike x non-zero weight pairs [timeSteps]. For the analog input: multiplications of a non-zero pixel with a
   * non-zero weight, done once [1]. An identity counts as one weight a channel. Behind a pool, each spike (or non-zero
   * pixel) of a window counts.
   */
  readonly synapticOperations: readonly Float64Array[];
}

export interface RunOptions {
  /** 1 to 1,024. */
  readonly timeSteps: number;
  readonly statistics?: boolean;
  readonly counts?: boolean;
}
