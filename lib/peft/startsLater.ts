// LoRA that begins in weights or data: found after attaching, and written to files as plain LoRA.

import { check, fail } from '../errors.ts'
import { openCheckpoint, type TensorInMemory } from '../io/safetensors.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import { eva } from './eva.ts'
import type { Host, Placement } from './method.ts'
import { type Begun, begin, checkStart, type LoraStart, matchedAt, takesPart } from './starts.ts'

type Pattern = Readonly<Record<string, number>>

/** What of LoRA's options counts here. */
interface StartOptions {
  readonly initLoraWeights: LoraStart
  readonly evaRho: number
  readonly r: number
  readonly alpha: number
  readonly useRslora: boolean
  readonly rankPattern: Pattern
  readonly alphaPattern: Pattern
}

/** The placement of LoRA whose factors are found later; `isRead`: its values come from a file. */
export function foundLater(
  host: Host,
  placement: Placement,
  layers: readonly Begun[],
  options: StartOptions,
  isRead: boolean,
): Placement {
  const { initLoraWeights: start, evaRho } = options
  checkStart(host, start)
  let isFound = host.device.kind === 'meta'
  const checkFound = () =>
    check(isFound, 'ERR_OPTION', () => {
      return `${start}: the factors are found after attaching; await adapter.prepare() before anything is computed (train does)`
    })
  let matched = placement.matched
  const found = layers.map(({ linear: { path }, adapter }) => [path, guarded(adapter, checkFound)] as const)
  return {
    ...placement,
    linear: new Map([...placement.linear, ...found]),
    get matched() {
      return matched
    },
    async prepare(passes, isFilled) {
      if (start === 'eva' && !isFilled) {
        const ranks = await eva(host, layers, passes, evaRho)
        matched = matched.map(({ path, scale = 1, r = 0 }) => matchedAt({ path, scale, r: ranks.get(path) ?? r }))
      } else await beginAll(host, start, layers, isFilled)
      isFound = true
    },
    // A file of PEFT's that counts on its reader to take the part out is written again as it was.
    ...(!isRead && {
      settings: () => ({ ...placement.settings?.(), ...settings(layers, options) }),
      ...(takesPart(start) && { pack: (tensors: readonly TensorInMemory[]) => packed(tensors, layers) }),
    }),
  }
}

/** Finds the values of all layers; what LoftQ reads is opened once. */
async function beginAll(host: Host, start: LoraStart, layers: readonly Begun[], isFilled: boolean): Promise<void> {
  const source = start === 'loftq' && !isFilled ? openCheckpoint(host.path ?? '') : undefined
  try {
    for (const layer of layers) await begin(host, start, layer, isFilled, source)
  } finally {
    source?.close()
  }
}

/** Nothing is computed with it before `checkFound` lets it be. */
function guarded(adapter: LinearAdapter, checkFound: () => void): LinearAdapter {
  const { factors = () => fail('ERR_OPTION', 'initLoraWeights: there are no factors'), delta } = adapter
  return {
    ...adapter,
    factors: () => {
      checkFound()
      return factors()
    },
    ...(delta && {
      delta: (...of: Parameters<typeof delta>) => {
        checkFound()
        return delta(...of)
      },
    }),
  }
}

/** Options of the plain LoRA that is written: of twice the rank, or of the ranks that were given. */
function settings(layers: readonly Begun[], options: StartOptions): Partial<StartOptions> {
  const { initLoraWeights: start, r, alpha, useRslora, rankPattern, alphaPattern } = options
  if (takesPart(start)) {
    const by = (factor: number, pattern: Pattern) =>
      Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, factor * value]))
    const wider = useRslora ? Math.SQRT2 : 2 // the scale stays
    return {
      initLoraWeights: true,
      ...{ r: 2 * r, alpha: wider * alpha },
      ...{ rankPattern: by(2, rankPattern), alphaPattern: by(wider, alphaPattern) },
    }
  }
  if (start !== 'eva') return { initLoraWeights: true }
  const others = (usual: number, of: (layer: Begun) => number) =>
    Object.fromEntries(layers.flatMap(each => (of(each) === usual ? [] : [[each.linear.path, of(each)]])))
  return {
    initLoraWeights: true,
    rankPattern: others(r, ({ a }) => a.rows),
    alphaPattern: others(alpha, ({ a, scale }) => scale * (useRslora ? Math.sqrt(a.rows) : a.rows)),
  }
}

/** A and B with what is taken out of the weight beside them. */
function packed(tensors: readonly TensorInMemory[], layers: readonly Begun[]): TensorInMemory[] {
  const parts = new Map(layers.map(({ linear, part }) => [linear.path, part]))
  return tensors.map(tensor => {
    const [, path, which] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(tensor.name) ?? []
    const part = path === undefined ? undefined : parts.get(path)
    return part ? part.written(tensor, which === 'A' ? 'A' : 'B') : tensor
  })
}
