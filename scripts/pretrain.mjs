// Makes the bundled encoder: fetches the texts and the teacher, cleans the texts, cuts the student out of the teacher,
// teaches it states and types of entities, and gives it a masked-LM head. An hour on 2 cores.
//   npm run pretrain -- [--steps N] [--resume] [--entity-steps N] [--head-steps N] [--threads N]
// --steps is for the teaching of states, --resume for both teachings; a few of each try the whole way.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    steps: { type: 'string' },
    resume: { type: 'boolean' },
    'entity-steps': { type: 'string' },
    'head-steps': { type: 'string' },
    threads: { type: 'string' },
  },
})

/** `--name value` where there is a value. */
const given = (name, value) => (value === undefined ? [] : [`--${name}`, value])
const threads = given('threads', values.threads)
const resume = values.resume ? ['--resume'] : []
const ARGUMENTS = {
  sources: [],
  corpus: [],
  student: [],
  distil: [...given('steps', values.steps), ...resume, ...threads],
  tagger: [],
  entities: [...given('steps', values['entity-steps']), ...resume, ...threads],
  lmHead: [...given('steps', values['head-steps']), ...threads],
}

for (const [step, args] of Object.entries(ARGUMENTS)) {
  const file = fileURLToPath(new URL(`../dist/scripts/pretrain/${step}.js`, import.meta.url))
  console.log(`pretrain: ${step}`)
  const { status } = spawnSync(process.execPath, [file, ...args], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
