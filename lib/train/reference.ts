// What a reference model says of answers that are compared: it never changes, so it is asked once.

import { packExamples } from '../data/batches.ts'
import type { Example, PreferenceGoal } from '../data/example.ts'
import { changed, type List } from '../data/list.ts'
import { fail } from '../errors.ts'
import { asksReference } from '../heads/preferenceLosses.ts'
import type { Model } from '../model.ts'
import { checkOptions } from '../options.ts'
import type { Adapter } from '../peft/adapter.ts'
import { scope } from '../tensor.ts'

interface Splits {
  readonly train: List<Example>
  readonly validation?: List<Example> | undefined
  readonly test?: List<Example> | undefined
}

/** How {@link withReference} goes through examples. */
export interface ReferenceOptions {
  /** The model with its adapters switched off, or as it stands. Default `base`. */
  readonly reference?: PreferenceGoal['reference'] | undefined
  /** Examples of a batch. Default 32. */
  readonly batchSize?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Which model the preferences of a run are held against; undefined where there are none, or none is asked. */
export function referenceGoal(examples: List<Example>): PreferenceGoal['reference'] | undefined {
  const goal = examples.at(0)?.preference?.goal
  return goal && asksReference(goal.loss) ? goal.reference : undefined
}

/**
 * Preferences with the log-probabilities of their answers under the reference. Examples that have them, need
 * none or are no preferences are handed back.
 * @throws ERR_OPTION for an adapter that can't be switched off; ERR_MEMORY where a batch is too large
 */
export async function withReference(
  model: Model,
  examples: List<Example>,
  options: ReferenceOptions = {},
): Promise<List<Example>> {
  checkOptions('withReference', options, { reference: true, batchSize: true, signal: true })
  const first = examples.at(0)?.preference
  if (!first || first.reference || !asksReference(first.goal.loss)) return examples
  if (model.device.kind === 'meta') return referenced(examples, new Float64Array(2 * examples.length))
  const { reference = 'base' } = options
  const switched = reference === 'base' ? [...model.adapters.values()].filter(({ isActive }) => isActive) : []
  for (const adapter of switched) adapter.setActive(false)
  try {
    return referenced(examples, await askAll(model, examples, options))
  } finally {
    for (const adapter of switched) adapter.setActive(true)
  }
}

/** {@link withReference} for every split of a run, before anything of it has changed. */
export async function withReferences(
  { host }: Adapter<Model>,
  { train, validation, test }: Splits,
  batchSize: number,
  signal?: AbortSignal,
): Promise<Splits> {
  const reference = referenceGoal(train)
  const ask = (examples: List<Example>) => withReference(host, examples, { reference, batchSize, signal })
  return {
    train: await ask(train),
    ...(validation ? { validation: await ask(validation) } : {}),
    ...(test ? { test: await ask(test) } : {}),
  }
}

/** Examples with two log-probabilities each. */
function referenced(examples: List<Example>, logProbs: Float64Array): List<Example> {
  return changed(examples, (example, i) => {
    const [first = 0, second = 0] = logProbs.subarray(2 * i, 2 * i + 2)
    const preference = example.preference ?? fail('ERR_DATA', `data: example ${i} has no preference, as others have`)
    return { ...example, preference: { ...preference, reference: [first, second] } }
  })
}

async function askAll(
  model: Model,
  examples: List<Example>,
  { batchSize = 32, signal }: ReferenceOptions,
): Promise<Float64Array> {
  const logProbs = new Float64Array(2 * examples.length)
  let pending: Promise<readonly number[]> | undefined
  let start = 0
  const put = async (sums: Promise<readonly number[]>, at: number) =>
    logProbs.set(
      (await sums).map(sum => -sum),
      at,
    )
  for (; start < examples.length; start += batchSize) {
    signal?.throwIfAborted()
    const next = ask(model, examples.slice(start, start + batchSize))
    next.catch(() => undefined)
    if (pending) await put(pending, 2 * (start - batchSize))
    pending = next
  }
  if (pending) await put(pending, 2 * (start - batchSize))
  return logProbs
}

/** Minus the log-probability of each answer, two an example. */
function ask(model: Model, examples: readonly Example[]): Promise<readonly number[]> {
  return scope(() => {
    const batch = packExamples(examples, Int32Array.from(examples.keys()), { collate: model.head.collate })
    const { sequences = [] } = model.answers(batch, batch.targets)
    // Reads are in the queue before the scope frees what they read.
    return { reads: Promise.all(sequences.map(sum => sum.item())) }
  }).reads
}
