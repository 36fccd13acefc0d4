// Trains the same adapter in several runtimes and compares the bytes: `npm run test:runtimes [-- --install]`.
// The runtimes lie in .cache/runtimes; --install gets those that are missing from the registry. Needs a build.

import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = join(root, '.cache/runtimes')
const { arch } = process

/** The package of each runtime, its program there, and words before a script. */
const RUNTIMES = {
  ...Object.fromEntries(
    ['20.19.0', '22', '24', '26'].map(version => [
      `node ${version}`,
      { spec: `node-linux-${arch}@${version}`, program: 'bin/node', words: [] },
    ]),
  ),
  bun: { spec: `@oven/bun-linux-${arch === 'arm64' ? 'aarch64' : arch}`, program: 'bin/bun', words: ['run'] },
  deno: { spec: `@deno/linux-${arch}-glibc`, program: 'deno', words: ['run', '-A'] },
}

/** A short run on what the package brings: it prints the adapter's SHA-256 and what the adapter says of a text. */
const JOB = `
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { attach, bundled, loadModel, loadTokenizer, lora, open, prepareData, saveAdapter, train } from 'lowrank'
const out = process.argv.at(-1)
const data = await prepareData(bundled.sample, await loadTokenizer(bundled.encoder), { maxLength: 48 })
const adapter = attach(await loadModel(bundled.encoder, data.head), lora({ dropout: 0.1, targetModules: 'all-linear' }))
for await (const _ of train(adapter, data, { maxSteps: 12, evaluateBefore: false })) continue
await saveAdapter(adapter, out)
const hash = createHash('sha256').update(readFileSync(out + '/adapter_model.safetensors')).digest('hex')
const [{ label, probability }] = await (await open(out)).predict(['a bird that cannot fly'])
console.log(hash, label, probability)
`

/** The program of a runtime; undefined where it is not here and not to be installed. */
function programOf(name, { spec, program }, install) {
  const folder = join(cache, name.replace(' ', '-'))
  const path = join(folder, program)
  if (!existsSync(path) && install) {
    mkdirSync(folder, { recursive: true })
    execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, spec], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const tarball = join(
      folder,
      readdirSync(folder).find(file => file.endsWith('.tgz')),
    )
    execFileSync('tar', ['-xzf', tarball, '-C', folder, '--strip-components=1'])
    rmSync(tarball)
    chmodSync(path, 0o755)
  }
  return existsSync(path) ? path : undefined
}

function answerOf(program, words, folder, out) {
  const options = { cwd: folder, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } }
  const { status, stdout, stderr, error } = spawnSync(program, [...words, 'job.mjs', out], options)
  if (status !== 0) throw new Error(error?.message ?? stderr.trim().split('\n').slice(-3).join(' '))
  return stdout.trim()
}

const install = process.argv.includes('--install')
const folder = mkdtempSync(join(tmpdir(), 'lowrank-runtimes-'))
try {
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/lowrank'))
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(join(folder, 'job.mjs'), JOB)
  const expected = answerOf(process.execPath, [], folder, 'here')
  console.log(`node ${process.versions.node}, this one: ${expected}`)
  for (const [name, runtime] of Object.entries(RUNTIMES)) {
    const program = programOf(name, runtime, install)
    if (!program) {
      console.log(`skip: ${name} is not in .cache/runtimes; npm run test:runtimes -- --install`)
      continue
    }
    const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0]
    const answer = answerOf(program, runtime.words, folder, name.replace(' ', '-'))
    if (answer !== expected) process.exitCode = 1
    console.log(`${answer === expected ? 'same bytes' : `OTHER BYTES (${answer})`}: ${name} (${version})`)
  }
} catch (error) {
  console.error(`runtimes: ${error.message}`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
