import type { NodeProto } from '../onnx/onnx_pb.js';

/** Nodes that the output depends on, in their order, with straight-through estimators taken for what they compute. */
export function liveNodes(nodes: readonly NodeProto[], output: string): NodeProto[] {
  const rewritten = withoutStraightThrough(nodes);
  const read = new Set([output]);
  const live = [...rewritten].reverse().filter((node) => {
    if (!node.output.some((name) => read.has(name))) return false;
    for (const name of node.input) read.add(name);
    for (const { g, graphs } of node.attribute) for (const body of g ? [g] : graphs) for (const inner of body.node) for (const name of inner.input) read.add(name);
    return true;
  });
  return live.reverse();
}

/**
 * Quantisers written as (q - u) + u, so that training passes the gradient to u: the value is q. Whatever reads that sum is
 * made to read q.
 */
function withoutStraightThrough(nodes: readonly NodeProto[]): NodeProto[] {
  const makers = new Map(nodes.flatMap((node) => node.output.map((name): [string, NodeProto] => [name, node])));
  const renamed = new Map<string, string>();
  for (const node of nodes) {
    if (node.opType !== 'Add') continue;
    for (const [difference, u] of [[node.input[0]!, node.input[1]!], [node.input[1]!, node.input[0]!]] as const) {
      const maker = makers.get(difference);
      const rounded = maker?.opType === 'Sub' && maker.input[1] === u ? maker.input[0]! : undefined;
      if (rounded !== undefined && rounds(makers, rounded, u)) renamed.set(node.output[0]!, rounded);
    }
  }
  if (renamed.size === 0) return [...nodes];
  const current = (name: string): string => (renamed.has(name) ? current(renamed.get(name)!) : name);
  const kept = nodes.filter((node) => !renamed.has(node.output[0]!));
  for (const node of kept) node.input = node.input.map(current);
  return kept;
}

/** Whether `rounded` is u after element-wise steps of a quantiser. */
function rounds(makers: ReadonlyMap<string, NodeProto>, rounded: string, u: string): boolean {
  const steps = new Set(['Round', 'Floor', 'Clip', 'Mul', 'Div', 'Add', 'Sub', 'Relu', 'Identity']);
  for (let name = rounded, left = 16; left > 0; left--) {
    if (name === u) return name !== rounded;
    const maker = makers.get(name);
    if (!maker || !steps.has(maker.opType)) return false;
    name = maker.input[0]!;
  }
  return false;
}
