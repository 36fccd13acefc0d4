// Makes the bundled encoder: fetches the texts and the teacher, cleans the texts, cuts the student out of the teacher,
// teaches it, and gives it a masked-LM head. Half an hour on 2 cores; arguments go to the teaching (--steps, --resume).

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const STEPS = ['sources', 'corpus', 'student', 'distil', 'lmHead']

for (const step of STEPS) {
  const file = fileURLToPath(new URL(`../dist/scripts/pretrain/${step}.js`, import.meta.url))
  console.log(`pretrain: ${step}`)
  const args = step === 'distil' ? process.argv.slice(2) : []
  const { status } = spawnSync(process.execPath, [file, ...args], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
