// Makes the bundled encoder: fetches the texts and the teacher, cleans the texts, cuts the student out of the teacher,
// teaches it, and gives it a masked-LM head. Half an hour on 2 cores.
//   npm run pretrain -- [--steps N] [--resume] [--head-steps N] [--threads N]
// --steps and --resume are for the teaching, --head-steps for the head; a few of each try the whole way.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    steps: { type: 'string' },
    resume: { type: 'boolean' },
    'head-steps': { type: 'string' },
    threads: { type: 'string' },
  },
})

/** `--name value` where there is a value. */
const given = (name, value) => (value === undefined ? [] : [`--${name}`, value])
const threads = given('threads', values.threads)
const ARGUMENTS = {
  sources: [],
  corpus: [],
  student: [],
  distil: [...given('steps', values.steps), ...(values.resume ? ['--resume'] : []), ...threads],
  lmHead: [...given('steps', values['head-steps']), ...threads],
}

for (const [step, args] of Object.entries(ARGUMENTS)) {
  const file = fileURLToPath(new URL(`../dist/scripts/pretrain/${step}.js`, import.meta.url))
  console.log(`pretrain: ${step}`)
  const { status } = spawnSync(process.execPath, [file, ...args], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
