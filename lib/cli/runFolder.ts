// The folder of a run: what in it is the run's own, who writes it now, and how new results take the place of old ones.

import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { check, fail } from '../errors.ts'
import { recoverFolder, writeFileAtomic } from '../io/atomic.ts'
import { objectIn } from '../io/json.ts'
import { LOCK, type Lock, lockFolder } from '../io/lock.ts'
import { coded } from '../io/systemError.ts'
import { MANIFEST } from '../train/manifest.ts'
import { isTexts, nth } from '../tuple.ts'

/** What a run writes: whole results, and what grows while it trains. */
const RESULTS = ['adapter', 'model', 'metrics.json', 'predictions.jsonl', 'report.html']
const PROGRESS = ['checkpoints', 'tensorboard', 'log.jsonl']
const NAMES = [...RESULTS, ...PROGRESS]
/** Whose presence makes a folder that of a run. */
const HELD = ['adapter', 'model', 'metrics.json', 'checkpoints']
/** Files that come and go while a run trains, below {@link PROGRESS}. */
const GROWING = /^(log\.jsonl|checkpoints[/\\].*|tensorboard[/\\]events\.out\.tfevents\.[^/\\]*)$/

/** What a run that was killed before it could mark its folder may have left. */
const PROBE = /^checkpoints[/\\]\.?\.lowrank-(lock|write-test)(\.tmp-[^/\\]*)?$/

const MARK = '.lowrank-run.json'
/** Where a run works that is to replace another. */
const NEXT = '.lowrank-next'

/** Lists what a run made, so that nothing else is ever removed. */
interface Mark {
  readonly format: 'lowrank-run'
  readonly command: string
  /** Entries of the folder. */
  readonly names: readonly string[]
  /** All files of the results, by path; undefined while they are being written. */
  readonly files?: readonly string[] | undefined
  /** Complete: of a folder NEXT, that it may take the place of the old. */
  readonly done: boolean
}

export interface RunFolderOptions {
  readonly command: string
  readonly overwrite: boolean
  /** Go on with the run that is there, or from a checkpoint, which may be another folder's. */
  readonly resume: boolean | string
  /** Paths the run reads, by option: none may lie in the folder. */
  readonly inputs: Readonly<Record<string, string | undefined>>
}

/** Opened before anything is read, and removes nothing until the run that replaces is complete. */
export class RunFolder {
  readonly out: string
  /** Where to write until {@link finish}. */
  readonly work: string
  readonly #command: string
  readonly #lock: Lock
  readonly #continues: boolean
  readonly #isNew: boolean

  private constructor(out: string, place: Place, lock: Lock, command: string, isNew: boolean) {
    this.out = out
    this.work = place.work
    this.#continues = place.continues
    this.#lock = lock
    this.#command = command
    this.#isNew = isNew
  }

  /**
   * Holds a folder for a run. @throws ERR_OPTION where it holds inputs of the run, files that no run made, a run that
   * is neither to be continued nor replaced, none to continue, or where another process writes it
   */
  static async open(path: string, options: RunFolderOptions): Promise<RunFolder> {
    const out = resolve(path)
    checkInputs(out, options.inputs)
    const isNew = !existsSync(out)
    const lock = lockFolder(out)
    try {
      return await coded(out, async () => {
        await recoverFolder(out, name => NAMES.includes(name) || name === MARK || name === LOCK)
        const next = join(out, NEXT)
        if (readMark(next)?.done) await promote(out)
        else if (!isHeld(next, 'checkpoints')) remove(next)
        checkForeign(out)
        return new RunFolder(out, placeFor(out, options), lock, options.command, isNew)
      })
    } catch (error) {
      lock.release()
      if (isNew) await rmdir(out).catch(() => undefined)
      throw error
    }
  }

