// Bottleneck adapters as AdapterHub keeps them: adapter_config.json with adapter.safetensors or pytorch_adapter.bin,
// and the head beside it (head_config.json with model_head.safetensors or pytorch_model_head.bin).

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check, fail } from '../errors.ts'
import { writeFolderAtomic } from '../io/atomic.ts'
import { isObject, type PyObject, readExactJson, writeJson } from '../io/json.ts'
import { type Checkpoint, openTorchFile, readSafetensors } from '../io/safetensors.ts'
import { ACTIVATIONS } from '../ops/activation.ts'
import { isOneOf } from '../tuple.ts'
import type { Adapter } from './adapter.ts'
import { FORMS, PLACES } from './bottleneck.ts'
import type { AdapterConfig } from './config.ts'
import { checkValues, snapshot, writeChecked } from './files.ts'
import { type AdapterHubSettings, hubConfig } from './hubConfig.ts'
import type { Host } from './method.ts'

/** What AdapterHub calls the place after a sublayer's last linear layer. */
function placeOf({ family, config: { modelType } }: Host, path: string): string {
  check(family.inAdapterHub, 'ERR_UNSUPPORTED', () => {
    return `AdapterHub: its places in "${modelType}" are not known here; save the adapter in our own layout`
  })
  if (path.endsWith('.output.dense')) return path.slice(0, -'.dense'.length)
  const layer = /^.*?\.\d+(?=\.)/.exec(path)?.[0] ?? ''
  const isAttention = path.endsWith(`.${family.sublayerEnds?.attention}`)
  return `${layer}.${isAttention ? 'attention' : 'output'}_adapters`
}

/** Key of AdapterHub's file for ours, `base_model.model.<path>.adapter_down.weight`; undefined for the head's. */
function hubKey(host: Host, key: string, name: string): string | undefined {
  const [, path, part] = /^base_model\.model\.(.+)\.(adapter_(?:down|up)\.(?:weight|bias))$/.exec(key) ?? []
  return path && part && `${placeOf(host, path)}.adapters.${name}.${part.replace('down.', 'down.0.')}`
}

const withoutPrefix = (key: string) => key.replace(/^base_model\.model\./, '')

/** The first of these files that is there. */
async function openFirst(dir: string, names: readonly [safe: string, torch: string]): Promise<Checkpoint | undefined> {
  const [safe, torch] = names.map(name => join(dir, name))
  if (safe && existsSync(safe)) return readSafetensors(safe)
  return torch && existsSync(torch) ? openTorchFile(torch) : undefined
}

/** The tensors of an AdapterHub folder under our keys; those that no layer of the model explains keep their own. */
export async function readHub(host: Host, dir: string, { path, hubName = '' }: AdapterConfig): Promise<Checkpoint> {
  const body =
    (await openFirst(dir, ['adapter.safetensors', 'pytorch_adapter.bin'])) ??
    fail('ERR_CHECKPOINT', `${path}: neither adapter.safetensors nor pytorch_adapter.bin lies beside it`)
  const head = await headIn(dir)
  const places = new Map<string, readonly [Checkpoint, string]>()
  if (head)
    for (const key of head.names())
      if (!(await isBase(host, head, key))) places.set(`base_model.model.${key}`, [head, key])
  const ours = new Map(
    [...host.linears.keys()].flatMap(layer => {
      const keys = ['down', 'up'].flatMap(part => ['weight', 'bias'].map(what => `adapter_${part}.${what}`))
      const full = keys.map(key => `base_model.model.${layer}.${key}`)
      return isEnd(host, layer) ? full.map(key => [hubKey(host, key, hubName), key] as const) : []
    }),
  )
  for (const key of body.names()) places.set(ours.get(key) ?? key, [body, key])
  const at = (key: string) => places.get(key) ?? fail('ERR_CHECKPOINT', `${body.path}: there is no ${key}`)
  return {
    path: body.path,
    names: () => [...places.keys()],
    has: key => places.has(key),
    info: key => at(key)[0].info(at(key)[1]),
    read: key => at(key)[0].read(at(key)[1]),
    locate: key => at(key)[0].locate(at(key)[1]),
    readF32: key => at(key)[0].readF32(at(key)[1]),
    close: () => {
      for (const each of [body, head]) each?.close()
    },
  }
}

