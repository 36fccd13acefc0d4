// The folder of a study: what it is of, and a file for each run that is done.

import { existsSync, readdirSync, rmSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { check, fail } from '../errors.ts'
import { recoverFolder, writeFileAtomic } from '../io/atomic.ts'
import { readText } from '../io/json.ts'
import { type Lock, lockFolder } from '../io/lock.ts'
import { isRecord } from '../options.ts'

const FILE = 'study.json'
const MEMBERS = 'members'

/** study.json. */
interface StudyRecord {
  readonly format: string
  /** Everything by name that decides the results. */
  readonly origin: Readonly<Record<string, unknown>>
  readonly notes: Readonly<Record<string, unknown>>
}

interface StudyFolderOptions {
  /** Name of what is studied: `lowrank-compare`. */
  readonly format: string
  readonly origin: Readonly<Record<string, unknown>>
  readonly resume: boolean
  readonly overwrite: boolean
  /** What it writes beside its own files, by name. */
  readonly files: readonly string[]
}

/** Held by one process until {@link close}. */
export class StudyFolder {
  readonly path: string
  readonly #lock: Lock
  #record: StudyRecord

  private constructor(path: string, lock: Lock, record: StudyRecord) {
    this.path = path
    this.#lock = lock
    this.#record = record
  }

  /**
   * Opens a folder for a study, or goes on with the one in it. @throws ERR_OPTION where something else is there, or
   * another study, naming the first difference; ERR_CHECKPOINT where there is none to go on with
   */
  static async open(path: string, options: StudyFolderOptions): Promise<StudyFolder> {
    const folder = resolve(path)
    const isNew = !existsSync(folder)
    const lock = lockFolder(folder)
    try {
      const { format, origin, resume, overwrite, files } = options
      if (overwrite) for (const name of owned(folder, format, files)) remove(join(folder, name))
      const found = readRecord(folder, format)
      check(found || !resume, 'ERR_CHECKPOINT', () => `resume: ${path} holds no study; leave resume out to start it`)
      check(!found || resume, 'ERR_OPTION', () => {
        return `out: ${path} holds a study already; go on with resume, replace it with overwrite, or name another folder`
      })
      checkEmpty(path, folder, found !== undefined)
      if (found) checkOrigin(found.origin, origin)
      await recoverFolder(join(folder, MEMBERS))
      const study = new StudyFolder(folder, lock, found ?? { format, origin: plain(origin), notes: {} })
      await study.#write()
      return study
    } catch (error) {
      lock.release()
      if (isNew) await rmdir(folder).catch(() => undefined)
      throw error
    }
  }

  /** Something that was settled at the start, such as a plan. */
  note(name: string): unknown {
    return this.#record.notes[name]
  }

  async setNote(name: string, value: unknown): Promise<void> {
    this.#record = { ...this.#record, notes: { ...this.#record.notes, [name]: value } }
    await this.#write()
  }

  /** What is known of a run that is done. @throws ERR_CHECKPOINT where its file is broken */
  member<T>(name: string, isMember: (value: unknown) => value is T): T | undefined {
    const path = this.#memberPath(name)
    if (!existsSync(path)) return undefined
    const member = readJsonFile(path)
    check(isMember(member), 'ERR_CHECKPOINT', () => brokenText(path))
    return member
  }

  async setMember(name: string, value: object): Promise<void> {
    await writeFileAtomic(this.#memberPath(name), `${JSON.stringify(value, null, 1)}\n`)
  }

  #memberPath(name: string): string {
    return join(this.path, MEMBERS, `${name}.json`)
  }

  close(): void {
    this.#lock.release()
  }

  #write(): Promise<void> {
    return writeFileAtomic(join(this.path, FILE), `${JSON.stringify(this.#record, null, 1)}\n`)
  }
}

/** Entries that a study of this format wrote. */
function owned(folder: string, format: string, files: readonly string[]): string[] {
  return readRecord(folder, format) ? [FILE, MEMBERS, ...files] : []
}

function readRecord(folder: string, format: string): StudyRecord | undefined {
  const path = join(folder, FILE)
  if (!existsSync(path)) return undefined
  const record = readJsonFile(path)
  check(isStudy(record), 'ERR_CHECKPOINT', () => `study: ${path} is not as it was written; move ${folder} away`)
  check(record.format === format, 'ERR_OPTION', () => {
    return `out: ${path} is of format ${record.format}, not ${format}; name another folder`
  })
  return record
}

function isStudy(value: unknown): value is StudyRecord {
  return isRecord(value) && typeof value.format === 'string' && isRecord(value.origin) && isRecord(value.notes)
}

const brokenText = (path: string) => `study: ${path} is not as it was written; remove it, and its run is made again`

function readJsonFile(path: string): unknown {
  try {
    return JSON.parse(readText(path, 'ERR_CHECKPOINT'))
  } catch {
    fail('ERR_CHECKPOINT', brokenText(path))
  }
}

function checkEmpty(path: string, folder: string, isOwn: boolean): void {
  const [foreign] = isOwn ? [] : readdirSync(folder).filter(name => !name.startsWith('.lowrank-lock'))
  check(foreign === undefined, 'ERR_OPTION', () => {
    return `out: ${path} holds ${foreign}, which no study made; name an empty or a new folder`
  })
}

/** @throws ERR_OPTION naming what differs */
function checkOrigin(was: Readonly<Record<string, unknown>>, is: Readonly<Record<string, unknown>>): void {
  const now = plain(is)
  for (const name of new Set([...Object.keys(was), ...Object.keys(now)])) {
    const [a, b] = [was[name], now[name]].map(value => JSON.stringify(value) ?? 'none')
    check(a === b, 'ERR_OPTION', () => {
      return `resume: ${name} is ${b}, it was ${a}; give the same settings, or start a study in another folder`
    })
  }
}

/** As it comes back from a file. */
function plain(origin: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(origin))
}

function remove(path: string): void {
  rmSync(path, { recursive: true, force: true })
}
