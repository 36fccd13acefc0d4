// `lowrank compare`: methods trained alike on one base and one split, and set side by side.

import { basename, extname, join, resolve } from 'node:path'
import { bundled } from '../../bundled.ts'
import { openFile } from '../../data/open.ts'
import type { Row } from '../../data/row.ts'
import { storeRows } from '../../data/storedRows.ts'
import { check } from '../../errors.ts'
import { portableName } from '../../hub/id.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import { packageVersion } from '../../io/package.ts'
import { native } from '../../native.ts'
import { secondsOf } from '../../options.ts'
import { type Adapter, kindOf, METHODS, saveAdapter } from '../../peft/index.ts'
import { type MethodsData, methodsMarkdown, methodsNotes, methodsTable, renderMethods } from '../../report/methods.ts'
import type { Setting } from '../../report/report.ts'
import { type ComparedMethod, compareMethods, type MethodChoice, refusals } from '../../study/compare.ts'
import { StudyFolder } from '../../study/folder.ts'
import { Memory, textsOf } from '../../study/forgetting.ts'
import { measureLatency } from '../../study/latency.ts'
import type { Bench, Spec } from '../../study/member.ts'
import { type Extras, methodsData } from '../../study/results.ts'
import { must } from '../../tuple.ts'
import { defaultOut, openOptions } from '../data.ts'
import { onInterrupt, stoppedStudy } from '../interrupt.ts'
import { flagOf } from '../options/option.ts'
import type { Settings } from '../options/options.ts'
import type { ResolvedSettings } from '../options/settings.ts'
import { methodOptions, type Prepared, prepareBase, saveOptions, trainOptions } from '../setup.ts'
import { settingsTable, studyOrigin } from '../studyFacts.ts'
import { StudyProgress } from '../studyProgress.ts'
import { type Console, plainJson } from '../terminal/console.ts'
import { shownPath } from '../terminal/format.ts'
import { table } from '../terminal/table.ts'
import { folderBytes } from '../trainOutput.ts'

/** Trains and measures all methods, and writes what came out. */
export async function compareCommand(
  settings: Settings,
  console: Console,
  { given }: ResolvedSettings,
): Promise<number> {
  const choices = choicesOf(settings, given)
  const prepared = await prepareBase(settings, console, settings.device)
  try {
    const bench: Bench = { ...prepared, options: trainOptions(settings, prepared.tokenizer, prepared.model) }
    const fitting = await fittingOf(choices, bench, settings, console)
    const folder = await StudyFolder.open(settings.out ?? defaultOut(settings, 'compare'), {
      format: 'lowrank-compare',
      origin: studyOrigin(prepared, settings),
      resume: settings.resume !== false,
      overwrite: settings.overwrite,
      files: ['adapters', 'compare.json', 'compare.html', 'compare.md'],
    })
    try {
      return await run(bench, prepared, fitting, folder, settings, console)
    } finally {
      folder.close()
    }
  } finally {
    prepared.model.dispose()
  }
}

async function run(
  bench: Bench,
  prepared: Prepared,
  methods: readonly MethodChoice[],
  folder: StudyFolder,
  settings: Settings,
  console: Console,
): Promise<number> {
  const { memory, otherBytes } = await openMemory(prepared, settings)
  const progress = new StudyProgress(console)
  const interrupt = onInterrupt(console.warn)
  try {
    const compared = await compareMethods({ ...bench, otherBytes }, folder, {
      methods,
      seeds: seedsOf(settings),
      lrs: settings.lrs,
      budget: secondsOf(settings.budget),
      together: settings.together,
      signal: interrupt.signal,
      tell: event => progress.take(event),
      keep: (adapter, spec) => keep(adapter, spec, bench, prepared, folder),
      measure: async (adapter, spec): Promise<Extras> =>
        typeof memory === 'string' ? {} : { forgetting: await memory.after(spec, adapter) },
    })
    await write(bench, compared, folder, settings, memory, prepared, console)
    return 0
  } catch (error) {
    const { overwrite } = settings
    return stoppedStudy(error, interrupt.signal, { kept: 'runs', out: folder.path, overwrite }, console)
  } finally {
    progress.finish()
    interrupt.release()
    if (typeof memory !== 'string') memory[Symbol.dispose]()
  }
}

/** Saves the adapter and measures how fast it answers. */
async function keep(
  adapter: Adapter,
  { method, seed }: Spec,
  { model, examples, options }: Bench,
  prepared: Prepared,
  folder: StudyFolder,
): Promise<Extras> {
  const dir = join(folder.path, 'adapters', method)
  const saved = await saveAdapter(adapter, dir, { ...saveOptions(prepared), name: 'default' })
  const texts = examples.test?.length ? examples.test : must(examples.validation, 'validation')
  const latency = await measureLatency(model, adapter, texts, { transform: options.transform, seed })
  return { latency, adapterBytes: folderBytes(saved) }
}

