// The public API, in the order that data takes.
export { NoisefloorError, errorCodes, type ErrorCode } from './errors.js';

export type { Dataset, Normalization, Split } from './data/dataset.js';
export { datasetSpecs, imageSpecs, openDataset, openImages } from './data/open.js';
export type { PictureInput } from './data/imagenet/open.js';
export { interpolations, type Interpolation, type Preprocessing } from './data/preprocessing.js';
export { readSplit, type BatchOptions, type DamagedImage, type ImageBatch, type ImageSource } from './data/source.js';
export { normalizeBatch, normalizeImages } from './data/batches.js';
export { augmentationNames, type AugmentationName } from './data/augment/pipeline.js';

export type * from './graph/graph.js';
export { activationKinds } from './graph/graph.js';
export type { NeuronSettings, TrainedNetwork } from './graph/network.js';
export { GraphBuilder, type Conv2dOptions } from './graph/builder.js';
export { inferShapes } from './graph/shapes.js';
export { buildNetwork, networkNames, type NetworkName, type NetworkOptions } from './graph/networks/index.js';
export type { Parameters, Tensor } from './tensor.js';

export { train, type TrainResult } from './training/train.js';
export { devices, type Device } from './onnx/device.js';
export type { EpochLog, SpikingValidation, TrainConfig, TrainOptions, TrainProgress } from './training/options.js';
export { noiseKinds, type NoiseKind } from './training/layers/rule.js';
export type { ActivationOptions } from './training/activation.js';
export type { Distillation, DistillationOptions } from './training/distillation.js';
export { gradientKinds, type GradientKind } from './training/temporal/options.js';
export { surrogateKinds, type SurrogateKind } from './training/layers/surrogate.js';
export { noiseLaws, noiseVariants, penaltyKinds, type MethodOptions, type NoiseLaw, type NoiseVariant, type PenaltyKind } from './training/method.js';
export type { AdamWOptions, OptimizerOptions, SgdOptions } from './training/optimizers.js';
export { readCheckpoint, writeNetwork } from './training/checkpoint.js';
export { averageNetworks } from './training/averageNetworks.js';
export { heldOutImages } from './training/heldOut.js';

export { readNir } from './nir/read.js';
export { encodeNir } from './nir/write.js';
export { readOnnx, type ReadOnnxOptions } from './import/readOnnx.js';
export type { ReadOptions } from './import/options.js';

export { convert, type Conversion, type ConvertOptions } from './convert/convert.js';
export type { CalibrationImages } from './convert/activations.js';
export { calibrate, calibrationCorrections, type CalibrationCorrection, type CalibrationOptions } from './convert/calibrate.js';
export { calibrationMethods, type CalibrationMethod } from './convert/thresholds.js';
export { weightTypes, type WeightType } from './convert/quantize.js';
export type { ConversionReport, LayerReport, ObservedLoss } from './convert/report.js';
export { exportOnnx, type ExportOptions } from './onnx/export.js';
export { exportInt8Onnx, int8Ranges, type ValueRange } from './onnx/int8.js';

export type * from './snn/model.js';
export type { RunOptions, RunResult, RunStatistics } from './snn/run.js';
export { decodeSpikingModel, encodeSpikingModel, readSpikingModel, writeSpikingModel } from './snn/file.js';
export { simulate, simulateStream } from './snn/reference.js';
export { SpikingSession, activeIsa, type SessionOptions } from './snn/session.js';
export { SpikingStream, resetParts, type PushOptions, type ResetPart, type StreamResult } from './snn/stream.js';
export {
  confidenceMeasures,
  type ConfidenceMeasure,
  type EarlyExitOptions,
  type EarlyExitResult,
  type EarlyExitRule,
} from './snn/earlyExit.js';
export type { Isa } from './native.js';

export { zooModels, type ZooModel } from './zoo/catalogue.js';
export { cacheFolder, zooModelPath, type ZooOptions } from './zoo/zoo.js';

export { evaluate, type EvaluateOptions, type Evaluation, type LayerEvaluation, type SynapticOperations } from './evaluate/evaluate.js';
export { evaluateEarlyExit, type EarlyExitEvaluation, type EarlyExitPoint, type EvaluateEarlyExitOptions } from './evaluate/earlyExit.js';
export type { ModelledEnergy, ModelledEnergyRow } from './evaluate/energy.js';
export type { Images, Simulator } from './evaluate/simulator.js';
export type { Latency } from './evaluate/parts.js';
export { logitsFromPotentials, topClasses } from './evaluate/logits.js';
export { DenseSession, evaluateDense, type DenseEvaluation, type DenseOptions, type EvaluateDenseOptions } from './evaluate/dense.js';
export { compareLayers, type CompareOptions, type LayerComparison } from './evaluate/compare.js';

export { serve, RunningServer, type ServeOptions } from './serve/serve.js';
export { InferenceService, type ServiceOptions } from './serve/service.js';
export { denseSource, spikingSource, type EngineOptions, type ModelSource, type VersionFile } from './serve/modelSource.js';
export type { Answers, Backend, RunSettings } from './serve/backend.js';
export type { BatchLimits } from './serve/limits.js';
export { pictureInput } from './serve/picture.js';
export { bestClasses, type ScoredClass } from './evaluate/logits.js';
