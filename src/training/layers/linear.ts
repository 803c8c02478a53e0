import type { LinearNode } from '../../graph/graph.js';
import type { LayerRule } from './rule.js';

export const linearRule: LayerRule<LinearNode> = ({ onnx }, node, [input]) => {
  const weight = `${node.name}.weight`;
  const bias = `${node.name}.bias`;
  return {
    value: onnx.node('Gemm', node.bias ? [input!.value, weight, bias] : [input!.value, weight], { transB: 1 }, node.name),
    backward: (gradient, needsInput) => ({
      inputs: [needsInput ? onnx.node('Gemm', [gradient, weight], {}, 'dX') : undefined],
      parameters: {
        [weight]: onnx.node('Gemm', [gradient, input!.value], { transA: 1 }, 'dW'),
        ...(node.bias ? { [bias]: onnx.node('ReduceSum', [gradient, onnx.ints([0])], { keepdims: 0 }) } : {}),
      },
    }),
  };
};
