// The rules of the house: who may know whom, what an op consists of, how long things may be.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, extname, join, normalize } from 'node:path'
import ts from 'typescript'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../lib/io/package.ts'

// A file may import from its own row and from rows above it.
const ROOMS = [
  ['native', 'addon', 'errors', 'tuple', 'options', 'random', 'io', 'regex', 'bundled', 'hub'],
  ['tensor'],
  ['autograd'],
  ['ops'],
  ['nn', 'optim'],
  ['models', 'peft', 'heads', 'data', 'tokenizer', 'metrics'],
  ['model', 'check'],
  ['tasks'],
  ['train', 'generate', 'trackers', 'report'],
  ['open', 'study'],
  ['cli', 'index', 'api'],
]
// Of one row, but meeting only in nn/linear.ts.
const STRANGERS = [['models', 'peft']]
const INCLUDES: Record<string, RegExp> = {
  core: /^core\//,
  cpu: /^(core|cpu)\//,
  cuda: /^(core|cuda)\//,
  binding: /^(core|binding)\/|^cuda\/info\.h$|^cpu\/(isa|parallel)\.h$/,
}
const CODE = new Set(['.ts', '.mjs', '.h', '.cpp', '.inc', '.cu', '.cuh', '.py', '.sh'])
const NATIVE = new Set(['.h', '.cpp', '.inc', '.cu', '.cuh'])
const MAX_FILE = 400
const MAX_LINE = 120
const MAX_FUNCTION = 40
const MAX_KERNEL = 60

/** Paths of code files below `dir`, relative to the package. */
function sources(dir: string, extensions = CODE): string[] {
  const full = join(packageRoot, dir)
  if (!existsSync(full)) return []
  return readdirSync(full, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && extensions.has(extname(entry.name)))
    .map(entry => join(entry.parentPath, entry.name).slice(packageRoot.length + 1))
    .sort()
}

const read = (file: string) => readFileSync(join(packageRoot, file), 'utf8')

function noProblems(problems: string[]) {
  if (!problems.length) return
  const error = new Error(problems.join('\n    '))
  error.stack = '' // it would repeat the message, and where a rule is written helps nobody
  throw error
}

/** `models` for lib/models/bert.ts, `tensor` for lib/tensor.ts. */
function roomOf(file: string): string {
  return file.split('/')[1]!.replace(/\.ts$/, '')
}

const rowOf = (room: string) => ROOMS.findIndex(row => row.includes(room))

/** What a TypeScript file imports by relative path: statically, dynamically, for types alike. */
function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(read(file), true, true)
  return importedFiles
    .filter(({ fileName }) => fileName.startsWith('.'))
    .map(each => join(dirname(file), each.fileName))
}

test('lib: imports point down, and models and peft are strangers', () => {
  const problems: string[] = []
  for (const file of sources('lib')) {
    const from = roomOf(file)
    if (rowOf(from) < 0) problems.push(`${file}: "${from}" has no room`)
    for (const target of importsOf(file)) {
      const to = roomOf(target)
      if (!target.startsWith('lib/')) problems.push(`${file} imports ${target}, outside lib`)
      else if (rowOf(to) > rowOf(from)) problems.push(`${file} imports ${target}: ${to} is above ${from}`)
      if (STRANGERS.some(pair => from !== to && pair.includes(from) && pair.includes(to)))
        problems.push(`${file} imports ${target}: ${from} and ${to} are strangers`)
      if (!existsSync(join(packageRoot, target))) problems.push(`${file} imports ${target}, which does not exist`)
    }
  }
  noProblems(problems)
})

test('lib: kernels are called by tensors, the tape, ops and optimizers, and by their checks', () => {
  const callers = ['native', 'tensor', 'autograd', 'ops', 'optim', 'check']
  const facts = ['info', 'setThreads', 'live']
  noProblems(
    sources('lib')
      .filter(file => !callers.includes(roomOf(file)))
      .flatMap(file =>
        [...stripComments(read(file)).matchAll(/\bnative\.(\w+)\(/g)].map(call => ({ file, call: call[1]! })),
      )
      .filter(({ call }) => !facts.includes(call))
      .map(({ file, call }) => `${file} calls native.${call}`),
  )
})

test('lib: no circles of imports', () => {
  const files = sources('lib')
  const state = new Map<string, 'open' | 'done'>()
  const problems: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === 'open') problems.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (state.has(file) || !files.includes(file)) return
    state.set(file, 'open')
    for (const target of importsOf(file)) visit(target, [...path, file])
    state.set(file, 'done')
  }
  for (const file of files) visit(file, [])
  noProblems(problems)
})

