import { GraphBuilder } from 'noisefloor';

/** Two convolutions, a residual and an average pool. */
export default function tinyResidual({ inputShape, classes, activation, width = 1 }) {
  const b = new GraphBuilder('tiny-residual', inputShape);
  const channels = Math.round(8 * width);
  const convBn = (input, name, stride) =>
    b.batchNorm(b.conv2d(input, `${name}.conv`, { outChannels: channels, kernel: 3, padding: 1, stride }), `${name}.bn`);
  const first = b.activation(convBn(b.input, 'first', 2), 'first.act', activation);
  const sum = b.add(convBn(first, 'second', 1), first, 'sum');
  const second = b.activation(sum, 'second.act', activation);
  const pooled = b.flatten(b.avgPool(second, 'pool', 2), 'flatten');
  return b.build(b.linear(pooled, 'fc', { outFeatures: classes }));
}
