// The paths of ARCHITECTURE.md, counted: what a step passes through, what an op, a method, a family or a task costs.

import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import ts from 'typescript'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { headTasks } from '../lib/heads/index.ts'
import { packageRoot } from '../lib/io/package.ts'
import { MODEL_TYPES } from '../lib/models/index.ts'
import { METHODS } from '../lib/peft/index.ts'

const read = (file: string) => readFileSync(join(packageRoot, file), 'utf8')
const sources = readdirSync(join(packageRoot, 'lib'), { recursive: true })
  .map(name => join('lib', String(name)))
  .filter(name => name.endsWith('.ts'))

/** Files below lib that hold a text as a literal: comments don't count. */
function spelling(text: string): string[] {
  return sources.filter(file => {
    const source = read(file)
    if (!source.includes(text)) return false
    const scanner = ts.createScanner(ts.ScriptTarget.Latest, true, ts.LanguageVariant.Standard, source)
    for (let token = scanner.scan(); token !== ts.SyntaxKind.EndOfFileToken; token = scanner.scan())
      if (token === ts.SyntaxKind.StringLiteral && scanner.getTokenValue() === text) return true
    return false
  })
}

/** Lines of a file that import from `./name.ts`. */
const importsOf = (file: string, name: string) => read(file).match(new RegExp(`from '\\./${name}\\.ts'`, 'g')) ?? []

/** Files below folders whose text holds a word. */
function naming(word: RegExp, ...folders: string[]): string[] {
  const files = folders.flatMap(folder => {
    return readdirSync(join(packageRoot, folder), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name).slice(packageRoot.length + 1))
  })
  return files.filter(file => word.test(read(file))).sort()
}

test('an op is four files, four lines and a case for each of its checks', () => {
  const word = /\blog1mexp\b/
  assert.equal(naming(word, 'core', 'cpu', 'cuda', 'binding', 'lib', 'test/core', 'test/kernels'), [
    'binding/addon.cpp',
    'core/kernels.h',
    'core/ops.h',
    'core/ops/log1mexp.cpp',
    'cpu/log1mexp.cpp',
    'cuda/log1mexp.cu',
    'lib/check/elementwise.ts',
    'lib/heads/preferenceLosses.ts', // who uses it
    'lib/native.ts',
    'lib/ops/log1mexp.ts',
    'test/core/binding.test.ts',
    'test/kernels/elementwise.cu',
  ])
  for (const file of ['binding/addon.cpp', 'core/kernels.h', 'core/ops.h', 'lib/native.ts']) {
    const lines = read(file)
      .split('\n')
      .filter(line => word.test(line))
    assert.is(lines.length, 1, file)
  }
})

// The default, and what is saved as a whole model: other rooms ask for these two by name. The others are words with
// other uses too: a decomposition, a folder, a column of the data, a flag's form.
const KNOWN_ELSEWHERE = ['lora', 'full', 'svd', 'adapter', 'prompt', 'prefix', 'head']

test('a method is one file and one line', () => {
  assert.ok(METHODS.length >= 10, `${METHODS.length} methods`)
  for (const { type } of METHODS) {
    const files = spelling(type)
    const own = files.filter(file => new RegExp(`type: '${type}'`).test(read(file)) && file.startsWith('lib/peft/'))
    assert.is(own.length, 1, `${type} is made in ${own.join(', ')}`)
    const name = basename(own[0]!, '.ts')
    assert.is(importsOf('lib/peft/registry.ts', name).length, 1, `lib/peft/registry.ts imports ${name} once`)
    if (!KNOWN_ELSEWHERE.includes(type)) assert.equal(files, own, `${type} is named outside its file`)
  }
})

