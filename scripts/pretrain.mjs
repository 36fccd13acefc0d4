// Makes the bundled encoder from nothing: fetches the texts, cleans them, learns the word pieces, encodes the corpus,
// factors first embeddings, and pretrains. Some hours on 2 cores; arguments go to the last step (--steps, --resume).

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const STEPS = ['sources', 'corpus', 'wordpiece', 'tokens', 'embeddings', 'train']

for (const step of STEPS) {
  const file = fileURLToPath(new URL(`../dist/scripts/pretrain/${step}.js`, import.meta.url))
  console.log(`pretrain: ${step}`)
  const args = step === 'train' ? process.argv.slice(2) : []
  const { status } = spawnSync(process.execPath, [file, ...args], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
