// No AVX instruction may stand outside the objects of its instruction set, and those may define nothing that the linker
// could prefer to a baseline copy (an inline function compiled for AVX-512 would run on every machine).
// `node scripts/check-isa.mjs [build]`, on x86-64 Linux with binutils.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const build = join(fileURLToPath(new URL('..', import.meta.url)), process.argv[2] ?? 'build')
const objects = join(build, 'CMakeFiles')
// What each set of objects may not contain.
const WIDE = /%[yzt]mm|\tv[a-z0-9]+ .*%xmm/
const LIMITS = {
  core: WIDE,
  cpu: WIDE,
  lowrank: WIDE,
  kernels: WIDE,
  cpu_avx2: /%[zt]mm|%k[0-7]/,
  cpu_avx512: /\tv(dpbf16|cvtne)|%tmm/,
  cpu_avx512bf16: /%tmm/,
}

function output(program, ...args) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 30 })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
  return stdout
}

function filesOf(target) {
  const dir = join(objects, `${target}.dir`)
  if (!existsSync(dir)) return []
  return readdirSync(dir, { recursive: true })
    .filter(name => name.endsWith('.o'))
    .map(name => join(dir, name))
}

// The first forbidden instruction of each function that has one.
function trespasses(object, limit) {
  const found = []
  let name = ''
  for (const line of output('objdump', '-d', '-C', '--no-show-raw-insn', object).split('\n')) {
    if (line.endsWith('>:')) name = line.slice(line.indexOf('<') + 1, -2)
    else if (name && limit.test(line)) {
      found.push(`${basename(object)}: ${name}: ${line.trim().replace(/\s+/g, ' ')}`)
      name = ''
    }
  }
  return found
}

const leaks = object =>
  output('nm', '-C', '--defined-only', object)
    .split('\n')
    .filter(line => /^\S+ [uVvWw] /.test(line))
    .map(line => `${basename(object)}: ${line.slice(19)} is an inline function that the whole program would share`)

if (process.arch !== 'x64' || !existsSync(objects)) {
  console.log(`skip: ${process.arch !== 'x64' ? `no AVX on ${process.arch}` : 'nothing is built'}`)
  process.exit(process.arch !== 'x64' ? 0 : 1)
}
const problems = []
let count = 0
for (const target of ['core', 'cpu', 'lowrank', 'kernels', 'cpu_avx2', 'cpu_avx512', 'cpu_avx512bf16', 'cpu_amx'])
  for (const object of filesOf(target)) {
    count++
    if (LIMITS[target]) problems.push(...trespasses(object, LIMITS[target]))
    if (target.startsWith('cpu_')) problems.push(...leaks(object))
  }
for (const problem of problems) console.error(`check-isa: ${problem}`)
console.log(`check-isa: ${count} objects, ${problems.length} instructions or symbols out of place`)
process.exit(problems.length || !count ? 1 : 0)
