import type { ParameterSpec } from '../graph/parameters.js';
import type { OnnxBuilder } from '../onnx/builder.js';
import { elementCount } from '../tensor.js';

/** Below this many elements, launching a GPU kernel takes longer than what it computes. */
const small = 8192;

/** A parameter of the training loop: one of the network, or all small ones of a role end to end, which are updated as one. */
export interface JoinedParameter {
  readonly spec: ParameterSpec;
  /** In the order of the graph; one, of the same name, where nothing is joined. */
  readonly members: readonly ParameterSpec[];
}

/** A joined parameter where its first member was, so that the gradients are asked for in the order of the graph. */
export function joinSmall(specs: readonly ParameterSpec[]): JoinedParameter[] {
  const isSmall = ({ shape }: ParameterSpec): boolean => elementCount(shape) <= small;
  const done = new Set<string>();
  return specs.flatMap((spec): JoinedParameter[] => {
    const members = isSmall(spec) ? specs.filter((other) => other.role === spec.role && isSmall(other)) : [spec];
    if (members.length === 1) return [{ spec, members }];
    if (done.has(spec.role)) return [];
    done.add(spec.role);
    const length = members.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    return [{ spec: { name: `joined/${spec.role}`, role: spec.role, shape: [length] }, members }];
  });
}

/** Values of the shapes of the members, end to end. */
export function emitJoin(onnx: OnnxBuilder, { members }: JoinedParameter, valueOf: (member: ParameterSpec) => string): string {
  if (members.length === 1) return valueOf(members[0]!);
  const vectors = members.map((member) => {
    const value = onnx.widen(valueOf(member));
    return member.shape.length === 1 ? value : onnx.node('Reshape', [value, onnx.ints([-1])]);
  });
  return onnx.node('Concat', vectors, { axis: 0 });
}

/** The parts of a joined value under the names given, one for each member, in the members' shapes. */
export function emitSplit(onnx: OnnxBuilder, { members }: JoinedParameter, value: string, names: readonly string[]): void {
  const flat = names.map((name, i) => (members[i]!.shape.length === 1 ? name : `${onnx.prefix}${name}.flat`));
  onnx.nodeNamed('Split', [value, onnx.ints(members.map(({ shape }) => elementCount(shape)))], flat, { axis: 0 });
  members.forEach(({ shape }, i) => {
    if (shape.length !== 1) onnx.nodeNamed('Reshape', [flat[i]!, onnx.ints(shape)], [names[i]!]);
  });
}
