/**
 * Energy of one arithmetic operation in picojoules, 45 nm at 0.9 V: M. Horowitz, "Computing's energy problem (and what
 * we can do about it)", ISSCC 2014.
 */
export const horowitz45nm = {
  int8: { add: 0.03, multiply: 0.2 },
  int32: { add: 0.1, multiply: 3.1 },
  fp32: { add: 0.9, multiply: 3.7 },
} as const;

export type EnergyTable = keyof typeof horowitz45nm;

/** Operations of one image. */
export interface Operations {
  readonly accumulates: number;
  readonly multiplyAccumulates: number;
}

/** Modelled, never measured: arithmetic alone, without memory traffic, membrane updates and control. */
export interface ModelledEnergy {
  readonly kind: 'modelled';
  readonly source: string;
  readonly formula: string;
  readonly tables: readonly ModelledEnergyRow[];
}

export interface ModelledEnergyRow {
  readonly table: EnergyTable;
  /** Picojoules of an addition and of a multiplication. */
  readonly add: number;
  readonly multiply: number;
  /** Nanojoules an image of the spiking network, in the order of the time steps. */
  readonly spiking: readonly number[];
  /** Nanojoules an image of the dense network in the same arithmetic. */
  readonly dense: number;
}

/**
 * E = (additions + multiply-accumulates) x E_add + multiply-accumulates x E_multiply, for each table of
 * {@link horowitz45nm}. The engine accumulates in int32; int8 is the bound of an accumulator as narrow as the weights,
 * and fp32 (0.9 and 4.6 pJ) is the convention of most publications.
 */
export function modelledEnergy(spiking: readonly Operations[], denseMacs: number): ModelledEnergy {
  const tables = (Object.keys(horowitz45nm) as EnergyTable[]).map((table): ModelledEnergyRow => {
    const { add, multiply } = horowitz45nm[table];
    const nanojoules = ({ accumulates, multiplyAccumulates }: Operations): number =>
      (accumulates * add + multiplyAccumulates * (add + multiply)) / 1000;
    const dense = nanojoules({ accumulates: 0, multiplyAccumulates: denseMacs });
    return { table, add, multiply, spiking: spiking.map(nanojoules), dense };
  });
  return {
    kind: 'modelled',
    source: 'Horowitz, ISSCC 2014, 45 nm',
    formula: 'ACs x add + MACs x (add + multiply)',
    tables,
  };
}
