export interface AheadOptions {
  /** Calls of the work at the same time. */
  readonly parallel: number;
  /** Results that wait to be taken, and calls in progress, at most. */
  readonly ahead: number;
}

/** What `work` gives for `first` up to `last`, in order, begun before it is asked for. A failure comes when its turn comes. */
export async function* ahead<T>(first: number, last: number, work: (index: number) => Promise<T>, options: AheadOptions): AsyncGenerator<T> {
  const turn = limiter(options.parallel);
  const waiting: Promise<T>[] = [];
  let next = first;
  while (waiting.length > 0 || next < last) {
    while (waiting.length < options.ahead && next < last) {
      const index = next++;
      const result = turn(() => work(index));
      result.catch(() => undefined); // met below, when it is taken
      waiting.push(result);
    }
    yield await waiting.shift()!;
  }
}

/** Runs at most `parallel` of the calls at a time, in the order that they came in. */
function limiter(parallel: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = parallel;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => queue.push(resolve));
    try {
      return await work();
    } finally {
      const following = queue.shift();
      if (following) following();
      else free++;
    }
  };
}
