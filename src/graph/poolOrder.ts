import { inputsOf, type ActivationNode, type Graph, type GraphNode, type MaxPoolNode } from './graph.js';

/**
 * The same function with every max-pooling that only an activation reads behind that activation: activations grow with
 * their input, so the order does not matter to values, but spikes can only be pooled behind the neurons. Names stay.
 */
export function poolsBehindActivations(graph: Graph): Graph {
  const readers = new Map<string, GraphNode[]>();
  for (const node of graph.nodes) for (const input of inputsOf(node)) readers.set(input, [...(readers.get(input) ?? []), node]);
  const activationOf = (node: GraphNode): ActivationNode | undefined => {
    const [reader, ...others] = readers.get(node.name) ?? [];
    const alone = node.op === 'maxPool' && reader?.op === 'activation' && others.length === 0 && graph.output !== node.name;
    return alone ? reader : undefined;
  };
  const pools = new Map<string, MaxPoolNode>();
  for (const node of graph.nodes) {
    const activation = activationOf(node);
    if (activation) pools.set(activation.name, node as MaxPoolNode);
  }
  if (pools.size === 0) return graph;
  const renamed = (name: string): string => pools.get(name)?.name ?? name;
  const nodes = graph.nodes.flatMap((node): GraphNode[] => {
    if (activationOf(node)) return [];
    const pool = pools.get(node.name);
    if (!pool) return [withInputs(node, renamed)];
    return [
      { ...(node as ActivationNode), input: renamed(pool.input) },
      { ...pool, input: node.name },
    ];
  });
  return { ...graph, nodes, output: renamed(graph.output) };
}

function withInputs(node: GraphNode, renamed: (name: string) => string): GraphNode {
  if (node.op === 'add') return { ...node, inputs: [renamed(node.inputs[0]), renamed(node.inputs[1])] };
  if (node.op === 'concat') return { ...node, inputs: node.inputs.map(renamed) };
  return { ...node, input: renamed(node.input) };
}
