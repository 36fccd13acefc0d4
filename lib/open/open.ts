// A trained folder as something to ask: `const model = await open(dir)`, then `await model.predict('text')`.

import type { Row } from '../data/row.ts'
import { check, LowrankError } from '../errors.ts'
import { Decoder } from '../generate/decoder.ts'
import { type Completion, checkModel, type Generated, type GenerateOptions, generateBy } from '../generate/generate.ts'
import type { CacheOptions } from '../generate/kvCache.ts'
import { CACHE_OPTIONS, cacheOptions, TOKEN_OPTIONS } from '../generate/options.ts'
import { shown } from '../io/json.ts'
import { COMPUTE } from '../ops/matmul.ts'
import { checkIdle, checkOptions, checkSignal, checkValues, type Domain, type OptionsOf, SEED } from '../options.ts'
import { taskOfModel } from '../tasks/index.ts'
import type { PredictionRecord } from '../tasks/task.ts'
import type { Message } from '../tokenizer/chatTemplate.ts'
import { predictRows } from '../train/predict.ts'
import { keysOf, nth, pick, under } from '../tuple.ts'
import { chatOf, promptFor } from './ask.ts'
import { columnsOf, type Input, isList, kindOf, rowOf, withPlaces } from './inputs.ts'
import { openTrained, type Trained, type TrainedSettings } from './trained.ts'

/** What a folder is told of itself, where it does not say it. */
export type FolderOptions = Partial<Pick<TrainedSettings, 'model' | 'revision' | 'tokenizer' | 'task' | 'labels'>>

/** How {@link open} opens a folder; everything is found where the folder says it. */
export interface OpenTrainedOptions extends Partial<Omit<TrainedSettings, 'adapter'>>, CacheOptions {
  /** Texts of a batch. Default 32. */
  readonly batchSize?: number
}

const FOLDER_OPTIONS: OptionsOf<FolderOptions> = {
  ...{ model: true, revision: true, tokenizer: true, task: true, labels: true },
}

const KNOWN: OptionsOf<OpenTrainedOptions> = {
  ...FOLDER_OPTIONS,
  ...{ maxLength: true, truncationSide: true, device: true, storage: true, compute: true, seed: true },
  ...{ batchSize: true, cacheType: true, reuse: true },
}

/** What holds for folders that a model is swapped for, too. */
const LASTING = keysOf(KNOWN).filter(name => !(name in FOLDER_OPTIONS))

const ANSWER_OPTIONS: OptionsOf<AnswerOptions> = { ...TOKEN_OPTIONS, stop: true, tools: true, system: true }

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
  checkGiven('open', folder, options)
  const trained = await load(folder, options)
  try {
    checkCache(trained, options)
    return new OpenModel(trained, options)
  } catch (error) {
    trained.model.dispose()
    throw error
  }
}

/** @throws ERR_OPTION for a cache of a model that says nothing */
function checkCache({ model }: Trained, options: OpenTrainedOptions): void {
  if (taskOfModel(model).says) return
  for (const name of keysOf(CACHE_OPTIONS))
    checkIdle(name, options[name], () => `on a model for ${model.task}, which says no texts`)
}

/** What numbers and names of JavaScript must be; devices, storage, tasks and labels are checked where they are used. */
const DOMAINS = {
  model: { kind: 'path' },
  tokenizer: { kind: 'path' },
  maxLength: { kind: 'integer', min: 3 },
  seed: { kind: 'integer', min: 0 },
  batchSize: { kind: 'integer', min: 1 },
  truncationSide: { kind: 'choice', choices: ['right', 'left'] },
  compute: { kind: 'choice', choices: COMPUTE },
} as const satisfies Readonly<Record<string, Domain>>

/** @throws ERR_OPTION for what is no folder, or an option of another kind */
function checkGiven(what: string, folder: unknown, options: OpenTrainedOptions): void {
  check(typeof folder === 'string' && folder !== '', 'ERR_OPTION', () => {
    return `${what}: ${shown(folder)} is no path of a folder${folder instanceof URL ? '; give fileURLToPath(url)' : ''}`
  })
  checkValues(DOMAINS, options)
}

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
  /** Ends answers in words. */
  readonly #ended = new AbortController()
  /** What takes another model, between two batches. */
  #between: (() => void) | undefined
  /** The last swap asked for: they come one after another. */
  #swapped: Promise<unknown> = Promise.resolve()
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
    const inputs: readonly Input[] = isList(asked) ? asked : [asked]
    if (inputs.length === 0) return []
    const rows = Array.from(inputs, (input, i) => rowOf(input, i + 1)) // of holes, too
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
    if (this.#isDisposed) throw disposed()
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
    const { system, signal, ...choices } = options
    checkSignal(signal)
    const signals = [this.#ended.signal, ...(signal ? [signal] : [])]
    if (typeof input !== 'string') checkIdle('system', system, () => 'on messages', 'put it before them')
    const prompt = typeof input === 'string' ? promptFor(this.#trained, input, system) : input
    let end = (): void => undefined
    const done = new Promise<void>(resolve => {
      end = resolve
    })
    this.#streams.add(done)
    try {
      yield* generateBy(decoder, model, tokenizer, prompt, { ...choices, signal: AbortSignal.any(signals), chat })
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

  /**
   * Takes another folder from the next batch on; answers under way are the old one's. It must be sound to be taken. Of
   * what `open` was told, base, tokenizer, task and labels were the old folder's: say here what this one does not.
   * @throws as {@link open}
   */
  async swap(folder: string, options: FolderOptions = {}): Promise<void> {
    checkOptions('swap', options, FOLDER_OPTIONS)
    this.#checkOpen()
    checkGiven('swap', folder, options)
    const taken = this.#swapped.then(() => this.#take(folder, { ...pick(this.#options, LASTING), ...options }))
    this.#swapped = taken.catch(() => undefined)
    await taken
  }

  async #take(folder: string, options: OpenTrainedOptions): Promise<void> {
    this.#checkOpen()
    const next = await load(folder, options)
    const [old, decoder, streams] = await this.#exchange(next)
    await Promise.all(streams)
    await decoder.close()
    old.model.dispose()
  }

  /** Puts another model in place between two batches, however many wait; resolves to what was there. */
  #exchange(next: Trained): Promise<readonly [Trained, Decoder, readonly Promise<void>[]]> {
    return new Promise((done, failed) => {
      this.#between = () => {
        this.#between = undefined
        if (this.#isDisposed) next.model.dispose()
        if (this.#isDisposed) return failed(disposed())
        const old = [this.#trained, this.#decoder, [...this.#streams]] as const
        this.#trained = next
        this.#decoder = this.#newDecoder(next)
        done(old)
      }
      if (!this.#running) this.#between()
    })
  }

  /** Frees the model; a second call does nothing. */
  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.#ended.abort(disposed())
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
      this.#between?.()
      const { key } = nth(this.#waiting, 0)
      const calls = this.#waiting.filter(call => call.key === key)
      for (const call of calls) this.#waiting.splice(this.#waiting.indexOf(call), 1)
      await this.#answer(calls)
    }
    this.#running = undefined
    this.#between?.()
  }

  async #answer(calls: readonly Call[]): Promise<void> {
    try {
      this.#checkOpen()
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
      if (this.#isDisposed) for (const call of calls) call.failed(disposed())
      else if (calls.length === 1) nth(calls, 0).failed(error)
      else for (const call of calls) await this.#answer([call])
    }
  }
}

const disposed = () => new LowrankError('ERR_DISPOSED', 'model: it was disposed of; open its folder again')
