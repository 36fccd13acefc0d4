import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { columnNames, findColumns } from '../../lib/data/columns.ts'
import * as labels from '../../lib/data/labels.ts'
import { toRows } from '../../lib/data/row.ts'
import { detectScheme, toIob2 } from '../../lib/data/tags.ts'
import { inferTask } from '../../lib/tasks/infer.ts'
import { rejects } from './support.ts'

test('columns are found by name, in any case', () => {
  assert.equal(findColumns(['id', 'Sentence', 'LABEL']), { text: 'Sentence', label: 'LABEL' })
  assert.equal(findColumns(['premise', 'hypothesis', 'label']), {
    text: 'premise',
    text2: 'hypothesis',
    label: 'label',
  })
  assert.equal(findColumns(['text', 'label', 'category']), { text: 'text', label: 'label' })
  assert.equal(findColumns(['tokens', 'ner_tags', 'pos_tags']), { tokens: 'tokens', tags: 'ner_tags' })
  assert.equal(findColumns(['text']), { text: 'text' })
  const dolly = { prompt: 'instruction', completion: 'response', context: 'context' }
  assert.equal(findColumns(['instruction', 'context', 'response', 'category']), dolly)
  assert.equal(findColumns(['a', 'b'], { text: 'a', label: 'b' }), { text: 'a', label: 'b' })
})

test('columns that are not there are told with those that are', async () => {
  const missing = () => findColumns(['review', 'stars'], { text: 'reviews' })
  await rejects(missing, 'ERR_DATA', /no column "reviews" \(did you mean "review"\?\); the data have "review", "stars"/)
  await rejects(() => findColumns(['alpha', 'beta']), 'ERR_DATA', /none of "alpha", "beta"/)
  await rejects(() => findColumns([]), 'ERR_DATA', /no columns/)
})

const infer = (objects: object[], task?: string) => {
  const rows = toRows(objects)
  return inferTask(rows, findColumns(columnNames(rows)), { task })
}

test('the task follows from columns and labels', () => {
  const problem = (list: unknown[]) => infer(list.map(label => ({ text: 'x', label }))).problem
  assert.is(infer([{ tokens: ['a'], tags: ['O'] }]).task, 'token-classification')
  assert.is(infer([{ text: 'a' }]).task, 'masked-lm')
  assert.is(infer([{ text: 'a', label: 'x' }], 'masked-lm').task, 'masked-lm')
  assert.is(problem(['x', 'y']), 'single')
  assert.is(problem([0, 1]), 'single')
  assert.is(problem(['0', '1']), 'single')
  assert.is(problem([true, false]), 'single')
  assert.is(problem([0.5, 1]), 'regression')
  assert.is(problem(['0.5', '-1e3']), 'regression')
  assert.is(problem([['x'], []]), 'multi')
  assert.match(infer([{ text: 'a', label: 'x' }]).reason, /"label" holds one of 1 labels/)
})

test('tasks that the data cannot serve are refused with advice', async () => {
  const tagged = [{ tokens: ['a'], tags: ['O'] }]
  await rejects(() => infer(tagged, 'sequence-classification'), 'ERR_DATA', /take token-classification/)
  await rejects(() => infer(tagged, 'masked-lm'), 'ERR_DATA', /needs a text column/)
  await rejects(() => infer([{ tokens: ['a'] }]), 'ERR_DATA', /no tags/)
  await rejects(
    () => infer([{ text: 'a' }], 'sequence-classification'),
    'ERR_DATA',
    /needs a text column and a label column/,
  )
  await rejects(() => infer([{ text: 'a', label: 'x' }], 'token-classification'), 'ERR_DATA', /columns.tokens/)
  await rejects(
    () =>
      infer([
        { text: 'a', label: ['x'] },
        { text: 'a', label: 'x' },
      ]),
    'ERR_DATA',
    /some rows/,
  )
  await rejects(() => infer([{ text: 'a', label: '' }]), 'ERR_DATA', /row 1: "label" is empty/)
  await rejects(() => infer([{ text: 'a', label: null }]), 'ERR_DATA', /is null/)
  const unique = Array.from({ length: 300 }, (_, i) => ({ text: 'a', label: `answer ${i}` }))
  await rejects(() => infer(unique), 'ERR_DATA', /300 different values in 300 rows/)
})

test('label maps: sorted, as seen, numbers by value, tags with O first', () => {
  const rows = toRows(['b', 'a', 'b', 'C'].map(label => ({ label })))
  assert.equal(labels.labelsOf(rows, 'label').names, ['C', 'a', 'b'])
  assert.equal(labels.labelsOf(rows, 'label', 'seen').names, ['b', 'a', 'C'])
  assert.equal(labels.labelsOf(toRows([{ y: 10 }, { y: 2 }, { y: -1 }]), 'y').names, ['-1', '2', '10'])
  assert.equal(labels.labelsOf(toRows([{ y: ['b'] }, { y: [] }, { y: ['a', 'b'] }]), 'y').names, ['a', 'b'])
  const tags = toRows([{ t: ['I-LOC', 'O'] }, { t: ['B-PER', 'MISC'] }])
  assert.equal(labels.tagLabelsOf(tags, 't').names, ['O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER', 'MISC'])
  assert.equal([...labels.countLabels(rows, 'label', labels.labelsOf(rows, 'label'))], [1, 1, 2])
})

test('unknown labels are told with row and nearest name', async () => {
  const map = labels.labelMap(['negative', 'positive'])
  const check = (y: unknown) => () => labels.labelId(map, toRows([{ y: 'negative' }, { y }])[1]!, y)
  await rejects(check('positiv'), 'ERR_DATA', /row 2: "positiv" is not a known label \(did you mean "positive"\?\)/)
  await rejects(check(2), 'ERR_DATA', /: 2 is not/)
  assert.is(check(1)(), 1)
  const numbers = labels.labelMap(['1', '2'])
  const [row] = toRows([{}])
  assert.equal(
    [1, '1', 'LABEL_1'].map(value => labels.labelId(map, row!, value)),
    [1, 1, 1],
  )
  assert.is(labels.labelId(numbers, toRows([{}])[0]!, 1), 0)
  await rejects(() => labels.labelId(numbers, toRows([{}])[0]!, 0), 'ERR_DATA', /: 0 is not/)
})

test('a label map has no name twice', () => rejects(() => labels.labelMap(['x', 'x']), 'ERR_CONFIG', /twice/))

test('tag schemes are told apart and become IOB2', () => {
  const cases: [string, string, string][] = [
    ['I-A I-A O I-B B-B I-C', 'IOB1', 'B-A I-A O B-B B-B B-C'],
    ['B-A I-A O B-B B-B', 'IOB2', 'B-A I-A O B-B B-B'],
    ['S-A B-B I-B E-B O E-C B-A', 'BIOES', 'B-A B-B I-B I-B O B-C B-A'],
    ['U-A B-B L-B L-B', 'BIOES', 'B-A B-B I-B B-B'],
    ['NN VB O', 'none', 'NN VB O'],
    ['B-A-x I-A-x', 'IOB2', 'B-A-x I-A-x'],
  ]
  for (const [given, scheme, wanted] of cases) {
    assert.is(detectScheme([given.split(' ')]), scheme, given)
    assert.is(toIob2(given.split(' ')).join(' '), wanted)
    assert.is(toIob2(wanted.split(' ')).join(' '), wanted)
  }
  assert.is(detectScheme([['O'], ['B-A'], ['I-A']]), 'IOB1')
})

test.run()
