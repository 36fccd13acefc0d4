// Everything that can be tested on a GPU: scripts/gpu.sh tests, then the op table through the addon itself.
//
// node scripts/test-gpu.mjs, after `npm run build:cuda`. Without a GPU it says so and skips.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const totals = { passed: 0, failed: 0, skipped: 0 }

/** Runs one, passes its output on, and adds up what its last line says. */
function run(program, args, env = {}) {
  const { status, stdout } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  })
  const lines = (stdout ?? '').trimEnd().split('\n')
  const counts = lines.at(-1)?.match(/^(\d+) passed, (\d+) failed, (\d+) skipped$/)
  console.log(lines.slice(0, counts ? -1 : undefined).join('\n'))
  for (const [i, key] of Object.keys(totals).entries()) totals[key] += Number(counts?.[i + 1] ?? 0)
  if (!counts || (status !== 0 && counts[2] === '0')) totals.failed++
}

run('bash', ['scripts/gpu.sh', 'tests'])
// Where there is no GPU, the skip above is enough.
if (totals.passed + totals.failed)
  run(process.execPath, ['scripts/test.mjs', '--no-build', 'test/emulator/ops.test.ts'], { LOWRANK_TEST_GPU: '1' })
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
process.exit(totals.failed ? 1 : 0)
