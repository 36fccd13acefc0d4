// What a base forgets: the perplexity of its own language-model head on other texts, before and after a run.

import type { Columns } from '../data/columns.ts'
import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import { itemsIn, type Row, textOf, toRows } from '../data/row.ts'
import { headOf } from '../heads/index.ts'
import type { Model } from '../model.ts'
import { type BaseSettings, loadBase, tasksOf } from '../open/base.ts'
import { type Adapter, attach, createMethod } from '../peft/index.ts'
import { encodeRows } from '../tasks/encode.ts'
import { taskOf } from '../tasks/index.ts'
import { copyOf } from '../tensor.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { evaluate } from '../train/evaluate.ts'
import { must } from '../tuple.ts'
import { isWhole, type Spec } from './member.ts'

/** Perplexity of the base's own head. */
export interface Forgetting {
  readonly before: number
  readonly after: number
}

const MOST_TEXTS = 300

/** The base with its language-model head, and the texts it is asked about. */
export class Memory implements Disposable {
  readonly before: number
  readonly task: string
  readonly texts: number
  readonly #model: Model
  readonly #perplexity: () => Promise<number>

  private constructor(model: Model, texts: number, before: number, perplexity: () => Promise<number>) {
    this.#model = model
    this.task = model.task
    this.texts = texts
    this.before = before
    this.#perplexity = perplexity
  }

  /** Loads it; or says why there is none. */
  static async open(
    path: string,
    rows: List<Row>,
    tokenizer: Tokenizer,
    settings: BaseSettings,
    maxLength: number,
  ): Promise<Memory | string> {
    const [name] = tasksOf(path).filter(task => !headOf(task).isLabelled && learnsTexts(task))
    if (name === undefined) return 'this family has no language-model head for a text alone'
    const texts = rows.slice(0, MOST_TEXTS)
    if (texts.length === 0) return 'there are no texts'
    const model = await loadBase(path, { task: name }, settings)
    try {
      if (model.newTensors.length > 0) return memoryLacks(model)
      const examples = encodeRows(texts, tokenizer, { task: name, columns: { text: 'text' }, maxLength }).examples
      const perplexity = () => perplexityOf(model, examples, tokenizer)
      return new Memory(model, texts.length, await perplexity(), perplexity)
    } catch (error) {
      model.dispose()
      throw error
    }
  }

  /** The perplexity with what a run has trained in the backbone; its head is the run's own and stays out. */
  async after({ method, options }: Pick<Spec, 'method' | 'options'>, adapter: Adapter): Promise<Forgetting> {
    const model = this.#model
    const { before } = this
    const touches = adapter.trainable.some(({ name, base }) => !base || (!base.isNew && model.parameters.has(name)))
    if (!touches) return { before, after: before }
    const kept = isWhole(method) ? { ...options, keepOriginal: true } : options
    const copy = attach(model, createMethod(method, kept), { name: 'copy' })
    try {
      const from = new Map(adapter.trainable.map(own => [own.name, own]))
      for (const own of copy.trainable) {
        const trained = from.get(own.name)
        if (trained) own.replace(copyOf(trained.tensor, own.tensor.dtype))
      }
      await copy.prepare('filled')
      return { before, after: await this.#perplexity() }
    } finally {
      copy.detach()
    }
  }

  [Symbol.dispose](): void {
    this.#model.dispose()
  }
}

/** Whether a text alone is something to learn: pairs of prompt and answer are not what a base knew. */
function learnsTexts(task: string): boolean {
  return taskOf({ task }).infer(toRows([{ text: '' }]), { text: 'text' }, { task, able: [task] }) !== undefined
}

function memoryLacks(model: Model): string {
  const lacking = model.newTensors[0]
  model.dispose()
  return `the base has no trained language-model head (${lacking} is missing)`
}

async function perplexityOf(model: Model, examples: List<Example>, tokenizer: Tokenizer): Promise<number> {
  const transform = taskOf({ task: model.task }).transform?.(tokenizer, {})
  const { metrics } = await evaluate(model, examples, { seed: 0, transform })
  return must(metrics.perplexity, 'perplexity')
}

/** Rows of data as texts alone: the text of each, or its words. */
export function textsOf(rows: List<Row>, { text, tokens, prompt, completion }: Columns): Row[] {
  const words = (row: Row, column: string) => itemsIn(row, column).join(' ')
  const read = (row: Row): string | undefined => {
    if (text !== undefined) return textOf(row, text)
    if (tokens !== undefined) return words(row, tokens)
    return prompt === undefined ? undefined : `${textOf(row, prompt)} ${completion ? textOf(row, completion) : ''}`
  }
  return toRows([...rows].flatMap(row => read(row) ?? []).map(value => ({ text: value })))
}