  /** Marks the folder as the run's, once it is sure to start; what is left of a run without a checkpoint goes. */
  async begin(): Promise<void> {
    const { work } = this
    if (this.#continues) return this.#mark({ names: NAMES, files: readMark(work)?.files, done: false })
    await coded(work, () => {
      for (const name of NAMES) if (name !== 'checkpoints') remove(join(work, name))
    })
    return this.#mark({ names: NAMES, files: [], done: false })
  }

  /** From here on results are written. */
  async results(): Promise<void> {
    await this.#mark({ names: NAMES, done: false })
  }

  /** The run is complete: what it replaces is removed. */
  async finish(): Promise<void> {
    const names = NAMES.filter(name => existsSync(join(this.work, name)))
    await this.#mark({ names, files: names.flatMap(name => filesOf(this.work, name)), done: true })
    if (this.work !== this.out) await coded(this.out, () => promote(this.out))
  }

  /** Lets go of the folder; a run that left nothing to go on from leaves no trace. */
  async close(): Promise<void> {
    try {
      await this.#leaveNoTrace()
    } catch {
      // What cannot be removed now is removed by the next run; why this one ended counts more.
    }
    this.#lock.release()
    if (this.#isNew) await rmdir(this.out).catch(() => undefined)
  }

  async #leaveNoTrace(): Promise<void> {
    if (!HELD.some(name => isHeld(this.work, name))) {
      if (this.work !== this.out) remove(this.work)
      else if (!PROGRESS.some(name => filesOf(this.work, name).length > 0)) {
        await rmdir(join(this.work, 'checkpoints')).catch(() => undefined)
        remove(join(this.work, MARK))
      }
    }
  }

  async #mark(mark: Omit<Mark, 'format' | 'command'>): Promise<void> {
    const whole: Mark = { format: 'lowrank-run', command: this.#command, ...mark }
    await writeFileAtomic(join(this.work, MARK), `${JSON.stringify(whole, null, 1)}\n`)
  }
}

function checkInputs(out: string, inputs: RunFolderOptions['inputs']): void {
  const real = (path: string): string => {
    try {
      return realpathSync(path)
    } catch {
      return resolve(path)
    }
  }
  const folder = real(out)
  for (const [name, path] of Object.entries(inputs)) {
    if (path === undefined) continue
    check(!`${real(path)}${sep}`.startsWith(`${folder}${sep}`), 'ERR_OPTION', () => {
      return `out: ${out} holds ${name} (${path}), which the run reads; name a folder of its own with --out`
    })
  }
}

/** @throws ERR_OPTION for an entry under a name that runs use, which no run made */
function checkForeign(out: string): void {
  const mark = readMark(out)
  const foreign = NAMES.flatMap(name => filesOf(out, name)).find(file => !owns(mark, file) && !PROBE.test(file))
  check(foreign === undefined, 'ERR_OPTION', () => {
    return `out: ${out} holds ${foreign}, which no run of lowrank made; move it, or name another folder with --out`
  })
}

function owns(mark: Mark | undefined, file: string): boolean {
  if (!mark?.names.includes(nth(file.split(/[/\\]/), 0))) return false
  return GROWING.test(file) || mark.files === undefined || mark.files.includes(file)
}

interface Place {
  readonly work: string
  /** A run is there that goes on. */
  readonly continues: boolean
}

/** Where to work: beside the run that is to be replaced, else in the folder itself. @throws ERR_OPTION */
function placeFor(out: string, { overwrite, resume, command }: RunFolderOptions): Place {
  const next = join(out, NEXT)
  const isWithin = (folder: string): boolean => typeof resume === 'string' && resolve(resume).startsWith(folder + sep)
  const replacing = isHeld(next, 'checkpoints')
  if (replacing && (resume === true || isWithin(next))) return { work: next, continues: true }
  if (resume === true) checkResumable(out)
  else if (resume !== false) checkNamed(resume, out)
  if (resume === true || isWithin(out)) return { work: out, continues: true }
  const held = HELD.find(name => isHeld(out, name)) ?? (replacing ? NEXT : undefined)
  // A quickstart makes the same again.
  const replaces = overwrite || (command === 'quickstart' && readMark(out)?.command === command)
  check(held === undefined || replaces, 'ERR_OPTION', () => {
    return `out: ${out} holds a run already (${held}); continue it with --resume, replace it with --overwrite, or name another folder with --out`
  })
  return { work: held === undefined ? out : next, continues: false }
}

/** @throws ERR_CHECKPOINT saying what is there in place of a checkpoint */
function checkResumable(out: string): void {
  check(isHeld(out, 'checkpoints'), 'ERR_CHECKPOINT', () => {
    const names = readdirSync(out).filter(name => !name.startsWith('.'))
    const what =
      names.length === 0 ? 'nothing' : `${names.slice(0, 8).join(', ')}, but no checkpoints/checkpoint-<step>`
    return `resume: ${out} holds ${what}; start the run without --resume, or name its folder with --out`
  })
}

/** @throws ERR_CHECKPOINT where what is named is no checkpoint */
function checkNamed(resume: string, out: string): void {
  check(existsSync(join(resume, MANIFEST)), 'ERR_CHECKPOINT', () => {
    const folder = join(out, 'checkpoints')
    const names = existsSync(folder) ? readdirSync(folder).filter(name => name.startsWith('checkpoint-')) : []
    const here = names.length === 0 ? 'no checkpoint' : names.slice(0, 8).join(', ')
    const cure = names.length === 0 ? 'name one' : 'name one of them, or leave the path out for the newest'
    return `resume: ${resume} is no checkpoint; ${folder} has ${here}; ${cure}`
  })
}

function isHeld(folder: string, name: string): boolean {
  const path = join(folder, name)
  if (!existsSync(path)) return false
  return name !== 'checkpoints' || readdirSync(path).some(entry => entry.startsWith('checkpoint-'))
}

/** Files below an entry, by their paths from `folder`; a link is one file, wherever it leads. */
function filesOf(folder: string, name: string): string[] {
  const found = lstatSync(join(folder, name), { throwIfNoEntry: false })
  if (!found?.isDirectory()) return found ? [name] : []
  return readdirSync(join(folder, name)).flatMap(entry => filesOf(folder, join(name, entry)))
}

/**
 * Puts a complete run in the place of the one before. Killed on the way, it is done again from where it stopped: each
 * entry is either still in NEXT or has arrived.
 */
async function promote(out: string): Promise<void> {
  const next = join(out, NEXT)
  const mark = readMark(next) ?? fail('ERR_OPTION', `out: ${next} has no ${MARK}; remove it`)
  const old = readMark(out)
  const aside = join(next, 'replaced')
  mkdirSync(aside, { recursive: true })
  for (const name of new Set([...mark.names, ...(old?.names ?? [])])) {
    const arrives = existsSync(join(next, name))
    if (!arrives && mark.names.includes(name)) continue
    if (existsSync(join(out, name))) renameSync(join(out, name), join(aside, name))
    if (arrives) renameSync(join(next, name), join(out, name))
  }
  await writeFileAtomic(join(out, MARK), readFileSync(join(next, MARK), 'utf8'))
  remove(aside)
  remove(next)
}

function readMark(folder: string): Mark | undefined {
  const path = join(folder, MARK)
  if (!existsSync(path)) return undefined
  try {
    const { format, command, names, files, done } = objectIn(readFileSync(path, 'utf8')) ?? {}
    if (format === 'lowrank-run' && isTexts(names) && (files === undefined || isTexts(files)))
      return { format, command: String(command), names, files, done: done === true }
  } catch {}
  fail('ERR_OPTION', `out: ${path} is not as a run of lowrank wrote it; move the folder ${dirname(path)} away`)
}

function remove(path: string): void {
  rmSync(path, { recursive: true, force: true })
}
