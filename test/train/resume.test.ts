import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { random } from '../../lib/random.ts'
import { temporaryFolder } from '../support/temporary.ts'

const KILLS = 12

interface Life {
  killed: boolean
  /** Step that it went on from. */
  from: number
}

/** Runs the child until it ends, or kills it `after` milliseconds of training or at its own `write`. */
async function live(output: string, result: string, { after = 0, write = 0 } = {}): Promise<Life> {
  const script = fileURLToPath(import.meta.url).replace('resume.test', 'resumeChild')
  const child = spawn(process.execPath, [...process.execArgv, script, output, result, String(write)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let from = 0
  child.stdout.once('data', (text: Buffer) => {
    from = Number(String(text))
    if (after > 0) setTimeout(() => child.kill('SIGKILL'), after)
  })
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  assert.ok(signal === 'SIGKILL' || code === 0, `the child ended with ${code} ${signal}`)
  return { killed: signal === 'SIGKILL', from }
}

test('a run killed at random moments, also while it saves, ends with the bytes of one that was left alone', async () => {
  const folder = temporaryFolder()
  const whole = join(folder, 'whole.json')
  await live('-', whole)
  const expected = readFileSync(whole, 'utf8')
  assert.ok(JSON.parse(expected).bestStep < JSON.parse(expected).step, 'the best step is not the last')
  const seed = Date.now() % 1e6
  const rng = random(seed, 'kills')
  let [kills, resumed, leftovers] = [0, 0, 0]
  for (let attempt = 0; kills < KILLS; attempt++) {
    const [output, result] = [join(folder, `run${attempt}`), join(folder, `run${attempt}.json`)]
    while (!existsSync(result)) {
      const isSaving = rng.below(2) === 0
      const left = KILLS - kills
      const how = left <= 0 ? {} : isSaving ? { write: 1 + rng.below(60) } : { after: 1 + rng.below(300) }
      const { killed, from } = await live(output, result, how)
      if (killed) kills++
      if (from > 0) resumed++
      if (existsSync(output) && readdirSync(output).some(name => name.includes('.tmp-'))) leftovers++
    }
    assert.is(readFileSync(result, 'utf8'), expected, `seed ${seed}`)
  }
  assert.ok(resumed >= KILLS / 2, `${resumed} lives went on from a checkpoint`)
  assert.ok(leftovers > 0, 'some were killed in the middle of a save')
  rmSync(folder, { recursive: true })
})

test.run()