test('lib: of two rooms one knows the other', () => {
  const arrows = new Map<string, string>()
  for (const file of sources('lib'))
    for (const target of importsOf(file))
      if (roomOf(file) !== roomOf(target)) arrows.set(`${roomOf(file)} ${roomOf(target)}`, `${file} imports ${target}`)
  const back = (arrow: string) => arrows.get(arrow.split(' ').reverse().join(' '))
  assert.ok(arrows.size > 100, `${arrows.size} arrows`)
  const problems = [...arrows].map(([arrow, said]) => (back(arrow) ? [said, back(arrow)].sort().join(', ') : ''))
  noProblems([...new Set(problems.filter(Boolean))])
})

const includesOf = (file: string) => [...read(file).matchAll(/^\s*#\s*include\s*(["<])([^">]+)[">]/gm)].map(m => m[2]!)

test('native: core knows no backend, backends know only core, Node is known in binding alone', () => {
  const problems: string[] = []
  for (const [dir, allowed] of Object.entries(INCLUDES))
    for (const file of sources(dir, NATIVE))
      for (const include of includesOf(file)) {
        const ours = existsSync(join(packageRoot, include)) || Object.keys(INCLUDES).includes(include.split('/')[0]!)
        if (ours && !allowed.test(include)) problems.push(`${file} includes ${include}`)
        if (/^(napi|node_api|node|uv|v8).*\.h$/.test(include) && dir !== 'binding')
          problems.push(`${file} includes ${include}`)
        if (/^(cuda|cub|thrust|nv)[\w/]*\.?/.test(include) && dir !== 'cuda' && include !== 'cuda/info.h')
          problems.push(`${file} includes ${include}`)
      }
  noProblems(problems)
})

test('cuda: PTX, shared memory and launches stay in ptx/ and launch.cuh', () => {
  const problems: string[] = []
  for (const file of sources('cuda', NATIVE)) {
    if (/^cuda\/(ptx\/\w+|launch)\.cuh$/.test(file)) continue
    const found = stripComments(read(file)).match(/<<<|__shared__|__CUDA_ARCH__|\basm\b/)
    if (found) problems.push(`${file} uses ${found[0]}`)
  }
  noProblems(problems)
})

test('cuda: every function of ptx/ has a conformance case, and a kernel', () => {
  const text = (files: string[]) => files.map(read).join('\n')
  const native = [...sources('cuda', NATIVE), ...sources('test/emulator/defects', NATIVE)]
  const own = text(native.filter(file => file.startsWith('cuda/ptx/')))
  const cases = text(native.filter(file => file.startsWith('cuda/conformance/')))
  const kernels = text(native.filter(file => !/^cuda\/(ptx|conformance)\//.test(file)))
  const names = new Set([...own.matchAll(/^PTX_FN [\w*]+\*? (\w+)\(/gm)].map(match => match[1]!))
  assert.ok(names.size > 40, `${names.size} functions`)
  const calls = (name: string, code: string) => new RegExp(`ptx::${name}\\b`).test(code)
  noProblems([
    ...[...names].filter(name => !calls(name, cases)).map(name => `ptx::${name} is in no case of cuda/conformance/`),
    ...[...names].filter(name => !calls(name, kernels + own)).map(name => `ptx::${name} is in no kernel`),
  ])
})

function stripComments(code: string): string {
  return code.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
}

test('instruction sets: their objects include no standard library, whose inline functions would leak', () => {
  const problems: string[] = []
  for (const file of sources('cpu', new Set(['.cpp'])).filter(name => /_avx\w+\.cpp$/.test(name))) {
    const seen = new Set([file])
    for (const each of seen)
      for (const include of includesOf(each)) {
        if (existsSync(join(packageRoot, include))) seen.add(normalize(include))
        else if (!['immintrin.h', 'stdint.h', 'stddef.h'].includes(include))
          problems.push(`${file} includes <${include}>${each === file ? '' : ` through ${each}`}`)
      }
  }
  noProblems(problems)
})

const kernelRows = () => [...read('core/kernels.h').matchAll(/^\s*K\((\w+), /gm)].map(match => match[1]!)

/** Names of the kernels that files below `dir` define. */
function defined(dir: string, extension: string): Set<string> {
  const text = sources(dir, new Set([extension]))
    .map(read)
    .join('\n')
  return new Set([...text.matchAll(new RegExp(`^void (?:${dir}::)?(\\w+)\\(\\w+ `, 'gm'))].map(match => match[1]!))
}

test('every op has a row in the kernel table, a shape rule and its kernels', () => {
  const rows = kernelRows()
  const kernels = { cpu: defined('cpu', '.cpp'), cuda: defined('cuda', '.cu') }
  assert.ok(rows.length > 0)
  const problems: string[] = []
  for (const [backend, found] of Object.entries(kernels))
    for (const name of rows)
      if (!found.has(name)) problems.push(`core/kernels.h: no file of ${backend}/ defines ${name}`)
  for (const file of sources('lib/ops')) {
    if (!/^import \{[^}]*\bnative\b/m.test(read(file))) continue // not an op, but what ops share
    const op = file.split('/').at(-1)!.replace('.ts', '')
    const snake = op.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
    if (!rows.includes(snake)) problems.push(`${file}: core/kernels.h has no row ${snake}`)
    if (!existsSync(join(packageRoot, `core/ops/${snake}.cpp`))) problems.push(`${file}: no core/ops/${snake}.cpp`)
  }
  noProblems(problems)
})

test('files and lines stay short', () => {
  const problems: string[] = []
  for (const dir of ['lib', 'core', 'cpu', 'cuda', 'binding', 'test', 'bench', 'examples', 'scripts'])
    for (const file of sources(dir)) {
      const lines = read(file).trimEnd().split('\n')
      if (lines.length > MAX_FILE) problems.push(`${file} has ${lines.length} lines, the limit is ${MAX_FILE}`)
      lines.forEach((line, i) => {
        // Biome breaks code, but not comments; what is left of long lines are literals, which nothing can break.
        if (!NATIVE.has(extname(file)) && !/^\s*(\/\/|\/?\*)/.test(line)) return
        const width = [...line].length
        if (width > MAX_LINE) problems.push(`${file}:${i + 1} has ${width} characters, the limit is ${MAX_LINE}`)
      })
    }
  noProblems(problems)
})

interface Body {
  /** Of its first and its last character. */
  readonly begin: number
  readonly end: number
}

/** Functions of C++ or CUDA: what has parameters before its braces and nothing but scopes around it. */
function nativeFunctions(text: string): Body[] {
  const blank = (part: string) => part.replace(/[^\n]/g, ' ')
  const code = text
    .replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, blank)
    .replace(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'/g, blank)
    .replace(/^[ \t]*#(?:.*\\\n)*.*/gm, blank)
  const found: Body[] = []
  const open: { begin: number; isFunction: boolean }[] = []
  let start = 0 // of the statement at hand
  let parentheses = 0
  for (const { 0: sign, index } of code.matchAll(/[(){};]/g)) {
    if (sign === '(') parentheses++
    else if (sign === ')') parentheses--
    else if (parentheses > 0) continue
    else if (sign === '{') {
      const head = code.slice(start, index)
      const isScope =
        /^\s*(template\s*<[^{]*>\s*)?(namespace|struct|class|union|enum)\b/.test(head) || /=\s*$/.test(head)
      const isFunction = !isScope && head.includes(')') && !open.some(each => each.isFunction)
      open.push({ begin: start + head.search(/\S/), isFunction })
    } else if (sign === '}') {
      const body = open.pop()
      if (body?.isFunction) found.push({ begin: body.begin, end: index })
    }
    if (parentheses === 0 && sign !== '(' && sign !== ')') start = index + 1
  }
  return found
}

test('functions of C++ and CUDA stay short', () => {
  const problems: string[] = []
  let count = 0
  for (const dir of ['core', 'cpu', 'cuda', 'binding'])
    for (const file of sources(dir, NATIVE)) {
      const text = read(file)
      const lineOf = (at: number) => text.slice(0, at).split('\n').length
      // A kernel has its registers and its shared memory in one body.
      const limit = dir === 'cuda' ? MAX_KERNEL : MAX_FUNCTION
      for (const { begin, end } of nativeFunctions(text)) {
        const lines = lineOf(end) - lineOf(begin) + 1
        count++
        if (lines > limit) problems.push(`${file}:${lineOf(begin)} has ${lines} lines, the limit is ${limit}`)
      }
    }
  assert.ok(count > 500, `${count} functions`)
  noProblems(problems)
})

test('functions stay short', () => {
  const problems: string[] = []
  for (const file of sources('lib')) {
    const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true)
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node) && 'body' in node && node.body) {
        const [first, last] = [node.getStart(source), node.end].map(at => source.getLineAndCharacterOfPosition(at).line)
        const lines = last! - first! + 1
        const name = node.name?.getText(source) ?? 'a function'
        if (lines > MAX_FUNCTION)
          problems.push(`${file}:${first! + 1} ${name} has ${lines} lines, the limit is ${MAX_FUNCTION}`)
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
  }
  noProblems(problems)
})

// Casts and non-null marks take the compiler's word from it. These are as many as there were; fewer is better, more is
// an error: `lib/tuple.ts` (nth, under, must, mapTuple, isOneOf), `Tensor.f32` and type guards do without.
const MOST_CASTS = 17
const MOST_NON_NULL = 253
const BORDER = new Set(['lib/native.ts', 'lib/addon.ts'])

test('lib: casts and non-null marks do not grow', () => {
  let [casts, marks] = [0, 0]
  for (const file of sources('lib').filter(name => !BORDER.has(name))) {
    const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true)
    const visit = (node: ts.Node): void => {
      if (ts.isAsExpression(node) && node.type.getText(source) !== 'const') casts++
      if (ts.isNonNullExpression(node)) marks++
      ts.forEachChild(node, visit)
    }
    visit(source)
  }
  console.log(`casts: ${casts}, non-null marks: ${marks}`)
  assert.ok(casts <= MOST_CASTS, `${casts} casts (as), the limit is ${MOST_CASTS}; see lib/tuple.ts and type guards`)
  assert.ok(
    marks <= MOST_NON_NULL,
    `${marks} non-null marks (!), the limit is ${MOST_NON_NULL}; test the value instead`,
  )
})

test('lib: names of tasks stand in the files of their heads alone', () => {
  const problems: string[] = []
  const files = sources('lib')
  const names = files
    .filter(file => roomOf(file) === 'heads')
    .flatMap(file => [...read(file).matchAll(/^ {2}task: '([a-z0-9-]+)',$/gm)].map(match => match[1]!))
  assert.ok(names.length >= 4, names.join())
  for (const name of names) {
    const found = files.flatMap(file => Array(stripComments(read(file)).split(`'${name}'`).length - 1).fill(file))
    if (found.length !== 1) problems.push(`'${name}' stands in ${found.join(', ')}`)
  }
  noProblems(problems)
})

test('lib: one default seed', () => {
  const files = sources('lib').filter(file => /\bseed(: \w+)? = \d|seed \?\? \d/.test(stripComments(read(file))))
  noProblems(files.map(file => `${file} has a default seed of its own; SEED of lib/options.ts is the one`))
})

test('tests: folders come from test/support/temporary.ts, which removes them', () => {
  const makers = sources('test').filter(file => /\bmkdtemp/.test(read(file)) && !/^test\/house/.test(file))
  noProblems(
    makers.filter(file => file !== 'test/support/temporary.ts').map(file => `${file} makes folders of its own`),
  )
  assert.is(makers.length, 1)
})

function trackedFiles(): string[] {
  try {
    return execFileSync('git', ['ls-files', '-z'], { cwd: packageRoot, encoding: 'utf8' }).split('\0').filter(Boolean)
  } catch {
    return []
  }
}

// Spelled in pieces, since this file is tracked too.
const PLACES = ['root', 'work', 'tmp', 'home'].map(name => `(?<![\\w.}$])/${name}(?=[/'"\`])`)
const HOSTS = ['registry\\.npmjs\\.', 'files\\.pythonhosted\\.', 'registry\\.yarnpkg\\.', 'proxy\\.golang\\.']

test('tracked files name no machine paths and no registry hosts', () => {
  const files = trackedFiles()
  if (!files.length) return console.log('skip: not a git checkout')
  const pattern = new RegExp([...PLACES, ...HOSTS].join('|'))
  const problems: string[] = []
  for (const file of files) {
    if (!existsSync(join(packageRoot, file))) continue
    const text = read(file)
    if (text.includes('\0')) continue
    text.split('\n').forEach((line, i) => {
      const found = line.match(pattern)
      if (found) problems.push(`${file}:${i + 1} names ${found[0]}`)
    })
  }
  noProblems(problems)
})

test('ARCHITECTURE.md names every dependency', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const text = existsSync(join(packageRoot, 'ARCHITECTURE.md')) ? read('ARCHITECTURE.md') : ''
  const names = Object.keys({ ...dependencies, ...devDependencies })
  noProblems(names.filter(name => !text.includes(name)).map(name => `ARCHITECTURE.md does not name ${name}`))
})

test.run()
