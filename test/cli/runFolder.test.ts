// What a run may remove and what it may not, however it ends.
// timeout: 600

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RunFolder, type RunFolderOptions } from '../../lib/cli/runFolder.ts'
import { cli, type Finished, records, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
writeJsonl(join(cwd, 'reviews.jsonl'), reviews(60))
const run = (...args: string[]): Promise<Finished> => cli(args, { cwd })
const quick = ['--max-steps', '2', '--batch-size', '8', '--no-evaluate-before']
const train = (...args: string[]): Promise<Finished> => run('train', 'reviews.jsonl', ...quick, ...args)
const read = (...path: string[]): string => readFileSync(join(cwd, ...path), 'utf8')
const adapterOf = (out: string): string => read(out, 'adapter', 'adapter_model.safetensors')

const removeOf = (folder: string, name: string): void => rmSync(join(folder, name), { recursive: true, force: true })

async function refuses(pattern: RegExp, ...args: string[]): Promise<void> {
  const { code, stderr } = await train(...args)
  assert.is(code, 1, stderr)
  assert.match(stderr, pattern)
}

const plain: RunFolderOptions = { command: 'train', overwrite: false, resume: false, inputs: {} }
const open = (name: string, options: Partial<RunFolderOptions> = {}): Promise<RunFolder> =>
  RunFolder.open(join(cwd, name), { ...plain, ...options })
function put(folder: RunFolder, name: string, text = name): void {
  mkdirSync(join(folder.work, name, '..'), { recursive: true })
  writeFileSync(join(folder.work, name), text)
}
/** A finished run of made-up files. */
async function finished(name: string, text = 'one', options: Partial<RunFolderOptions> = {}): Promise<void> {
  const folder = await open(name, options)
  await folder.begin()
  put(folder, 'checkpoints/checkpoint-1/manifest.json', text)
  put(folder, 'log.jsonl', text)
  await folder.results()
  put(folder, 'adapter/adapter_config.json', text)
  put(folder, 'metrics.json', text)
  await folder.finish()
  await folder.close()
}

test('files that no run made are kept, whatever they are called, with --overwrite too', async () => {
  mkdirSync(join(cwd, 'foreign', 'tensorboard'), { recursive: true })
  for (const name of ['tensorboard/mine.txt', 'log.jsonl', 'predictions.jsonl', 'report.html'])
    writeFileSync(join(cwd, 'foreign', name), 'precious')
  for (const extra of [[], ['--overwrite']])
    await refuses(/ERR_OPTION: --out: .*foreign holds predictions.jsonl, which no run/, '--out', 'foreign', ...extra)
  for (const name of ['tensorboard/mine.txt', 'log.jsonl', 'predictions.jsonl', 'report.html'])
    assert.is(read('foreign', name), 'precious')
  assert.equal(readdirSync(join(cwd, 'foreign')).sort(), [
    'log.jsonl',
    'predictions.jsonl',
    'report.html',
    'tensorboard',
  ])
})

test('inputs, base and start adapter in the output folder are refused and stay', async () => {
  mkdirSync(join(cwd, 'inside'), { recursive: true })
  cpSync(join(cwd, 'reviews.jsonl'), join(cwd, 'inside', 'log.jsonl'))
  symlinkSync(join(cwd, 'inside'), join(cwd, 'linked'))
  const data = ['inside/log.jsonl', '--out', 'linked', '--overwrite']
  const { stderr } = await run('train', ...data, ...quick)
  assert.match(stderr, /ERR_OPTION: --out: .*linked holds data \(inside\/log.jsonl\), which the run reads/)
  assert.is(read('inside', 'log.jsonl'), read('reviews.jsonl'))
  await refuses(/holds model \(inside\/base\)/, '--model', 'inside/base', '--out', 'inside', '--overwrite')
  await refuses(/holds --init-from/, '--init-from', 'inside/adapter', '--out', 'inside', '--overwrite')
})

test('--overwrite removes the run before only when the new one is complete', async () => {
  assert.is((await train('--out', 'over')).code, 0)
  const before = adapterOf('over')
  writeFileSync(join(cwd, 'over', 'notes.txt'), 'mine')
  await refuses(/metric: "acuracy"/, '--out', 'over', '--overwrite', '--metric', 'acuracy')
  await refuses(/test: stands beside a file/, '--out', 'over', '--overwrite', '--test', 'none.jsonl')
  await refuses(/matches no linear module/, '--out', 'over', '--overwrite', '--target-modules', 'qeury')
  assert.is(adapterOf('over'), before)
  assert.ok(existsSync(join(cwd, 'over', 'report.html')))
  const files = readdirSync(join(cwd, 'over')).sort()
  const next = await train('--out', 'over', '--overwrite', '--seed', '7', '--json')
  assert.is(next.code, 0, next.stderr)
  assert.is.not(adapterOf('over'), before)
  assert.equal(readdirSync(join(cwd, 'over')).sort(), files)
  assert.is(read('over', 'notes.txt'), 'mine')
  const { adapter, report } = records(next.stdout).at(-1) as { adapter: string; report: string }
  assert.ok(existsSync(adapter) && existsSync(report), adapter)
  // The log is of the new run alone.
  assert.is(records(read('over', 'log.jsonl')).filter(line => line.event === 'start').length, 1)
  writeFileSync(join(cwd, 'over', 'adapter', 'mine.txt'), 'precious')
  await refuses(/over holds adapter\/mine.txt, which no run/, '--out', 'over', '--overwrite')
})

test('a run that replaces is continued where it was stopped, and the old one serves until then', async () => {
  await finished('swap')
  const next = await open('swap', { overwrite: true })
  await next.begin()
  put(next, 'checkpoints/checkpoint-3/manifest.json', 'two')
  await next.close()
  assert.is(read('swap', 'adapter', 'adapter_config.json'), 'one')
  const error = await open('swap').catch(failed => failed as Error)
  assert.match((error as Error).message, /holds a run already/)
  const lost = await open('swap', { resume: 'checkpoint-9' }).catch(failed => failed as Error)
  assert.match(
    (lost as Error).message,
    /resume: checkpoint-9 is no checkpoint; .*swap.checkpoints has checkpoint-1; name one/,
  )
  const resumed = await open('swap', { resume: true })
  assert.ok(existsSync(join(resumed.work, 'checkpoints', 'checkpoint-3')))
  await resumed.begin()
  await resumed.results()
  put(resumed, 'adapter/adapter_config.json', 'two')
  await resumed.finish()
  await resumed.close()
  assert.is(read('swap', 'adapter', 'adapter_config.json'), 'two')
  assert.equal(readdirSync(join(cwd, 'swap')).sort(), ['.lowrank-run.json', 'adapter', 'checkpoints'])
  assert.equal(readdirSync(join(cwd, 'swap', 'checkpoints')), ['checkpoint-3'])
})

test('killed at any rename of the exchange, the next command ends it', async () => {
  const whole = async (name: string): Promise<string> => {
    const folder = await open(name, { overwrite: true })
    await folder.begin()
    put(folder, 'checkpoints/checkpoint-9/manifest.json', 'two')
    await folder.results()
    put(folder, 'adapter/adapter_config.json', 'two')
    put(folder, 'report.html', 'two')
    return folder.work
  }
  // What a kill leaves: the mark says done, and some entries have been moved.
  for (const moved of [[], ['adapter'], ['adapter', 'report.html'], ['adapter', 'report.html', 'checkpoints']]) {
    const name = `kill-${moved.length}`
    await finished(name)
    const work = await whole(name)
    const names = ['adapter', 'report.html', 'checkpoints']
    const mark = {
      format: 'lowrank-run',
      command: 'train',
      names,
      files: ['adapter/adapter_config.json', 'report.html'],
    }
    writeFileSync(join(work, '.lowrank-run.json'), JSON.stringify({ ...mark, done: true }))
    for (const entry of moved) {
      cpSync(join(work, entry), join(cwd, name, entry), { recursive: true })
      if (entry === 'checkpoints') removeOf(join(cwd, name, entry), 'checkpoint-1')
      removeOf(work, entry)
    }
    removeOf(join(cwd, name), '.lowrank-lock')
    await (await open(name, { resume: true })).close()
    assert.equal(readdirSync(join(cwd, name)).sort(), ['.lowrank-run.json', 'adapter', 'checkpoints', 'report.html'])
    assert.is(read(name, 'adapter', 'adapter_config.json'), 'two')
    assert.equal(readdirSync(join(cwd, name, 'checkpoints')), ['checkpoint-9'])
  }
})

test('--resume that finds nothing says what is there', async () => {
  await refuses(/ERR_CHECKPOINT: --resume: .*nowhere holds nothing; start/, '--out', 'nowhere', '--resume')
  assert.not.ok(existsSync(join(cwd, 'nowhere')))
  await refuses(/ERR_OPTION: --resume: goes on with the run/, '--out', 'nowhere', '--resume', '--overwrite')
  const folder = await open('early')
  await folder.begin()
  put(folder, 'log.jsonl')
  await folder.close()
  await refuses(/resume: .*early holds log.jsonl, but no checkpoints/, '--out', 'early', '--resume')
  // What such a run left is nobody's, and no reason to ask.
  assert.is((await train('--out', 'early')).code, 0)
})

test('two writers: the second is told of the first', async () => {
  const held = await open('busy')
  await refuses(/ERR_OPTION: output: .*busy is being written by process \d+; wait/, '--out', 'busy')
  await held.close()
  assert.not.ok(existsSync(join(cwd, 'busy')))
})

test('leftovers of killed writers are gone after the next run', async () => {
  const dead = '.metrics.json.tmp-999999999-00000000'
  mkdirSync(join(cwd, 'left', '.adapter.tmp-999999999-00000000'), { recursive: true })
  for (const name of [dead, '.other.tmp-999999999-00000000']) writeFileSync(join(cwd, 'left', name), '')
  assert.is((await train('--out', 'left')).code, 0)
  const hidden = readdirSync(join(cwd, 'left')).filter(name => name.startsWith('.'))
  assert.equal(hidden.sort(), ['.lowrank-run.json', '.other.tmp-999999999-00000000'])
})

test('a log that cannot be written any more costs a warning, not the run', async () => {
  if (process.platform !== 'linux' || !existsSync('/dev/full')) return
  const folder = await open('full')
  await folder.begin()
  put(folder, 'checkpoints/checkpoint-0/none')
  await folder.close()
  symlinkSync('/dev/full', join(cwd, 'full', 'log.jsonl'))
  const first = await train('--out', 'sound', '--checkpoint-every', '1')
  assert.is(first.code, 0, first.stderr)
  cpSync(join(cwd, 'sound', 'checkpoints'), join(cwd, 'full', 'checkpoints'), { recursive: true })
  const { code, stderr } = await train('--out', 'full', '--checkpoint-every', '1', '--resume')
  assert.is(code, 0, stderr)
  assert.match(stderr, /warning: tracker: .*log.jsonl cannot be written .*; the run goes on without this record/)
  assert.ok(existsSync(join(cwd, 'full', 'adapter')))
})

test.run()
