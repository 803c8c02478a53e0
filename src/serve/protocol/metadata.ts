import { packageVersion } from '../../report/machine.js';
import type { Backend } from '../backend.js';
import type { ServedModel } from '../servedModel.js';
import { inputName } from './inferRequest.js';

export const extensions = ['binary_tensor_data', 'classification', 'model_repository', 'parameters'] as const;

export function serverMetadata(): object {
  return { name: 'noisefloor', version: packageVersion(), extensions };
}

export function modelMetadata(model: ServedModel, { kind, input, classes, smallestTimeSteps, largestTimeSteps, layers }: Backend): object {
  return {
    name: model.name,
    versions: model.versions.map(({ version }) => version),
    platform: kind === 'spiking' ? 'noisefloor_spiking' : 'noisefloor_onnxruntime',
    inputs: [{ name: inputName, datatype: 'FP32', shape: [-1, ...input.shape] }],
    outputs: [
      { name: 'logits', datatype: 'FP32', shape: [-1, classes.length] },
      { name: 'steps', datatype: 'INT32', shape: [-1] },
      { name: 'top_index', datatype: 'INT32', shape: [-1, -1] },
      { name: 'top_label', datatype: 'BYTES', shape: [-1, -1] },
      { name: 'top_probability', datatype: 'FP32', shape: [-1, -1] },
    ],
    // Beyond the protocol, for people and for the page.
    labels: classes,
    smallest_time_steps: smallestTimeSteps,
    largest_time_steps: largestTimeSteps,
    spiking_layers: layers,
  };
}

/** Triton's index of the repository: every version that is loaded, and models that are not. */
export function repositoryIndex(models: Iterable<ServedModel>, readyOnly: boolean): object[] {
  return [...models].flatMap((model) => {
    if (model.versions.length === 0) return readyOnly ? [] : [{ name: model.name, version: '', state: 'UNAVAILABLE', reason: model.problem ?? 'unloaded' }];
    const reason = model.problem === undefined ? '' : `the last load failed, this version stays: ${model.problem}`;
    return model.versions.map(({ version }) => ({ name: model.name, version, state: 'READY', reason }));
  });
}
