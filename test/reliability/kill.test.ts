// Killed at any change of its folder, a run goes on to the same bytes: a slice of what `npm run test:kill` does whole.
// timeout: 600

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readTree } from './fileSystem.ts'
import { enterWorld, goOn, killAt, killEverywhere, record, resultsOf } from './kill.ts'
import { CASES } from './world.ts'

const { dir, leave } = await enterWorld()
test.after(leave)

const SLICES: [name: string, every: number][] = [
  ['epochs and steps', 9],
  ['over an earlier run', 23],
  ['adalora', 149],
  ['all weights, 8-bit', 41],
  ['from an adapter', 53],
  ['tags, dora', 71],
]

for (const [name, every] of SLICES)
  test(`${name}: every ${every}th kill`, async () => {
    const one = CASES.find(each => each.name === name)!
    const { states, resumed, problems } = await killEverywhere(dir, one, every, Date.now() % every)
    assert.equal(problems, [])
    console.log(`${name}: ${states} kills, ${resumed} resumed`)
    assert.ok(states > 5 && resumed > states / 3)
  })

test('a process that is really killed leaves what is assumed', async () => {
  const out = join(dir, 'really')
  const { args } = CASES.find(({ name }) => name === 'epochs and steps')!
  mkdirSync(out)
  const states = await record(dir, out, args)
  for (const change of [4, 90, 200]) {
    rmSync(out, { recursive: true })
    mkdirSync(out)
    await killAt(out, args, change)
    // But for the ids in temporary names.
    const names = (tree: ReturnType<typeof readTree>) =>
      [...tree.keys()].map(name => name.replace(/-\d+-\w{8}|tfevents.*/g, '')).sort()
    const left = names(readTree(out)).join()
    assert.ok(
      states.some(({ tree }) => names(new Map(tree)).join() === left),
      left,
    )
    await goOn(args, out)
    assert.equal([...resultsOf(readTree(out))], [...resultsOf(states.at(-1)!.tree)])
  }
})

test.run()
