import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { faults } from '../../lib/io/atomic.ts'
import { readExactJson } from '../../lib/io/json.ts'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { native } from '../../lib/native.ts'
import { readCheckpoint } from '../../lib/train/checkpoint.ts'
import type { TrainData, TrainEvent, TrainOptions } from '../../lib/train/events.ts'
import { originDifference } from '../../lib/train/fingerprint.ts'
import { freshState, parseState, stringifyState } from '../../lib/train/state.ts'
import { train } from '../../lib/train/train.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventsOf, runToEnd, sequences, tinyLora, tinyModel, trainedBytes } from './support.ts'

const data = { train: sequences(40), validation: sequences(16, 8) }
const settings = { epochs: 3, batchSize: 8, lr: 5e-3, checkpointEvery: 2, metric: 'loss' }

interface Ran {
  events: TrainEvent[]
  bytes: string
}

async function run(options: Partial<TrainOptions>, splits: TrainData = data, lora = {}, made = {}): Promise<Ran> {
  const model = tinyModel(made)
  const method = tinyLora(model, lora)
  const live = native.live()
  try {
    const events = await runToEnd(method, splits, { ...settings, ...options })
    return { events, bytes: await trainedBytes(method) }
  } finally {
    assert.is(native.live(), live)
    method.detach()
    model.dispose()
  }
}

/** A run that is aborted after a step, with its checkpoints in a new folder. */
async function aborted(after: number, options: Partial<TrainOptions> = {}, made = {}): Promise<string> {
  const outputDir = temporaryFolder()
  const control = new AbortController()
  const model = tinyModel(made)
  const method = tinyLora(model)
  for await (const event of train(method, data, { ...settings, outputDir, signal: control.signal, ...options }))
    if (event.type === 'step' && event.step === after) control.abort()
  method.detach()
  model.dispose()
  return outputDir
}

const checkpoints = (dir: string) =>
  readdirSync(dir)
    .filter(name => !name.startsWith('.'))
    .sort()

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => assert.unreachable('should have thrown') as never,
    e => e as { code: string; message: string },
  )

test('aborted and resumed, a run ends as if it had been left alone', async () => {
  const whole = await run({})
  for (const after of [1, 4, 5, 11]) {
    const outputDir = await aborted(after)
    const { events, bytes } = await run({ outputDir, resume: true })
    assert.is(bytes, whole.bytes)
    assert.is(
      eventsOf(events, 'start')[0]!.resumed!.step,
      after + 1 > 15 ? 15 : events.find(e => e.type === 'step') ? eventsOf(events, 'step')[0]!.step - 1 : 15,
    )
    const timeless = (event: TrainEvent) => ({ ...event, evaluation: undefined, seconds: 0 })
    const evaluations = (list: TrainEvent[]) => eventsOf(list, 'evaluation').map(timeless)
    assert.equal(evaluations(events), evaluations(whole.events).slice(-evaluations(events).length))
    rmSync(outputDir, { recursive: true })
  }
})

test('so does one whose activations are bf16', async () => {
  const made = { compute: 'bf16' as const }
  const whole = await run({}, data, {}, made)
  const outputDir = await aborted(4, {}, made)
  assert.is((await run({ outputDir, resume: true }, data, {}, made)).bytes, whole.bytes)
  assert.is.not(whole.bytes, (await run({})).bytes)
})

test('8-bit moments are resumed to the byte, and only by a run that has them too', async () => {
  const options = { optimizerStates: '8bit' } as const
  const whole = await run(options)
  assert.is.not(whole.bytes, (await run({})).bytes)
  const outputDir = await aborted(5, options)
  const other = await refusal(run({ outputDir, resume: true }))
  assert.match(other.message, /optimizerStates is f32, it was 8bit/)
  assert.is((await run({ ...options, outputDir, resume: true })).bytes, whole.bytes)
  rmSync(outputDir, { recursive: true })
})
test('a finished run that is resumed only evaluates', async () => {
  const outputDir = temporaryFolder()
  const first = await run({ outputDir })
  const second = await run({ outputDir, resume: true })
  assert.is(second.bytes, first.bytes)
  assert.is(eventsOf(second.events, 'step').length, 0)
  rmSync(outputDir, { recursive: true })
})