test('a family is one file and one line', () => {
  for (const type of MODEL_TYPES) {
    const own = sources.filter(file => file.startsWith('lib/models/') && read(file).includes(`modelType: '${type}'`))
    assert.is(own.length, 1, `${type} is made in ${own.join(', ')}`)
    const name = basename(own[0]!, '.ts')
    assert.is(importsOf('lib/models/index.ts', name).length, 1, `lib/models/index.ts imports ${name} once`)
    // GGUF has names of its own for architectures and tokenizers, some of them the same.
    const rooms = ['lib/models/', 'lib/peft/', 'lib/io/gguf/']
    const elsewhere = spelling(type).filter(file => !rooms.some(room => file.startsWith(room)))
    assert.equal(elsewhere, [], `${type} is named outside lib/models and the tables of PEFT and GGUF`)
    // PEFT's table of default targets knows more families than are here; a way to begin weights is AdapterHub's "bert".
    const tables = ['lib/peft/targets.ts', 'lib/peft/hubConfig.ts']
    const inPeft = spelling(type).filter(file => file.startsWith('lib/peft/') && !tables.includes(file))
    assert.equal(inPeft, [], `${type} is named in lib/peft`)
  }
})

test('a task is one file and one line, and so is its head', () => {
  const heads = sources.filter(file => file.startsWith('lib/heads/'))
  for (const task of headTasks) {
    const own = heads.filter(file => read(file).includes(`task: '${task}'`))
    assert.is(own.length, 1, `${task} is named in ${own.join(', ')}`)
    assert.is(importsOf('lib/heads/index.ts', basename(own[0]!, '.ts')).length, 1, own[0]!)
    assert.equal(spelling(task), own, `${task} is named outside the file of its head`)
    const objects = sources.filter(file => {
      return (
        file.startsWith('lib/tasks/') && /: Task<[\w, ]+> = \{/.test(read(file)) && read(file).includes('Head.task')
      )
    })
    for (const file of objects) {
      const index = importsOf('lib/tasks/index.ts', basename(file, '.ts'))
      assert.is(index.length, 1, `lib/tasks/index.ts imports ${file} once`)
    }
  }
  // What knows question answering: its metrics, head and task, a line where each is listed, and its layers by family.
  const inside = sources.filter(file => !file.startsWith('lib/api/'))
  const know = inside.filter(file => /questionAnswering|metrics\/squad|answerSpan\b/.test(read(file)))
  const families = know.filter(file => file.startsWith('lib/models/') && file !== 'lib/models/heads.ts')
  assert.equal(
    know.filter(file => !families.includes(file)),
    [
      'lib/heads/index.ts',
      'lib/heads/questionAnswering.ts',
      'lib/models/heads.ts',
      'lib/tasks/index.ts',
      'lib/tasks/questionAnswering.ts',
      'lib/tasks/task.ts', // the type of its report
    ],
  )
  assert.equal(
    families.map(file => basename(file)),
    ['bert.ts', 'distilbert.ts', 'electra.ts', 'roberta.ts', 't5.ts'],
  )
})

test('a training step goes through the files that ARCHITECTURE.md names, each importing the next', () => {
  const section = read('ARCHITECTURE.md').split('## A training step, top to bottom')[1]!.split('\n## ')[0]!
  const named = [...section.matchAll(/`([\w/]+\.ts)`/g)].map(match => match[1]!)
  const found = named.map(name => {
    const file = sources.find(source => source.endsWith(`/${name}`))
    assert.ok(file, `ARCHITECTURE.md names ${name}, which lib does not have`)
    return file
  })
  assert.ok(found.length >= 6, `${found.length} files`)
  for (const [i, file] of found.slice(0, -1).entries()) {
    const next = found[i + 1]!
    const { importedFiles } = ts.preProcessFile(read(file), true, true)
    const reaches = importedFiles.some(({ fileName }) => basename(fileName) === basename(next))
    // A family is found by its model type: models/index.ts stands between.
    const throughIndex = next.startsWith('lib/models/') && read(file).includes("models/index.ts'")
    assert.ok(reaches || throughIndex, `${file} does not import ${next}`)
  }
})

test.run()
