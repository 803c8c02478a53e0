import type { ConcatNode } from '../../graph/graph.js';
import type { LayerRule } from './rule.js';

export const concatRule: LayerRule<ConcatNode> = ({ onnx, shapes }, node, inputs) => ({
  value: onnx.node('Concat', inputs.map((input) => input.value), { axis: 1 }, node.name),
  backward: (gradient) => {
    const channels = node.inputs.map((name) => shapes.get(name)![0]!);
    return { inputs: onnx.nodes('Split', [gradient, onnx.ints(channels)], channels.length, { axis: 1 }), parameters: {} };
  },
});