test('a checkpoint has its files, the adapter among them, and trainer_state.json as the Trainer writes it', async () => {
  const outputDir = await aborted(6)
  const path = join(outputDir, checkpoints(outputDir).at(-1)!)
  const names = [
    'adapter_config.json',
    'adapter_model.safetensors',
    'before.safetensors',
    'lowrank.json',
    'manifest.json',
  ]
  const rest = ['optimizer.safetensors', 'state.json', 'trainable.safetensors', 'trainer_state.json']
  assert.equal(
    checkpoints(path).filter(name => name !== 'best.safetensors'),
    [...names, ...rest],
  )
  const file = openSafetensors(join(path, 'optimizer.safetensors'))
  assert.ok(file.names().some(name => name.startsWith('m.')) && file.names().some(name => name.startsWith('v.')))
  file.close()
  const state = readExactJson(join(path, 'trainer_state.json')) as Record<string, unknown>
  const expected =
    'best_global_step best_metric best_model_checkpoint epoch eval_steps global_step is_hyper_param_search ' +
    'is_local_process_zero is_world_process_zero log_history logging_steps max_steps num_input_tokens_seen ' +
    'num_train_epochs save_steps stateful_callbacks total_flos train_batch_size trial_name trial_params'
  assert.is(Object.keys(state).join(' '), expected)
  assert.is(state.global_step, 6)
  assert.is(state.best_global_step, 5)
  const log = state.log_history as Record<string, unknown>[]
  assert.equal(Object.keys(log[1]!), ['epoch', 'grad_norm', 'learning_rate', 'loss', 'step'])
  assert.ok(log.some(entry => 'eval_loss' in entry && 'eval_runtime' in entry))
  assert.ok(readFileSync(join(path, 'trainer_state.json'), 'utf8').endsWith('}\n'))
  rmSync(outputDir, { recursive: true })
})

test('the newest and the best are kept', async () => {
  const outputDir = temporaryFolder()
  const { events } = await run({ outputDir, keepCheckpoints: 1 })
  const best = eventsOf(events, 'end')[0]!.bestStep!
  const kept = [...new Set([`checkpoint-${best}`, 'checkpoint-15'])].sort()
  assert.equal(checkpoints(outputDir), kept)
  const again = await refusal(run({ outputDir }))
  assert.is(again.code, 'ERR_OPTION')
  assert.match(again.message, /holds checkpoint-15 of another run/)
  const fresh = await run({ outputDir, overwrite: true, epochs: 1 })
  assert.is(eventsOf(fresh.events, 'step')[0]!.step, 1)
  assert.ok(!checkpoints(outputDir).includes('checkpoint-15'))
  rmSync(outputDir, { recursive: true })
})

test('broken checkpoints are skipped and named, an earlier one is taken', async () => {
  const whole = await run({})
  const damage: [reason: RegExp, spoil: (path: string) => void][] = [
    [/no such file/, path => rmSync(join(path, 'manifest.json'))],
    [/trainable.safetensors has \d+ bytes/, path => truncateSync(join(path, 'trainable.safetensors'), 100)],
    [/optimizer.safetensors is not as it was written/, path => flipByte(join(path, 'optimizer.safetensors'))],
    [/manifest.json (is not as it was written|is not JSON)/, path => flipByte(join(path, 'manifest.json'))],
  ]
  for (const [reason, spoil] of damage) {
    const outputDir = await aborted(8, { keepCheckpoints: 3 })
    assert.ok(checkpoints(outputDir).includes('checkpoint-8'))
    spoil(join(outputDir, 'checkpoint-8'))
    const { events, bytes } = await run({ outputDir, resume: true })
    const skipped = eventsOf(events, 'warning').filter(w => w.code === 'checkpoint-skipped')
    assert.is(skipped.length, 1)
    assert.match(skipped[0]!.message, reason)
    assert.is(eventsOf(events, 'step')[0]!.step, 7)
    assert.is(bytes, whole.bytes)
    rmSync(outputDir, { recursive: true })
  }
})