/** Whether a tensor of a head is the base's own, as the output of a language model that was not trained. */
async function isBase(host: Host, file: Checkpoint, key: string): Promise<boolean> {
  if (host.headModules.some(name => key.startsWith(`${name}.`))) return false
  const { shape } = file.info(key)
  const own = [host.parameters.get(key) ?? [], [...host.shared]].flat()
  const values = file.readF32(key)
  for (const { own: tensor } of own.filter(each => `${each.shape}` === `${shape}`)) {
    const found = await tensor.floats()
    if (values.every((x, i) => x === found[i])) return true
  }
  return false
}

/** Whether a layer ends a sublayer. */
function isEnd({ family: { sublayerEnds: ends } }: Host, path: string): boolean {
  return ends !== undefined && (path.endsWith(`.${ends.attention}`) || path.endsWith(`.${ends.feedforward}`))
}

/** The head of the model's own class; AdapterHub's flexible heads are stacks of other layers, and stay out. */
async function headIn(dir: string): Promise<Checkpoint | undefined> {
  const path = join(dir, 'head_config.json')
  const config = existsSync(path) ? readExactJson(path) : undefined
  if (!isObject(config) || isObject(config.config)) return undefined
  return openFirst(dir, ['model_head.safetensors', 'pytorch_model_head.bin'])
}

/**
 * Writes a bottleneck adapter, and its head, as AdapterHub does: `model.load_adapter(dir, use_safetensors=True)` of
 * Python's `adapters` reads it. `name` is what it is called there. The folder appears whole.
 * @throws ERR_UNSUPPORTED for other methods, families, or layers than the ends of sublayers
 */
export async function saveAdapterHub(adapter: Adapter, dir: string, name = 'lowrank'): Promise<void> {
  const { host, method } = adapter
  check(method.type === 'adapter', 'ERR_UNSUPPORTED', () => {
    return `saveAdapterHub: "${adapter.name}" is ${method.kind.title}, and bottleneck adapters alone are written so; save it as it is`
  })
  const stray = adapter.matched.find(({ path }) => !isEnd(host, path))
  check(!stray, 'ERR_UNSUPPORTED', () => `saveAdapterHub: AdapterHub has no place after ${stray?.path}`)
  const entries = [...adapter.tensors()]
  const zeros = new Set(entries.map(([key]) => key).filter(key => key.endsWith('.adapter_up.weight')))
  const found = await snapshot(entries, adapter.fileDtypes)
  checkValues(found, zeros)
  const isHead = (key: string) => hubKey(host, key, name) === undefined
  const body = found.flatMap(each =>
    isHead(each.name) ? [] : [{ ...each, name: hubKey(host, each.name, name) ?? '' }],
  )
  const head = found.flatMap(each => (isHead(each.name) ? [{ ...each, name: withoutPrefix(each.name) }] : []))
  const common = commonOf(host)
  const fill = async (into: string) => {
    await writeChecked(join(into, 'adapter.safetensors'), body)
    await writeJson(join(into, 'adapter_config.json'), { config: hubConfig(settingsOf(adapter)), ...common, name })
    if (head.length === 0) return
    const { labels } = host
    const label2id = Object.fromEntries(labels.map((label, i) => [label, i]))
    await writeChecked(join(into, 'model_head.safetensors'), head)
    await writeJson(join(into, 'head_config.json'), {
      ...{ config: null, ...common, label2id, name: null, num_labels: labels.length },
    })
  }
  await writeFolderAtomic(dir, fill, { owns: file => OWN.includes(file) })
}

/** Files that are written. */
const OWN = ['adapter_config.json', 'adapter.safetensors', 'head_config.json', 'model_head.safetensors']

function settingsOf(adapter: Adapter): AdapterHubSettings {
  const { form, sublayers, reductionFactor, nonLinearity, scaling } = adapter.method.options
  const known = isOneOf(FORMS, form) && isOneOf(ACTIVATIONS, nonLinearity)
  check(known, 'ERR_OPTION', () => `saveAdapterHub: "${adapter.name}" has no form of bottleneck adapters`)
  return {
    ...{ form, nonLinearity, reductionFactor: Number(reductionFactor), scaling: Number(scaling) },
    sublayers: isOneOf(PLACES, sublayers) ? sublayers : form === 'houlsby' ? 'both' : 'feedforward',
  }
}

function commonOf(host: Host): PyObject {
  return {
    hidden_size: host.backbone.hiddenSize,
    model_class: host.className,
    model_name: host.path ?? null,
    model_type: host.config.modelType,
    version: 'adapters.1.3.0',
  }
}
