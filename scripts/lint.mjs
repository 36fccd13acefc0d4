// biome over TypeScript, JavaScript and JSON, clang-format over C++ and CUDA. --fix rewrites, else differences are
// errors. Paths limit it: `npm run lint -- cuda lib/io`.

import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const fix = process.argv.includes('--fix')
const paths = process.argv.slice(2).filter(arg => !arg.startsWith('--'))
const NATIVE = [
  'core',
  'cpu',
  'cuda',
  'binding',
  'test/native',
  'test/support',
  'test/emulator',
  'test/kernels',
  'bench',
]

function run(program, args) {
  return spawnSync(process.execPath, [program, ...args], { cwd: root, stdio: 'inherit' }).status === 0
}

function filesOf(path) {
  const full = join(root, path)
  if (!statSync(full, { throwIfNoEntry: false })?.isDirectory()) return [path]
  return readdirSync(full, { recursive: true }).map(name => join(path, name))
}

const biome = join(dirname(require.resolve('@biomejs/biome/package.json')), 'bin/biome')
const clangFormat = require.resolve('clang-format/index.js')
const sources = (paths.length ? paths : NATIVE).flatMap(filesOf).filter(name => /\.(h|cpp|inc|cu|cuh)$/.test(name))

const biomeOk = run(biome, [
  'check',
  ...(fix ? ['--write'] : []),
  '--no-errors-on-unmatched',
  ...(paths.length ? paths : ['.']),
])
const clangOk = !sources.length || run(clangFormat, [...(fix ? ['-i'] : ['--dry-run', '-Werror']), ...sources])
process.exit(biomeOk && clangOk ? 0 : 1)
