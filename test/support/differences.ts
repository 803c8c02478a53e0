/** Derivatives of `evaluate` by each number of `data`, which is changed in place and put back. */
export function centralDifferences(data: Float64Array, evaluate: () => number): Float64Array {
  const h = 1e-5;
  return data.map((kept, i) => {
    data[i] = kept + h;
    const above = evaluate();
    data[i] = kept - h;
    const below = evaluate();
    data[i] = kept;
    return (above - below) / (2 * h);
  });
}