/** The base with its language-model head, or why there is none, and what it takes of the tensor pool. */
async function openMemory(prepared: Prepared, settings: Settings) {
  const { base, tokenizer, maxLength, model } = prepared
  const rows = await heldOutRows(prepared, settings)
  const { live } = model.device.memory()
  const memory = await Memory.open(base.path, rows, tokenizer, settings, maxLength)
  return { memory, otherBytes: model.device.memory().live - live }
}

const seedsOf = ({ seed, seeds }: Settings) => Array.from({ length: seeds }, (_, i) => seed + i)

async function heldOutRows({ data }: Prepared, settings: Settings): Promise<Row[]> {
  const { splits, columns } = data
  const { heldOut } = settings
  if (heldOut === undefined) return textsOf(splits.test.length > 0 ? splits.test : splits.validation, columns)
  const isText = extname(heldOut) === '.txt'
  const file = openFile(heldOut, { ...openOptions(settings), ...(isText && { format: 'text' }) })
  const rows = await storeRows(file.path, file.rows())
  return textsOf(rows, isText ? { text: 'text' } : columns)
}

async function write(
  bench: Bench,
  compared: readonly ComparedMethod[],
  folder: StudyFolder,
  settings: Settings,
  memory: Memory | string,
  { base }: Prepared,
  console: Console,
): Promise<void> {
  const path = settings.data ?? must(settings.train, 'train')
  const name = resolve(path) === bundled.sample ? 'the bundled sample' : basename(path)
  const facts = {
    title: `Methods of fine-tuning on ${name}`,
    seeds: seedsOf(settings),
    memory: memoryText(memory, settings),
    settings: settingsTable(
      { ...settings, method: undefined },
      base.bundled ? 'the bundled encoder' : portableName(base.path),
    ),
    environment: environmentOf(bench),
  }
  const data = methodsData(bench, compared, facts)
  const record = { ...data, members: compared.flatMap(({ grid, runs }) => [...new Set([...grid, ...runs])]) }
  const file = (name: string) => join(folder.path, name)
  await writeFileAtomic(file('compare.json'), `${plainJson(record, 1)}\n`)
  await writeFileAtomic(file('compare.md'), methodsMarkdown(data))
  await writeFileAtomic(file('compare.html'), renderMethods(data))
  show(data, folder.path, console)
}

function show(data: MethodsData, out: string, console: Console): void {
  const { heads, rows } = methodsTable(data)
  const plain = (text: string) => text.replaceAll('\u2009', ' ')
  const columns = heads.map((header, i) => ({ header, align: i === 0 ? ('left' as const) : ('right' as const) }))
  console.line(
    table(
      columns,
      rows.map(row => row.map(plain)),
    ),
  )
  console.line()
  for (const note of methodsNotes(data)) console.line(plain(note))
  console.line()
  console.line(`report    ${shownPath(join(out, 'compare.html'))}`)
  console.event({ type: 'summary', out, ...data })
}

function memoryText(memory: Memory | string, { heldOut }: Settings): string {
  if (typeof memory === 'string') return `Forgetting was not measured: ${memory}.`
  const texts =
    heldOut === undefined ? 'texts of the test split, for none of its own kind were named,' : 'held-out texts'
  return (
    `Perplexity of the base: of its own ${memory.task} head on ${memory.texts} ${texts} after the run, over the ` +
    `${memory.before.toPrecision(4)} before; above ×1 the base has forgotten.`
  )
}

function environmentOf({ model }: Bench): Record<string, Setting> {
  const { threads } = native.info()
  return {
    lowrank: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    device: model.device.name,
    kernels: model.device.hardware,
    threads,
    storage: model.storage,
    compute: model.compute,
  }
}

/** Methods with the options that are theirs. @throws ERR_OPTION for unknown ones, and for an option of none of them */
function choicesOf(settings: Settings, given: ResolvedSettings['given']): MethodChoice[] {
  const names = settings.methods.includes('all') ? METHODS.map(({ type }) => type) : settings.methods
  const kinds = names.map(kindOf)
  check(new Set(kinds).size === kinds.length, 'ERR_OPTION', () => `methods: ${names.join(', ')} repeats a method`)
  const owners = (name: string) => METHODS.filter(({ fields }) => fields.some(field => field.name === name))
  for (const name of given) {
    const own = owners(name)
    check(own.length === 0 || own.some(kind => kinds.includes(kind)), 'ERR_OPTION', () => {
      return `${flagOf(name)}: is of ${own.map(({ type }) => type).join(', ')}, and none of these is compared; leave it out`
    })
  }
  return kinds.map(({ type }) => ({ method: type, options: methodOptions({ ...settings, method: type }) }))
}

/** Without what the base cannot have, where all methods were asked for. @throws ERR_OPTION for one that was named */
async function fittingOf(
  choices: readonly MethodChoice[],
  bench: Bench,
  settings: Settings,
  console: Console,
): Promise<MethodChoice[]> {
  const refused = await refusals(bench, choices)
  for (const [method, reason] of refused) {
    check(settings.methods.includes('all'), 'ERR_OPTION', () => `methods: ${method} is not for this base: ${reason}`)
    console.warn(`${method} is left out: ${reason}`)
  }
  return choices.filter(({ method }) => !refused.has(method))
}
