/**
 * `lowrank/ops`: tensors, and the ops of models and heads of one's own; each is recorded on a tape where an input
 * requires a gradient.
 *
 * @module
 */

export type { GroupBackward } from '../autograd/tape.ts'
export { type Postponed, Tape } from '../autograd/tape.ts'
export type { Checkpoint, FileRange, TensorInMemory, TensorToWrite } from '../io/safetensors.ts'
export type { Handle } from '../native.ts'
export type { Activation } from '../ops/activation.ts'
export { activation } from '../ops/activation.ts'
export { add } from '../ops/add.ts'
export { bce } from '../ops/bce.ts'
export type { CrossEntropyOptions } from '../ops/crossEntropy.ts'
export { crossEntropy } from '../ops/crossEntropy.ts'
export { dropout } from '../ops/dropout.ts'
export { embedding } from '../ops/embedding.ts'
export type { LayerNormInput } from '../ops/layerNorm.ts'
export { layerNorm } from '../ops/layerNorm.ts'
export { linear } from '../ops/linear.ts'
export type { LowRankFactors } from '../ops/loraLinear.ts'
export type { Compute } from '../ops/matmul.ts'
export { matmul } from '../ops/matmul.ts'
export { mse } from '../ops/mse.ts'
export { multiply } from '../ops/multiply.ts'
export type { Quantized } from '../ops/quantize.ts'
export type { StepRandom } from '../ops/random.ts'
export { site, withRandom } from '../ops/random.ts'
export type { RmsNormInput } from '../ops/rmsNorm.ts'
export { rmsNorm } from '../ops/rmsNorm.ts'
export type { RopeInput } from '../ops/rope.ts'
export { scale } from '../ops/scale.ts'
export type { Synchronous } from '../tensor.ts'
export { Device, scope, Tensor, type TensorData } from '../tensor.ts'
