// The lock of a journal, by Optuna's rules, so that both may write one file.

import { randomUUID } from 'node:crypto'
import { existsSync, lstatSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { check, systemCode } from '../errors.ts'

/** How long a lock may stand unchanged before its owner counts as dead, as Optuna's: 30 s. */
const GRACE = 30_000

/** Optuna's lock: a symbolic link beside the file, which file systems make in one step, NFS among them. */
export async function withLock(path: string, body: () => Promise<void>): Promise<void> {
  const lock = `${path}.lock`
  if (!existsSync(path)) writeFileSync(path, '', { flag: 'a' })
  let [seen, since, wait] = ['', Date.now(), 1]
  while (!tryLink(path, lock)) {
    const mark = markOf(lock)
    if (mark !== seen) [seen, since] = [mark, Date.now()]
    else if (Date.now() - since > GRACE) release(lock)
    await sleep(wait)
    wait = Math.min(wait * 2, 500)
  }
  try {
    await body()
  } finally {
    release(lock)
  }
}

function tryLink(path: string, lock: string): boolean {
  try {
    symlinkSync(path, lock)
    return true
  } catch (error) {
    const code = systemCode(error)
    check(code === 'EEXIST', 'ERR_OPTION', () => `study: ${lock} cannot be made (${code}); name another folder`)
    return false
  }
}

/** Tells one lock from the next. */
function markOf(lock: string): string {
  const found = lstatSync(lock, { throwIfNoEntry: false })
  return found ? `${found.ino} ${found.ctimeMs}` : ''
}

/** Moved away first, so that of two who release one lock only one does. */
function release(lock: string): void {
  const aside = `${lock}${randomUUID()}.rename`
  try {
    renameSync(lock, aside)
  } catch {
    return
  }
  rmSync(aside, { force: true })
}
