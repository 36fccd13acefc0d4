// Values of other kinds than the types say: coded errors, no TypeErrors and no answers to something else.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import { evaluate, loadModel, loadTokenizer, open } from '../../lib/index.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { rejects } from '../data/support.ts'
import { MODELS } from '../peft/golden.ts'

const folder = join(MODELS, 'bert-seq')
const tokenizer = await loadTokenizer(fileURLToPath(new URL('../golden/tokenizer/wordpiece.json', import.meta.url)))
const load = (options: object) => loadModel(folder, { task: 'sequence-classification', ...options } as never)
const model = await load({})
// biome-ignore lint/suspicious/noExplicitAny: what JavaScript has
const any = (value: unknown): any => value
const example = { ids: Int32Array.of(1), label: 0 }

let deep: unknown = 'a'
for (let i = 0; i < 9000; i++) deep = [deep]

const WRONG: readonly [what: string, call: () => unknown, code: string, says: RegExp][] = [
  ['no text to encode', () => tokenizer.encode(any(undefined)), 'ERR_OPTION', /^encode: missing is no text/],
  ['a number to encode', () => tokenizer.encode(any(7)), 'ERR_OPTION', /^encode: 7 is no text/],
  ['a pair that is none', () => tokenizer.encode('a', { pair: any(null) }), 'ERR_OPTION', /^pair: null is no text/],
  [
    'a text for words',
    () => tokenizer.encodeWords(any('a b')),
    'ERR_OPTION',
    /^encodeWords: "a b" is no list of words/,
  ],
  ['a number for a word', () => tokenizer.encodeWords(any([1])), 'ERR_OPTION', /^encodeWords: 1 is no text/],
  ['no text for tokens', () => tokenizer.tokens(any(undefined)), 'ERR_OPTION', /^tokens: missing is no text/],
  ['no text for spans', () => tokenizer.spans(any(3)), 'ERR_OPTION', /^spans: 3 is no text/],
  ['a text for ids', () => tokenizer.decode(any('12')), 'ERR_OPTION', /^decode: "12" is no list of ids/],
  ['one id', () => tokenizer.decode(any(3)), 'ERR_OPTION', /^decode: 3 is no list of ids/],
  ['a type for products', () => load({ compute: 'fp16' }), 'ERR_OPTION', /^compute: "fp16", expected one of f32, bf16/],
  [
    'a problem of others',
    () => load({ problem: 'multi_label' }),
    'ERR_OPTION',
    /^problem: "multi_label", expected one/,
  ],
  ['a seed that is a text', () => load({ seed: 'x' }), 'ERR_OPTION', /^seed: "x", expected a whole number from 0/],
  ['a head that is none', () => load({ head: 7 }), 'ERR_OPTION', /^head: 7 is no function that makes one/],
  [
    'labels that are a text',
    () => open(folder, { labels: any('ab') }),
    'ERR_OPTION',
    /^labels: "ab" is no list of names/,
  ],
  ['examples that are none', () => evaluate(model, any([1])), 'ERR_DATA', /^batches: example 0 is 1, which has no ids/],
  [
    'examples without ids',
    () => evaluate(model, any([{}])),
    'ERR_DATA',
    /^batches: example 0 is \{\}, which has no ids/,
  ],
  [
    'a signal that is none',
    () => evaluate(model, any([example]), { signal: any('x') }),
    'ERR_OPTION',
    /^signal: "x" is none; give that of an AbortController/,
  ],
  ['a list without end', () => tokenizer.encode(any(deep)), 'ERR_OPTION', /^encode: \[object Array\] is no text/],
  ['no data', () => splitData(any(null)), 'ERR_OPTION', /^data: null is no path and no splits; give \{ train: toRows/],
  ['a list for splits', () => splitData(any([{ a: 1 }])), 'ERR_OPTION', /^data: \[.*\] is no path and no splits/],
  [
    'a split that is none',
    () => splitData(any({ training: [] })),
    'ERR_OPTION',
    /^data: "training" is no split; use train, validation, test/,
  ],
  ['a text for rows', () => splitData(any({ train: 7 })), 'ERR_OPTION', /^data: train is no list of rows/],
  ['objects for rows', () => splitData(any({ train: [{ text: 'a' }] })), 'ERR_OPTION', /which is no row; .* by toRows/],
]
for (const [what, call, code, says] of WRONG)
  test(`${what} is told`, () => rejects(async () => await call(), code, says))

test.after(() => model.dispose())
test.run()
