// Sequences of one pass say nothing to each other, in any family: losses are those of each alone.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Example } from '../../lib/data/example.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel } from '../../lib/model.ts'
import { evaluate } from '../../lib/train/evaluate.ts'

const MODELS = join(packageRoot, 'test/golden/models')
// Scalings that follow the length follow the longest of a pass, in transformers too.
const names = readdirSync(MODELS).filter(name => /-lm(-|$)/.test(name) && !/dynamic|longrope/.test(name))

/** Lengths around those of windows and tiles, the shortest in the middle. */
const examples = [9, 2, 17, 5].map((length, i): Example => {
  const ids = Int32Array.from({ length }, (_, t) => 5 + ((7 * i + 11 * t) % 40))
  return { ids, label: ids, truncated: false, row: { values: {}, file: 'made', line: i } }
})

for (const name of names)
  test(`${name}: losses of packed sequences are those of each alone, to 1e-6`, async () => {
    const model = await loadModel(join(MODELS, name), { task: 'causal-lm' })
    const together = await evaluate(model, examples, { batchSize: examples.length })
    let [sum, weight] = [0, 0]
    for (const example of examples) {
      const { loss } = await evaluate(model, [example])
      sum += loss * (example.ids.length - 1)
      weight += example.ids.length - 1
    }
    assert.ok(Math.abs(sum / weight - together.loss) < 1e-6, `${sum / weight} alone, ${together.loss} packed`)
    model.dispose()
  })

test.run()
