// What a prebuilt addon asks of the machine it is loaded on: the C library alone, and of that nothing newer than its
// target says. `node scripts/check-libraries.mjs FILE…` prints what each asks for; with binutils, for any processor.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Newest glibc that a prebuilt addon may ask for: RHEL 8, Debian 10, Ubuntu 20.04 and all later ones have it. */
export const NEWEST_GLIBC = '2.28'

const LIBRARY = /^(ld-linux[\w-]*|libc|libm|libdl|librt|libpthread)\.so(\.\d+)?$/
const MUSL = /^libc\.so$|^ld-musl-/

function readelf(...args) {
  const { status, stdout, stderr, error } = spawnSync('readelf', args, { encoding: 'utf8', maxBuffer: 1 << 28 })
  if (status !== 0) throw new Error(`readelf ${args.join(' ')}: ${error?.message ?? stderr}; install binutils`)
  return stdout
}

/** What a shared library needs: processor, libraries, and the undefined symbols with their versions. */
export function needsOf(file) {
  const machine = readelf('-h', file).match(/Machine: +(.*)/)?.[1] ?? 'unknown'
  const libraries = [...readelf('-d', file).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(match => match[1])
  const symbols = [...readelf('-W', '--dyn-syms', file).matchAll(/ (GLOBAL|WEAK) +DEFAULT +UND (\S+)/g)].map(
    ([, binding, symbol]) => {
      const [name, version = ''] = symbol.split('@')
      return { name, version, weak: binding === 'WEAK' }
    },
  )
  return { machine, libraries, symbols }
}

/** The newest version of a set of symbols, as `GLIBC`, `GLIBCXX`, `CXXABI`. */
export function newest(symbols) {
  const found = new Map()
  for (const { version } of symbols) {
    const [, set, number] = version.match(/^(\w+?)_([\d.]+)$/) ?? []
    if (set && compare(number, found.get(set) ?? '0') > 0) found.set(set, number)
  }
  return Object.fromEntries(found)
}

function compare(a, b) {
  const [x, y] = [a, b].map(version => version.split('.').map(Number))
  for (let i = 0; i < Math.max(x.length, y.length); i++)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) - (y[i] ?? 0)
  return 0
}

const MACHINES = { x64: /X86-64/, arm64: /AArch64/ }

/** Everything that would keep `file` from loading on the oldest system of `target` (`linux-x64-glibc`). */
export function problemsOf(file, target) {
  const { machine, libraries, symbols } = needsOf(file)
  const [, arch, libc] = target.split('-')
  const problems = []
  if (!MACHINES[arch].test(machine)) problems.push(`it is for ${machine}, not for ${arch}`)
  const fits = libc === 'musl' ? MUSL : LIBRARY
  for (const name of libraries) if (!fits.test(name)) problems.push(`it needs ${name}`)
  for (const { name, version } of symbols) {
    const number = version.match(/^GLIBC_([\d.]+)$/)?.[1]
    if (number && compare(number, NEWEST_GLIBC) > 0) problems.push(`${name} is of glibc ${number}`)
    if (version && !number) problems.push(`${name} is of ${version}`)
  }
  if (libc === 'glibc')
    for (const { name, version, weak } of symbols)
      if (!version && !weak && !/^(napi|node_api)_/.test(name)) problems.push(`nothing has ${name}`)
  return problems
}

/** @throws where `file` would not load everywhere it should */
export function checkLibraries(file, target) {
  const problems = problemsOf(file, target)
  if (problems.length) throw new Error(`${file}: ${problems.join('; ')}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const file of process.argv.slice(2)) {
    const { machine, libraries, symbols } = needsOf(file)
    console.log(`${file}: ${machine}; ${libraries.join(', ')}; ${JSON.stringify(newest(symbols))}`)
  }
