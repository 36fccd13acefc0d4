// A trained folder as something to ask: `const model = await open(dir)`, then `await model.predict('text')`.

import type { ColumnNames } from '../data/columns.ts'
import type { Row } from '../data/row.ts'
import { check, nearest } from '../errors.ts'
import { Decoder } from '../generate/decoder.ts'
import { type Completion, checkModel, type Generated, type GenerateOptions, generateBy } from '../generate/generate.ts'
import type { CacheOptions } from '../generate/kvCache.ts'
import { cacheOptions, TOKEN_OPTIONS } from '../generate/options.ts'
import { shown } from '../io/json.ts'
import { checkOptions, checkValue, type Domain, isRecord, type OptionsOf, SEED } from '../options.ts'
import type { PredictionRecord } from '../tasks/task.ts'
import type { Message } from '../tokenizer/chatTemplate.ts'
import { predictRows } from '../train/predict.ts'
import { isCount, keysOf, nth, under } from '../tuple.ts'
import { chatOf, promptFor } from './ask.ts'
import { openTrained, type Trained, type TrainedSettings } from './trained.ts'

/** How {@link open} opens a folder; everything is found where the folder says it. */
export interface OpenTrainedOptions extends Partial<Omit<TrainedSettings, 'adapter'>>, CacheOptions {
  /** Texts of a batch. Default 32. */
  readonly batchSize?: number
}

const KNOWN: OptionsOf<OpenTrainedOptions> = {
  ...{ model: true, revision: true, tokenizer: true, task: true, labels: true, maxLength: true, truncationSide: true },
  ...{ device: true, storage: true, compute: true, seed: true, batchSize: true, cacheType: true, reuse: true },
}

const ANSWER_OPTIONS: OptionsOf<AnswerOptions> = { ...TOKEN_OPTIONS, stop: true, tools: true, system: true }

/** What can be asked about: a text, a pair of texts, a question with its text, or the words of a sentence. */
export type Input =
  | string
  | { readonly text: string; readonly text2?: string }
  | { readonly question: string; readonly context: string }
  | { readonly tokens: readonly string[] }

/** What {@link OpenModel.predict} is to tell. */
export interface AskOptions {
  /** Likeliest labels to tell. Default 1, for masked words 5. */
  readonly top?: number
}

/** How an opened model answers in words; what its training says of conversations holds here too. */
export interface AnswerOptions extends Omit<GenerateOptions, 'chat'> {
  /** A system message before a text. */
  readonly system?: string | undefined
}

/** A call that waits for its turn. */
interface Call {
  readonly rows: readonly Row[]
  readonly key: string
  readonly top: number | undefined
  readonly done: (records: PredictionRecord[]) => void
  readonly failed: (error: unknown) => void
}

/**
 * Opens an adapter, a merged or fine-tuned model, or the folder of a run. Base, tokenizer, labels and length are those
 * trained with.
 * @throws ERR_CONFIG, ERR_CHECKPOINT, ERR_OPTION for a folder that is none, or whose base is not here (name it with
 * `model`)
 */
export async function open(folder: string, options: OpenTrainedOptions = {}): Promise<OpenModel> {
  checkOptions('open', options, KNOWN)
  check(typeof folder === 'string' && folder !== '', 'ERR_OPTION', () => `open: ${folder} is no path of a folder`)
  for (const name of keysOf(DOMAINS)) if (options[name] !== undefined) checkValue(name, DOMAINS[name], options[name])
  return new OpenModel(await load(folder, options), options)
}

/** What numbers and names of JavaScript must be; devices, storage, tasks and labels are checked where they are used. */
const DOMAINS = {
  model: { kind: 'path' },
  tokenizer: { kind: 'path' },
  maxLength: { kind: 'integer', min: 3 },
  seed: { kind: 'integer', min: 0 },
  batchSize: { kind: 'integer', min: 1 },
  truncationSide: { kind: 'choice', choices: ['right', 'left'] },
  compute: { kind: 'choice', choices: ['f32', 'bf16', 'tf32'] },
} as const satisfies Readonly<Record<string, Domain>>

async function load(
  adapter: string,
  { device = 'cpu', seed = SEED, ...options }: OpenTrainedOptions,
): Promise<Trained> {
  return await openTrained({ ...options, adapter, device, seed })
}

