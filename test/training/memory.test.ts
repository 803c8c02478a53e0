import { fromBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { ModelProtoSchema, type NodeProto } from '../../src/onnx/onnx_pb.js';
import { trainingModel } from '../../src/training/models.js';
import { tinyNetwork } from '../support/tinyDataset.js';

// ONNX Runtime decides when it runs a node by what asks for it and by the order in the model; both decide what stays in memory.
const options = { noise: 'none', activityPenalty: 0, labelSmoothing: 0, mixup: 0 } as const;
const nodes = fromBinary(ModelProtoSchema, trainingModel(tinyNetwork(), options)).graph!.node;
const producers = new Map(nodes.flatMap((node) => node.output.map((name) => [name, node] as const)));

function ancestors(name: string, found = new Set<NodeProto>()): Set<NodeProto> {
  const node = producers.get(name);
  if (node && !found.has(node)) {
    found.add(node);
    for (const input of node.input) ancestors(input, found);
  }
  return found;
}

test('the mask of every activation is computed on the way to the loss, not in the backward pass', () => {
  const forward = ancestors('loss');
  // Two activations; the third comparison counts the hits and has nothing to do with the loss.
  expect(nodes.filter(({ opType }) => opType === 'Equal').map((node) => forward.has(node))).toEqual([true, true, false]);
});

test('the gradients of weights come after all others, the last layer last, so that it is computed first', () => {
  const place = (parameter: string): number => nodes.indexOf(producers.get(producers.get(`${parameter}.grad`)!.input[0]!)!);
  const [first, second] = [place('first.conv.weight'), place('second.conv.weight')];
  const inputGradients = nodes.flatMap(({ name }, i) => (name.startsWith('dX') ? [i] : []));
  expect(Math.max(...inputGradients)).toBeLessThan(first);
  expect(first).toBeLessThan(second);
});
