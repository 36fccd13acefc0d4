// One writer a folder: a lock file that a dead owner does not keep.

import { randomBytes } from 'node:crypto'
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fail, systemCode } from '../errors.ts'
import { isCount } from '../tuple.ts'
import { sibling } from './atomic.ts'
import { ensureFolder } from './folder.ts'
import { objectIn } from './json.ts'
import { isRunning, machine, startOf } from './process.ts'
import { explained } from './systemError.ts'

/** What a lock is called. */
export const LOCK = '.lowrank-lock'
/** Milliseconds between signs of life, and how long none of them means that the owner is gone. */
const BEAT = 15_000
const SILENCE = 120_000

/** Tokens of locks that this thread has given up, should their files be left. */
const released = new Set<string>()

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
 * containers and machines that share the file system. The lock of a dead process is taken over; what it left of one
 * half made is for `recoverFolder`.
 * @throws ERR_OPTION naming the process that holds it, or where the folder cannot be written; see `explained`
 */
export function lockFolder(folder: string): Lock {
  const held = tryToHold(folder)
  if ('release' in held) return held
  const where = held.machine === machine() ? '' : ` on ${held.machine.split(' ')[0]}`
  fail('ERR_OPTION', `output: ${folder} is being written by process ${held.pid}${where}; wait for it, or name another`)
}

const POLL = 200

/** {@link lockFolder} that waits for whoever holds the folder; `waiting` is told once, the id of that process. */
export async function waitForLock(folder: string, waiting: (pid: number) => void): Promise<Lock> {
  for (let first = true; ; first = false) {
    const held = tryToHold(folder)
    if ('release' in held) return held
    if (first) waiting(held.pid)
    await sleep(POLL)
  }
}

/** The lock, or who has it. */
function tryToHold(folder: string): Lock | Owner {
  try {
    return hold(folder)
  } catch (error) {
    throw explained(folder, error)
  }
}

function hold(folder: string): Lock | Owner {
  ensureFolder(folder)
  const path = join(folder, LOCK)
  const owner: Owner = {
    pid: process.pid,
    started: startOf('self'),
    machine: machine(),
    token: randomBytes(8).toString('hex'),
  }
  const text = JSON.stringify(owner)
  for (let attempt = 0; !place(path, text); attempt++) {
    const held = read(path)
    if (held && (attempt > 10 || isAlive(held.owner, held.silence))) return held.owner
    if (held) takeAway(path, held.text)
  }
  const beat = setInterval(() => touch(path, text), BEAT)
  beat.unref()
  return {
    release() {
      clearInterval(beat)
      released.add(owner.token)
      try {
        if (read(path)?.text === text) rmSync(path, { force: true })
      } catch {
        // A lock that stays holds nobody up: here it is known as released, elsewhere its owner will be gone or silent.
      }
    },
  }
}

/** Puts the lock there, whole; false where there is one. */
function place(path: string, text: string): boolean {
  const own = sibling(path, 'tmp')
  try {
    writeFileSync(own, text, { flag: 'wx' })
    linkSync(own, path)
    return true
  } catch (error) {
    const code = systemCode(error)
    const syscall = error instanceof Error && 'syscall' in error ? error.syscall : undefined
    if (syscall !== 'link') throw error
    if (code === 'EEXIST') return false
    if (!['EPERM', 'ENOTSUP', 'ENOSYS', 'EOPNOTSUPP', 'EMLINK'].includes(code ?? '')) throw error
    return placeWithoutLinks(path, text)
  } finally {
    removeQuietly(own)
  }
}

function placeWithoutLinks(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
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
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function ownerOf(text: string): Owner {
  const { pid, started, machine: where, token } = objectIn(text) ?? {}
  if (isCount(pid) && typeof where === 'string' && typeof token === 'string')
    return { pid, started: typeof started === 'string' ? started : undefined, machine: where, token }
  return { pid: 0, machine: 'unknown', token: '' }
}

function isAlive({ pid, started, machine: where, token }: Owner, silence: number): boolean {
  if (released.has(token)) return false
  // Of processes elsewhere nothing is known but that they give no sign of life.
  if (where !== machine()) return silence < SILENCE
  if (!isRunning(pid)) return false
  return started === undefined || startOf(pid) === undefined || startOf(pid) === started
}

/** Moves a dead lock away; one that a quicker process put there meanwhile is put back. */
function takeAway(path: string, text: string): void {
  const aside = sibling(path, 'tmp')
  try {
    renameSync(path, aside)
    if (readFileSync(aside, 'utf8') !== text) linkSync(aside, path)
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(systemCode(error) ?? '')) throw error
  } finally {
    removeQuietly(aside)
  }
}

/** A name that stays is for `recoverFolder`. */
function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {}
}

function touch(path: string, text: string): void {
  try {
    if (read(path)?.text === text) utimesSync(path, new Date(), new Date())
  } catch {
    // A sign of life that cannot be given is not worth a run.
  }
}
