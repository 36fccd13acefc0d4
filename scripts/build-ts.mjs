// Compiles TypeScript into dist/, after deleting what dist/ holds of sources that are gone.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
if (existsSync(dist))
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name)
    const source = relative(dist, file).replace(/\.(js|js\.map|d\.ts)$/, '.ts')
    if (entry.isFile() && source.endsWith('.ts') && !existsSync(join(root, source))) rmSync(file)
  }
// Without its output, tsc's record of what is up to date is wrong.
if (!existsSync(join(dist, 'lib'))) rmSync(join(dist, '.tsbuildinfo'), { force: true })

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)
