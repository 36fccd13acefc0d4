// What README and docs tell people to type: every command line is understood, those of the tutorial and the TypeScript
// of the README run in an empty folder that has the package.
// timeout: 600

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { OPTIONS } from '../../lib/cli/options/options.ts'
import { parseCommandLine, settingsOf } from '../../lib/cli/program.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { nameHere } from '../../lib/options.ts'
import { capitals, chatModelFolder } from '../support/chatModel.ts'
import { reviews, workFolder, writeJsonl } from './support.ts'

const pages = ['README.md', ...readdirSync(join(packageRoot, 'docs')).map(name => `docs/${name}`)]
const read = (page: string) => readFileSync(join(packageRoot, page), 'utf8')
const main = join(packageRoot, 'dist/lib/cli/main.js')

/** Indented `npx lowrank` lines of a page, as words. */
function commandsOf(page: string): string[][] {
  const lines = [...read(page).matchAll(/^ {4}npx lowrank (.*)$/gm)].map(([, line]) => line!.replace(/ +#.*$/, ''))
  return lines.map(line => [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!))
}

/** Fenced blocks of a language. */
const blocksOf = (page: string, language: string) =>
  [...read(page).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, block]) => block!)

/** An empty folder in which the package is found by its name. */
function home(): string {
  const folder = workFolder()
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(packageRoot, join(folder, 'node_modules/lowrank'))
  return folder
}

const env = { ...process.env, LOWRANK_THREADS: '1', NO_COLOR: '1' }
const node = (cwd: string, ...args: string[]) =>
  execFileSync(process.execPath, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

test('every command line of the pages is understood', () => {
  let count = 0
  for (const page of pages)
    for (const words of commandsOf(page)) {
      const given = words.filter((word, i) => word !== '--config' && words[i - 1] !== '--config')
      const parsed = parseCommandLine(given)
      if ('command' in parsed && given.length === words.length) settingsOf(parsed.command, parsed.given)
      count++
    }
  assert.ok(count > 25, `${count} command lines`)
})

test('names of other libraries are told ours as the page says', () => {
  const known = OPTIONS.map(({ name }) => name)
  const rows = [...read('docs/from-peft.md').matchAll(/^\| `(\w+)` \| `(\w+)` \|/gm)]
  assert.ok(rows.length > 20)
  for (const [, theirs, ours] of rows) assert.is(nameHere(theirs!, known), ours, theirs)
})

const skip = existsSync(main) ? undefined : 'the package is not built'

/** A test that needs dist. */
function built(name: string, run: () => Promise<void>): void {
  test(name, async () => (skip ? console.log(`skip: ${skip}`) : await run()))
}

built('the tutorial, line by line', async () => {
  const cwd = home()
  const rows = reviews(80).map(({ text, label }) => `"${text}",${label}`)
  writeFileSync(join(cwd, 'reviews.csv'), `text,label\n${rows.join('\n')}\n`)
  // Less time says the same.
  for (const words of commandsOf('docs/tutorial.md'))
    node(cwd, main, ...words.map(word => (word === '60s' ? '15s' : word)))
  for (const name of ['reviews/report.html', 'reviews/adapter/README.md', 'again/metrics.json', 'merged/config.json'])
    assert.ok(existsSync(join(cwd, name)), name)
  const [block] = blocksOf('docs/tutorial.md', 'js')
  writeFileSync(join(cwd, 'server.mjs'), block!)
  const port = 20_000 + (process.pid % 20_000)
  const server = spawn(process.execPath, ['server.mjs'], { cwd, env: { ...env, PORT: String(port) }, stdio: 'inherit' })
  try {
    const ask = () => fetch(`http://localhost:${port}`, { method: 'POST', body: 'what a dull film' })
    let answer: Response | undefined
    for (let i = 0; i < 200 && !answer; i++) {
      answer = await ask().catch(() => undefined)
      if (!answer) await new Promise(resolve => setTimeout(resolve, 100))
    }
    const found = (await answer!.json()) as { label: string }
    assert.ok(['good', 'bad'].includes(found.label), JSON.stringify(found))
  } finally {
    server.kill()
  }
})

built('the TypeScript of the README runs as ES module and as CommonJS', async () => {
  const cwd = home()
  writeJsonl(join(cwd, 'chat.jsonl'), capitals(12))
  symlinkSync(await chatModelFolder(), join(cwd, 'SmolLM2-135M-Instruct'))
  // The blocks are complete programs; the second reads what the first wrote. Fewer steps say the same.
  const blocks = blocksOf('README.md', 'ts').map(block =>
    block.replace(/train\((\w+), data\)/, 'train($1, data, { maxSteps: 3 })'),
  )
  assert.ok(blocks.length >= 3)
  for (const [i, block] of blocks.entries()) {
    writeFileSync(join(cwd, `block${i}.mjs`), block)
    const plain = block.replace(/^import (\{[^}]*\}) from ('[^']*')$/gm, 'const $1 = require($2)')
    assert.not.match(plain, /^import /m)
    writeFileSync(join(cwd, `block${i}.cjs`), `(async () => {\n${plain}\n})()`)
    for (const kind of ['mjs', 'cjs']) assert.match(node(cwd, `block${i}.${kind}`), /\S/)
  }
})

built('esbuild as docs/bundlers.md says', async () => {
  const esbuild = join(packageRoot, 'node_modules/.bin/esbuild')
  if (!existsSync(esbuild)) return console.log('skip: there is no esbuild')
  const cwd = home()
  const app =
    "import { bundled, loadTokenizer } from 'lowrank'\nconsole.log((await loadTokenizer(bundled.encoder)).vocabSize)"
  writeFileSync(join(cwd, 'app.mjs'), app)
  const [, line] = /`esbuild ([^`]+)`/.exec(read('docs/bundlers.md'))!
  execFileSync(esbuild, line!.split(' '), { cwd, stdio: 'pipe' })
  assert.match(node(cwd, 'out.mjs'), /^\d+\n$/)
})

test.run()
