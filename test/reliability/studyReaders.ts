// What studies read back: see readers.ts.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StudyFolder } from '../../lib/study/folder.ts'
import { Journal, operations, TRIAL_STATES } from '../../lib/study/journal.ts'
import { mutateJson } from './mutate.ts'
import type { Mutate, Reader } from './readers.ts'

/** One line of JSON of many. */
const mutateLines: Mutate = (bytes, rng, others) => {
  const lines = Buffer.from(bytes).toString().split('\n')
  const at = rng.below(lines.length - 1)
  lines[at] = Buffer.from(mutateJson(Buffer.from(lines[at]!), rng, others)).toString()
  return Buffer.from(lines.join('\n'))
}

export const STUDY_READERS: readonly Reader[] = [
  {
    name: 'journal of a sweep',
    files: ['journal.log'],
    mutate: mutateLines,
    async prepare(dir) {
      const journal = new Journal(join(dir, 'journal.log'))
      await journal.append(() => [operations.createStudy('sweep', 'maximize')])
      const r = { name: 'IntDistribution', attributes: { low: 1, high: 8, log: false, step: 1 } } as const
      const method = { name: 'CategoricalDistribution', attributes: { choices: ['lora', 'dora'] } } as const
      const attrs = { user: { note: 'x' } }
      for (const state of ['running', 'waiting'] as const)
        await journal.append(() => [
          operations.createTrial(journal.study('sweep')!, state, { r: 4, method: 'dora' }, { r, method }, attrs),
        ])
      const [trial] = journal.study('sweep')!.trials
      await journal.append(() => [operations.report(trial!, 1, 0.5), operations.state(trial!, 'complete', 0.75)])
    },
    read(dir) {
      const journal = new Journal(join(dir, 'journal.log'))
      journal.sync()
      for (const { trials } of journal.studies)
        for (const { state, params } of trials)
          if (!TRIAL_STATES.includes(state) || Object.values(params).includes(undefined as never))
            throw new Error('unsound')
    },
  },
  {
    name: 'study.json',
    files: ['study.json'],
    mutate: mutateJson,
    prepare(dir) {
      writeFileSync(join(dir, 'study.json'), JSON.stringify({ format: 'x', origin: { lr: 1 }, notes: { plan: [] } }))
    },
    async read(dir) {
      const options = { format: 'x', origin: { lr: 1 }, resume: true, overwrite: false, files: [] }
      ;(await StudyFolder.open(dir, options)).close()
    },
  },
]
