// One writer a folder: a lock file that a dead owner does not keep.

import { randomBytes } from 'node:crypto'
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail } from '../errors.ts'
import { ensureFolder } from './folder.ts'
import { isRunning, machine, startOf } from './process.ts'

const NAME = '.lowrank-lock'
/** Milliseconds between signs of life, and how long none of them means that the owner is gone. */
const BEAT = 15_000
const SILENCE = 120_000

/** A folder held by this process until {@link Lock.release}. */
export interface Lock {
  release(): void
}

/** Who holds a lock. A process id means something within its machine, boot and process namespace alone. */
interface Owner {
  readonly pid: number
  /** Start of the process in ticks since boot, which tells two processes of one id apart. */
  readonly started?: string | undefined
  readonly machine: string
  readonly token: string
}

/**
 * Holds `folder`, which is made where it is missing, against other writers: of this process, this machine, and of
 * containers and machines that share the file system. The lock of a dead process is taken over.
 * @throws ERR_OPTION naming the process that holds it; the system's error where the folder cannot be written
 */
export function lockFolder(folder: string): Lock {
  ensureFolder(folder)
  const path = join(folder, NAME)
  const owner: Owner = { pid: process.pid, started: startOf('self'), machine: machine(), token: unique() }
  const text = JSON.stringify(owner)
  for (let attempt = 0; !place(path, text); attempt++) {
    const held = read(path)
    if (held && (attempt > 10 || isAlive(held.owner, held.silence))) {
      const { pid, machine: where } = held.owner
      const place = where === owner.machine ? '' : ` on ${where.split(' ')[0]}`
      fail('ERR_OPTION', `output: ${folder} is being written by process ${pid}${place}; wait for it, or name another`)
    }
    if (held) takeAway(path, held.text)
  }
  const beat = setInterval(() => touch(path, text), BEAT)
  beat.unref()
  return {
    release() {
      clearInterval(beat)
      if (read(path)?.text === text) rmSync(path, { force: true })
    },
  }
}

const unique = () => randomBytes(8).toString('hex')

/** Puts the lock there, whole; false where there is one. */
function place(path: string, text: string): boolean {
  const own = `${path}-${unique()}`
  writeFileSync(own, text, { flag: 'wx' })
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP', 'EMLINK'].includes(code ?? '')) throw error
    return placeWithoutLinks(path, text)
  } finally {
    rmSync(own, { force: true })
  }
}

function placeWithoutLinks(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** The lock that is there; undefined where there is none. A text that is no owner counts as one that never lived. */
function read(path: string): { text: string; owner: Owner; silence: number } | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    const silence = Date.now() - statSync(path).mtimeMs
    return { text, owner: ownerOf(text), silence }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function ownerOf(text: string): Owner {
  try {
    const { pid, started, machine: where, token } = JSON.parse(text) as Partial<Owner>
    if (Number.isSafeInteger(pid) && typeof where === 'string' && typeof token === 'string')
      return { pid: pid!, started: typeof started === 'string' ? started : undefined, machine: where, token }
  } catch {}
  return { pid: 0, machine: 'unknown', token: '' }
}

function isAlive({ pid, started, machine: where }: Owner, silence: number): boolean {
  // Of processes elsewhere nothing is known but that they give no sign of life.
  if (where !== machine()) return silence < SILENCE
  if (!isRunning(pid)) return false
  return started === undefined || startOf(pid) === undefined || startOf(pid) === started
}

/** Moves a dead lock away; one that a quicker process put there meanwhile is put back. */
function takeAway(path: string, text: string): void {
  const aside = `${path}-${unique()}`
  try {
    renameSync(path, aside)
    if (readFileSync(aside, 'utf8') !== text) linkSync(aside, path)
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

function touch(path: string, text: string): void {
  try {
    if (read(path)?.text === text) utimesSync(path, new Date(), new Date())
  } catch {
    // A sign of life that cannot be given is not worth a run.
  }
}
