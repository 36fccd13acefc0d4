// Compiles TypeScript into dist/, after deleting what dist/ holds of sources that are gone, and puts the data files of
// the tests beside them.

import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')

function filesOf(dir) {
  if (!existsSync(dir)) return []
  const entries = readdirSync(dir, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath ?? entry.path, entry.name))
}

for (const file of filesOf(dist)) {
  const output = relative(dist, file)
  const source = join(root, output.replace(/\.(js|js\.map|d\.ts|d\.cts)$/, '.ts'))
  if (output !== '.tsbuildinfo' && !existsSync(source)) rmSync(file)
}
// Without its output, tsc's record of what is up to date is wrong.
if (!existsSync(join(dist, 'lib'))) rmSync(join(dist, '.tsbuildinfo'), { force: true })

for (const file of filesOf(join(root, 'test'))) {
  const copy = join(dist, relative(root, file))
  if (/\.(ts|py|cpp|h|sh)$/.test(file)) continue
  if (statSync(copy, { throwIfNoEntry: false })?.mtimeMs !== statSync(file).mtimeMs)
    cpSync(file, copy, { preserveTimestamps: true })
}

// What compiled tests look for beside test/ is where the sources have it.
mkdirSync(dist, { recursive: true })
rmSync(join(dist, 'assets'), { force: true })
symlinkSync('../assets', join(dist, 'assets'))

// A module that is CommonJS to TypeScript may not name one that is not, though Node's require takes both.
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
for (const { require: required } of Object.values(exports)) {
  if (!required) continue
  const file = join(root, required.types)
  mkdirSync(dirname(file), { recursive: true })
  const text = `// @ts-ignore TS1479: Node's require takes this module.\nexport * from './${basename(required.default)}'\n`
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text)
}

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)
