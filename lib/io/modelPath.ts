import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isGguf } from './gguf/file.ts'

/** Whether a path is that of a model: a folder with config.json, or a GGUF file. */
export function isModelPath(path: string): boolean {
  return isGguf(path) || existsSync(join(path, 'config.json'))
}
