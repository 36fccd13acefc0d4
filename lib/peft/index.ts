export {
  attach,
  type LoadOptions,
  loadAdapter,
  mergeAdapter,
  type SaveOptions,
  saveAdapter,
  saveMerged,
} from './adapter.ts'
export type { Bias, LoraOptions, TaskType } from './config.ts'
export { type FullOptions, fullFineTuning } from './full.ts'
export { type AdapterInfo, readAdapterInfo } from './info.ts'
export { lora } from './lora.ts'
export type { Attached, AttachOptions, Host, Matched, Method, Regularizer } from './method.ts'
export { METHODS, type MethodKind, methodOf } from './registry.ts'
export { penalty } from './regularizer.ts'