function flipByte(path: string): void {
  const bytes = readFileSync(path)
  const at = Math.floor(statSync(path).size * 0.75)
  bytes[at] = bytes[at]! ^ 1
  writeFileSync(path, bytes)
}

test('a checkpoint of another run is refused, and the difference named', async () => {
  const outputDir = await aborted(3)
  const other = data.train.map((e, i) => (i === 5 ? { ...e, label: ((e.label as number) + 1) % 3 } : e))
  const cases: [Partial<TrainOptions>, TrainData, object, RegExp][] = [
    [{ lr: 1e-3 }, data, {}, /lr is 0.001, it was 0.005/],
    [{ seed: 1 }, data, {}, /seed is 1, it was 42/],
    [{ classWeights: [1, 1, 2] }, data, {}, /classWeights is 1 1 2, it was none/],
    [{}, { ...data, train: other }, {}, /training or validation data differ/],
    [{}, { ...data, validation: [] }, {}, /training or validation data differ/],
    [{}, data, { dropout: 0.2 }, /another run: dropout is 0.2, it was /],
    [{ seed: 4, lr: 0.5 }, data, {}, /lr is 0.5, it was .*, and seed is 4, it was /],
  ]
  for (const [options, splits, lora, text] of cases) {
    const error = await refusal(run({ ...options, outputDir, resume: true }, splits, lora))
    assert.is(error.code, 'ERR_CHECKPOINT')
    assert.match(error.message, text)
  }
  const { origin } = await readCheckpoint(join(outputDir, checkpoints(outputDir).at(-1)!))
  assert.is(origin.instructionSet, native.info().isa)
  assert.is(originDifference(origin, origin), undefined)
  assert.match(
    originDifference({ ...origin, instructionSet: 'abacus' }, origin)!,
    /instruction set is .*, it was abacus/,
  )
  rmSync(outputDir, { recursive: true })
})

test('a full disk costs a warning, and leaves the checkpoint before as it was', async () => {
  const outputDir = temporaryFolder()
  const whole = await run({})
  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' })
  faults.write = path => {
    if (/checkpoint-([5-9]|1\d)/.test(path)) throw full
  }
  const { events, bytes } = await run({ outputDir })
  faults.write = undefined
  assert.is(bytes, whole.bytes)
  const failed = eventsOf(events, 'warning').filter(w => w.code === 'checkpoint-failed')
  assert.ok(failed.length >= 5)
  assert.match(failed[0]!.message, /disk is full/)
  assert.match(failed[0]!.cure, /checkpoint-4 is still there/)
  assert.equal(checkpoints(outputDir).at(-1), 'checkpoint-4')
  assert.is((await run({ outputDir, resume: true })).bytes, whole.bytes)
  rmSync(outputDir, { recursive: true })
})

test('an output folder that cannot be written is known before the first step', async () => {
  const outputDir = join(temporaryFolder(), 'file')
  writeFileSync(outputDir, '')
  const error = await refusal(run({ outputDir }))
  assert.is(error.code, 'ERR_OPTION')
  assert.match(error.message, /part of the path is a file/)
})

test('a state comes back as it was', () => {
  const state = { ...freshState(), seconds: 0.1 + 0.2, best: { step: 3, value: 1 / 3 } }
  state.history.push({
    kind: 'evaluation',
    when: 'epoch',
    split: 'validation',
    step: 3,
    epoch: 1,
    loss: Number.POSITIVE_INFINITY,
    metrics: { pearson: Number.NaN },
    seconds: 1,
    samples: 2,
  })
  assert.equal(parseState(stringifyState(state)), state)
  assert.equal(parseState(stringifyState(freshState())), freshState())
})

test.run()
