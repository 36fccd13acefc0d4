/**
 * `lowrank/peft`: methods of fine-tuning, and adapters: attached, loaded, combined, converted, merged and saved as PEFT
 * does.
 *
 * @module
 */

export type { CodeType } from '../io/bitsandbytesWrite.ts'
export type { FloatDtype, StorageDtype } from '../io/dtype.ts'
export type { GgufType } from '../io/gguf/quantize.ts'
export type { Json, JsonObject } from '../io/json.ts'
export type { PyFloat, PyJson, PyObject } from '../io/parseJson.ts'
export type { TensorInfo } from '../io/safetensorsHeader.ts'
export type { Source } from '../peft/adapter.ts'
export type { AdapterConfig } from '../peft/config.ts'
export type { AdapterContext, LayerOptions, Resolved, SaveWholeOptions, TargetOptions } from '../peft/fields.ts'
export * from '../peft/index.ts'
export type { SaveMergedOptions } from '../peft/merged.ts'
export type { Attachment, PlaceContext, Placement, StateEntry } from '../peft/method.ts'
export type { NetworkOptions, PrefixOptions } from '../peft/prompt.ts'
