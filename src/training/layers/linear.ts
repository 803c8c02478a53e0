import type { LinearNode } from '../../graph/graph.js';
import { emitWeight } from '../../onnx/layers.js';
import type { LayerRule } from './rule.js';

export const linearRule: LayerRule<LinearNode> = ({ onnx }, node, [input]) => {
  const parameter = `${node.name}.weight`;
  const weight = emitWeight(onnx, node);
  const bias = `${node.name}.bias`;
  return {
    value: onnx.node('Gemm', node.bias ? [input!.value, weight, bias] : [input!.value, weight], { transB: 1 }, node.name),
    backward: (gradient, needsInput) => ({
      inputs: [needsInput ? onnx.node('Gemm', [gradient, weight], {}, 'dX') : undefined],
      parameters: {
        [parameter]: onnx.node('Gemm', [gradient, input!.value], { transA: 1 }, 'dW'),
        ...(node.bias ? { [bias]: onnx.node('ReduceSum', [gradient, onnx.ints([0])], { keepdims: 0 }) } : {}),
      },
    }),
  };
};
