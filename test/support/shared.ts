import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Path of shared material (real data, weights, golden traces), or undefined where it is absent: looked for in
 * LOWRANK_SHARED, else beside the package, else inside it.
 */
export function shared(path: string): string | undefined {
  const folders = process.env.LOWRANK_SHARED ? [process.env.LOWRANK_SHARED] : ['../shared', 'shared']
  return folders.map(folder => join(root, folder, path)).find(candidate => existsSync(candidate))
}
