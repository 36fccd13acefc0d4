// What a run's result depends on, so that a checkpoint goes on only where it came from.

import { createHash, type Hash } from 'node:crypto'
import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import { check } from '../errors.ts'
import { isObject, isPyJson, type PyJson, type PyObject, stringifyPython } from '../io/json.ts'
import type { Model } from '../model.ts'
import { isQuantized } from '../nn/module.ts'
import { dequantize } from '../ops/quantize.ts'
import { isRecord } from '../options.ts'
import type { Adapter } from '../peft/adapter.ts'
import { scope, type Tensor } from '../tensor.ts'
import type { TrainExamples } from './events.ts'
import { TRAIN_OPTIONS } from './options.ts'
import type { TrainSettings } from './settings.ts'

/** Everything by name that decides the bytes a run ends with; numbers of threads do not. */
export interface Origin {
  /** `avx512`, say: another instruction set rounds differently. */
  readonly instructionSet: string
  readonly device: string
  /** SHA-256 of token ids and labels of the training and validation splits. */
  readonly data: string
  /** SHA-256 of the config and of the weights that do not train: large ones by samples, see {@link sampleOf}. */
  readonly model: string
  /** SHA-256 of the method's settings and of what trains. */
  readonly method: string
  readonly settings: Readonly<Record<string, number | string | boolean>>
  /** The method and its options as JSON: what a difference of `method` is told by. */
  readonly methodOptions?: Readonly<Record<string, string>> | undefined
}

/** A frozen weight of more bytes than this is recognised by samples. */
const WHOLE = 1 << 20
const SAMPLES = 16
const SAMPLE_BYTES = 4096

/** Where a run comes from. */
export async function originOf(
  model: Model,
  method: Adapter,
  data: TrainExamples,
  settings: TrainSettings,
  classWeights: readonly number[] | undefined,
): Promise<Origin> {
  const decides = (name: string) =>
    name in TRAIN_OPTIONS && !('neutral' in (Object.entries(TRAIN_OPTIONS).find(([key]) => key === name)?.[1] ?? {}))
  const values = Object.entries({ maxSteps: 'all', ...settings }).filter(([name]) => decides(name))
  const { transform, teacher } = settings
  return {
    instructionSet: model.device.hardware,
    device: model.device.name,
    data: dataHash(data),
    model: await modelHash(model, method),
    method: methodHash(method),
    settings: {
      ...Object.fromEntries(values),
      classWeights: classWeights?.join(' ') ?? 'none',
      transform: transform ? `${transform.name} ${transform.key}` : 'none',
      ...(teacher ? { teacher: await teacherHash(teacher) } : {}),
    },
    methodOptions: optionTexts(method),
  }
}

/** All differences between where a checkpoint came from and this run, in words; undefined where there is none. */
export function originDifference(saved: Origin, now: Origin): string | undefined {
  const plain = { instructionSet: 'instruction set', device: 'device' } as const
  const found = (['instructionSet', 'device'] as const).flatMap(key =>
    saved[key] === now[key] ? [] : [`the ${plain[key]} is ${now[key]}, it was ${saved[key]}`],
  )
  for (const name of new Set([...Object.keys(saved.settings), ...Object.keys(now.settings)])) {
    const [was, is] = [saved, now].map(({ settings }) => settings[name] ?? 'none')
    if (was !== is) found.push(`${name} is ${is}, it was ${was}`)
  }
  const hashes = { data: 'training or validation data', model: 'base model', method: "method's settings" } as const
  for (const key of ['data', 'model', 'method'] as const) {
    const named = key === 'method' ? methodDifferences(saved, now) : []
    if (saved[key] === now[key]) continue
    const hash = `the ${hashes[key]} differ (SHA-256 ${now[key].slice(0, 12)}…, it was ${saved[key].slice(0, 12)}…)`
    found.push(...(named.length > 0 ? named : [hash]))
  }
  return found.length > 0 ? found.join(', and ') : undefined
}

function methodDifferences({ methodOptions: saved }: Origin, { methodOptions: now }: Origin): string[] {
  if (!isRecord(saved) || !now) return []
  return [...new Set([...Object.keys(now), ...Object.keys(saved)])].flatMap(name => {
    const [was, is] = [saved[name] ?? 'not given', now[name] ?? 'not given']
    return was === is ? [] : [`${name} is ${is}, it was ${was}`]
  })
}

/** SHA-256 of what the examples of the splits that decide a run hold. */
export function dataHash({ train, validation = [] }: TrainExamples): string {
  const hash = createHash('sha256')
  for (const examples of [train, validation]) addExamples(hash, examples)
  return hash.digest('hex')
}

