import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { objectIn } from './json.ts'

/** The folder of this package's package.json, from sources and from the compiled files alike. */
export const packageRoot = findRoot(dirname(fileURLToPath(import.meta.url)))

/** Version of this package. */
export function packageVersion(): string {
  return String(objectIn(readFileSync(join(packageRoot, 'package.json'), 'utf8'))?.version)
}

function findRoot(dir: string): string {
  while (!existsSync(join(dir, 'package.json')) && dirname(dir) !== dir) dir = dirname(dir)
  return dir
}