/** A model that answers; concurrent calls share batches. Free it with {@link dispose}, or by `using`. */
export class OpenModel implements Disposable {
  readonly #options: OpenTrainedOptions
  readonly #waiting: Call[] = []
  #trained: Trained
  #running: Promise<void> | undefined
  #decoder: Decoder
  #isDisposed = false
  /** Answers in words that are under way. */
  readonly #streams = new Set<Promise<void>>()

  constructor(trained: Trained, options: OpenTrainedOptions) {
    this.#trained = trained
    this.#options = options
    this.#decoder = this.#newDecoder(trained)
  }

  #newDecoder({ model }: Trained): Decoder {
    const { cacheType, reuse } = this.#options
    return new Decoder(model, cacheOptions({ cacheType, reuse }))
  }

  /** What its user should know, e.g. that the base is another than the one trained on. */
  get notices(): readonly string[] {
    return this.#trained.notices
  }

  /** Names of the labels, in the order of their ids. */
  get labels(): readonly string[] {
    return this.#trained.model.labels
  }

  get task(): string {
    return this.#trained.model.task
  }

  /**
   * What the model says: label and probability, several labels, a value, entities or masked words, with `text`. Long
   * texts are read in windows. Entities of a text lie at [start, end) of its UTF-16 units, those of words at words.
   * @throws ERR_OPTION for what is no text, ERR_DATA for what the task cannot read
   */
  predict(input: Input, options?: AskOptions): Promise<PredictionRecord>
  predict(inputs: readonly Input[], options?: AskOptions): Promise<PredictionRecord[]>
  async predict(asked: Input | readonly Input[], options: AskOptions = {}) {
    checkOptions('predict', options, { top: true })
    this.#checkOpen()
    const { top } = options
    check(top === undefined || isCount(top), 'ERR_OPTION', () => `top: ${shown(top)} is no whole number from 0`)
    const inputs: readonly Input[] = isList(asked) ? asked : [asked]
    if (inputs.length === 0) return []
    const rows = inputs.map((input, i) => rowOf(input, i + 1))
    const kinds = [...new Set(rows.map(kindOf))]
    const found = await Promise.all(
      kinds.map(kind =>
        this.#ask(
          rows.filter(row => kindOf(row) === kind),
          kind,
          top,
        ),
      ),
    )
    const records = new Map(found.flat())
    const placed = rows.map((row, i) => withPlaces(under(records, row), nth(inputs, i)))
    return Array.isArray(asked) ? placed : nth(placed, 0)
  }

  /** Answers to rows of one kind, which wait for their turn. */
  async #ask(
    rows: readonly Row[],
    kind: string,
    top: number | undefined,
  ): Promise<(readonly [Row, PredictionRecord])[]> {
    const records = await new Promise<PredictionRecord[]>((done, failed) => {
      this.#waiting.push({ rows, key: `${top} ${kind}`, top, done, failed })
      this.#running ??= this.#run()
    })
    return rows.map((row, i) => [row, nth(records, i)] as const)
  }

  /** @throws ERR_DISPOSED */
  #checkOpen(): void {
    check(!this.#isDisposed, 'ERR_DISPOSED', () => 'model: it was disposed of; open its folder again')
  }

  /**
   * What a language model says to a text (as in its training: a turn of a user, a prompt, or a text to go on with) or
   * to a conversation, piece by piece. Concurrent calls go side by side; the signal, or leaving the loop, ends one.
   * @throws ERR_UNSUPPORTED for a model that says no texts; else as `generate`
   */
  async *stream(input: string | readonly Message[], options: AnswerOptions = {}): AsyncGenerator<Generated> {
    checkOptions('generate', options, ANSWER_OPTIONS)
    this.#checkOpen()
    const { model, tokenizer } = this.#trained
    const chat = chatOf(this.#trained)
    const decoder = this.#decoder
    checkModel(model)
    const { system, ...choices } = options
    const prompt = typeof input === 'string' ? promptFor(this.#trained, input, system) : input
    let end = (): void => undefined
    const done = new Promise<void>(resolve => {
      end = resolve
    })
    this.#streams.add(done)
    try {
      yield* generateBy(decoder, model, tokenizer, prompt, { ...choices, chat })
    } finally {
      this.#streams.delete(done)
      end()
    }
  }

  /** {@link stream} as a whole: the text, and why it ended. */
  async generate(input: string | readonly Message[], options: AnswerOptions = {}): Promise<Omit<Completion, 'tokens'>> {
    let [text, finish]: [string, Completion['finish']] = ['', 'length']
    for await (const piece of this.stream(input, options)) {
      text += piece.text
      finish = piece.finish ?? finish
    }
    return { text, finish }
  }

  /** Takes another folder from the next batch on; answers under way are the old one's. It must be sound to be taken. */
  async swap(folder: string): Promise<void> {
    this.#checkOpen()
    const next = await load(folder, this.#options)
    while (this.#running) await this.#running
    const [old, decoder, streams] = [this.#trained, this.#decoder, [...this.#streams]]
    this.#trained = next
    this.#decoder = this.#newDecoder(next)
    await Promise.all(streams)
    await decoder.close()
    old.model.dispose()
  }

  /** Frees the model; a second call does nothing. */
  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    void this.#decoder.close()
    this.#trained.model.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Answers what waits, calls of one kind together, until nothing does. */
  async #run(): Promise<void> {
    await null // what is asked in the same turn comes along
    while (this.#waiting.length > 0) {
      const { key } = nth(this.#waiting, 0)
      const calls = this.#waiting.filter(call => call.key === key)
      for (const call of calls) this.#waiting.splice(this.#waiting.indexOf(call), 1)
      await this.#answer(calls)
    }
    this.#running = undefined
  }

  async #answer(calls: readonly Call[]): Promise<void> {
    try {
      const records: PredictionRecord[] = []
      const rows = calls.flatMap(call => call.rows)
      const options = {
        columns: columnsOf(nth(rows, 0)),
        batchSize: this.#options.batchSize ?? 32,
        top: nth(calls, 0).top,
      }
      for await (const record of predictRows(this.#trained, rows, options)) records.push(record)
      for (const call of calls) call.done(records.splice(0, call.rows.length))
    } catch (error) {
      // One bad text is not the others' fault.
      if (calls.length === 1) nth(calls, 0).failed(error)
      else for (const call of calls) await this.#answer([call])
    }
  }
}

const isList = (asked: Input | readonly Input[]): asked is readonly Input[] => Array.isArray(asked)

/** What may stand in an input that is no text. */
const PARTS = ['text', 'text2', 'question', 'context', 'tokens']

const kindOf = ({ values }: Row): string => Object.keys(values).sort().join(' ')

function rowOf(input: Input, line: number): Row {
  if (typeof input === 'string') return { values: { text: input }, file: '', line }
  const given: Readonly<Record<string, unknown>> = { ...input }
  const odd = isRecord(input) ? Object.keys(given).find(name => !PARTS.includes(name)) : undefined
  check(odd === undefined, 'ERR_OPTION', () => {
    const near = nearest(odd ?? '', PARTS)
    return `predict: input ${line} has "${odd}"${near}; give a text, { text, text2 } or { tokens: words }`
  })
  const { text = given.question, text2 = given.context, tokens } = given
  const isWords = Array.isArray(tokens) && tokens.every(word => typeof word === 'string')
  if (isWords && text === undefined) return { values: { tokens }, file: '', line }
  const isPair = typeof text === 'string' && (text2 === undefined || typeof text2 === 'string')
  check(isPair, 'ERR_OPTION', () => {
    return `predict: input ${line} is ${shown(input)}, not a text, { text, text2 } or { tokens: words }`
  })
  return { values: text2 === undefined ? { text } : { text, text2 }, file: '', line }
}

function columnsOf({ values }: Row): ColumnNames {
  return Object.fromEntries(Object.keys(values).map(name => [name, name]))
}

/** Entities of a text by its UTF-16 units: the words they are made of stand in it in order. */
function withPlaces(record: PredictionRecord, input: Input): PredictionRecord {
  const text = typeof input === 'string' ? input : 'text' in input ? input.text : undefined
  const { entities } = record
  if (!Array.isArray(entities) || text === undefined) return record
  const places: { start: number; end: number }[] = []
  for (const word of record.text.split(' ')) {
    const start = text.indexOf(word, places.at(-1)?.end ?? 0)
    places.push({ start, end: start + word.length })
  }
  const placed = entities.map(entity => {
    const { start } = nth(places, entity.start)
    const { end } = nth(places, entity.end - 1)
    return { ...entity, start, end, text: text.slice(start, end) }
  })
  return { ...record, text, entities: placed }
}
