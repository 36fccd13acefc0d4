// What the kernels for Hopper become under lists of architectures that name no 90a: their code, or traps that are
// never launched (cuda/hopper_code.cu). Configures CMake per list, without building, and compiles that one file to PTX.
//
// node scripts/check-architectures.mjs, where nvcc is.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const SOURCE = 'cuda/hopper_code.cu'
// A list, and what ptx::generation() is in each code made of it.
const EXPECTED = { 80: [80], 90: [909], '80;90a': [909], '90-virtual': [909], '120-real;80-virtual': [80, 120] }

/** The --generate-code options with which CMake would compile the file. */
function codesOf(list, folder) {
  const options = ['-S', root, '-B', folder, '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON', '-DLOWRANK_TESTS=OFF']
  const env = { ...process.env, LOWRANK_CUDA: '1', LOWRANK_CUDA_ARCHITECTURES: list }
  execFileSync('cmake', options, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const commands = JSON.parse(readFileSync(join(folder, 'compile_commands.json'), 'utf8'))
  const { command } = commands.find(({ file }) => file.endsWith(SOURCE))
  return [...command.matchAll(/arch=(compute_\w+)/g)].map(match => match[1])
}

/** ptx::generation() in the code for one architecture. */
function generationOf(architecture) {
  const options = ['-std=c++17', '-I.', '--expt-relaxed-constexpr', `-arch=${architecture}`, '-ptx', '-o', '-', SOURCE]
  const ptx = execFileSync('nvcc', options, { cwd: root, encoding: 'utf8' })
  return Number(ptx.match(/mov\.[bu]32\s+%r\d+, (\d+);/)[1])
}

let failed = 0
for (const [list, expected] of Object.entries(EXPECTED)) {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-architectures-'))
  try {
    const found = [...new Set(codesOf(list, folder).map(generationOf))].sort((a, b) => a - b)
    const ok = found.join() === expected.join()
    if (!ok) failed++
    console.log(`${ok ? 'ok  ' : 'FAIL'} ${list}: Hopper's kernels are compiled for ${found}, expected ${expected}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
console.log(`${Object.keys(EXPECTED).length - failed} passed, ${failed} failed, 0 skipped`)
process.exit(failed ? 1 : 0)