/** SHA-256 of what the examples of one split hold. */
export function examplesHash(examples: List<Example>): string {
  const hash = createHash('sha256')
  addExamples(hash, examples)
  return hash.digest('hex')
}

function addExamples(hash: Hash, examples: List<Example>): void {
  hash.update(`${examples.length};`)
  for (const example of examples) addExample(hash, example)
}

function addExample(hash: Hash, { ids, typeIds, label, target, other, preference }: Example): void {
  const labels = label === undefined ? undefined : typeof label === 'number' ? Float64Array.of(label) : label
  for (const array of [ids, typeIds, labels, ...(target ? [target] : []), ...(other ? [other.ids, other.label] : [])]) {
    hash.update(`${array?.byteLength ?? -1};`)
    if (array) hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  }
  if (preference) hash.update(JSON.stringify([preference.goal, preference.wanted ?? null]))
}

/** SHA-256 of a teacher, with the adapters on it. */
async function teacherHash(teacher: Model): Promise<string> {
  const hash = createHash('sha256').update(await modelHash(teacher))
  for (const adapter of teacher.adapters.values())
    for (const [name, { tensor }] of adapter.tensors()) hash.update(name).update(new Uint8Array(await tensor.bytes()))
  return hash.digest('hex')
}

async function modelHash(model: Model, { trainable }: Pick<Adapter, 'trainable'> = { trainable: [] }): Promise<string> {
  const hash = createHash('sha256')
  const { config, task, head, labels, compute, storage } = model
  const { _name_or_path: _, ...values } = config.values
  hash.update(stringifyPython({ modelType: config.modelType, values, task, problem: head.problem, compute, storage }))
  hash.update(JSON.stringify(labels))
  const trained = new Set(trainable)
  for (const parameter of model.parameters.values()) {
    if (trained.has(parameter.top)) continue
    hash.update(`${parameter.name} ${parameter.tensor.dtype} ${parameter.shape.join('x')};`)
    for (const bytes of await sampleOf(parameter.tensor)) hash.update(new Uint8Array(bytes))
  }
  return hash.digest('hex')
}

/**
 * What a frozen weight is recognised by: all of it up to a mebibyte, else 16 pieces of 4 KiB spread evenly. A base of
 * another checkpoint differs in every piece, and one of 14 GB is not to pass through the host before each run. Large
 * quantised weights have no parts: the norms, biases and embeddings beside them speak for them.
 */
async function sampleOf(tensor: Tensor): Promise<ArrayBuffer[]> {
  if (tensor.byteLength <= WHOLE) return [await valuesOf(tensor)]
  if (isQuantized(tensor.dtype)) return []
  const length = SAMPLE_BYTES / (tensor.byteLength / tensor.size)
  const starts = Array.from({ length: SAMPLES }, (_, i) => Math.floor(((tensor.size - length) * i) / (SAMPLES - 1)))
  // Reads are in the queue before the scope frees the views.
  const { reads } = scope(() => ({ reads: starts.map(start => tensor.view(start, [length]).bytes()) }))
  return Promise.all(reads)
}

/** Bytes of a tensor; of codes their values, since rows of codes may end in bytes that nobody writes. */
function valuesOf(tensor: Tensor): Promise<ArrayBuffer> {
  if (!isQuantized(tensor.dtype)) return tensor.bytes()
  // The read is in the queue before the scope frees the values.
  return scope(() => ({ read: dequantize(tensor).bytes() })).read
}

function methodHash(attached: Adapter): string {
  const { method, trainable } = attached
  const record = attached.config()
  // The path of the base says nothing that its weights do not.
  const kept: PyObject = isObject(record) ? record : {}
  const { base_model_name_or_path: _, revision: __, ...settings } = kept
  // What the file does not hold counts too: penalties, learning rates of groups.
  const options = method.kind.fields.flatMap(({ name, peft }) => (peft ? [] : [[name, optionOf(method, name)]]))
  const tensors = trainable.map(({ name, shape }) => `${name} ${shape.join('x')}`)
  const text = stringifyPython({ type: method.type, settings, options, tensors })
  return createHash('sha256').update(text).digest('hex')
}

function optionTexts({ method: { type, options } }: Adapter): Record<string, string> {
  const given = Object.entries({ method: type, ...options }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given.map(([name, value]) => [name, JSON.stringify(value) ?? String(value)]))
}

function optionOf({ options }: Adapter['method'], name: string): PyJson {
  const value = options[name] ?? null
  check(isPyJson(value), 'ERR_OPTION', () => `${name}: is no value that a checkpoint can be known by`)
  return value
}
