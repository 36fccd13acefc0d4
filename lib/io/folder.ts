import { existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { systemCode } from '../errors.ts'

/**
 * Makes a folder and those above it. Node's recursive mkdir never returns where a file system refuses new folders with
 * ENOENT under a parent that exists (/proc does); this throws the system's error.
 */
export function ensureFolder(path: string): void {
  const folder = resolve(path)
  if (existsSync(folder)) return
  if (dirname(folder) !== folder) ensureFolder(dirname(folder))
  try {
    mkdirSync(folder)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
}
