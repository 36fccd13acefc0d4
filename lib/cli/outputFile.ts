// What a single file that a command writes may not take the place of.

import { closeSync, existsSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { resolve, sep } from 'node:path'
import { check } from '../errors.ts'

/** @throws ERR_OPTION where a file to write is one of the data that are read */
export function checkNoInput(name: string, path: string | undefined, data: string | undefined): void {
  if (path === undefined || data === undefined || !existsSync(path) || !existsSync(data)) return
  const [ours, theirs] = [realpathSync(resolve(path)), realpathSync(resolve(data))]
  check(ours !== theirs && !ours.startsWith(`${theirs}${sep}`), 'ERR_OPTION', () => {
    return `${name}: ${path} holds data that are read, and would be replaced; name another file`
  })
}

/** @throws ERR_OPTION where a page would take the place of a file that is none */
export function checkPage(name: string, path: string): void {
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true
  check(!isFile || /^<!doctype html>/i.test(startOf(path)), 'ERR_OPTION', () => {
    return `${name}: ${path} is there already, and is no report; name another file`
  })
}

function startOf(path: string): string {
  const file = openSync(path, 'r')
  try {
    const start = Buffer.alloc(15)
    return start.toString('latin1', 0, readSync(file, start))
  } finally {
    closeSync(file)
  }
}
