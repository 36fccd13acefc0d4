// What labels are read as: vectors, cells that hold lists or nothing, tag schemes, splits without labels.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { labelMap } from '../../lib/data/labels.ts'
import { toRows } from '../../lib/data/row.ts'
import { detectScheme, isPureIob1, spellingOf, toIob2 } from '../../lib/data/tags.ts'
import { taskOf } from '../../lib/tasks/index.ts'
import { splitData } from '../../lib/tasks/prepare.ts'
import { rejects } from '../data/support.ts'

const texts = (labels: readonly unknown[]) => toRows(labels.map((label, i) => ({ text: `t ${i}`, label })))
const read = (labels: readonly unknown[], options: Parameters<typeof splitData>[1] = {}) => {
  const rows = texts(labels)
  return splitData({ train: rows, validation: rows.slice(0, 1) }, options)
}
const plainLabels = ({ splits }: Awaited<ReturnType<typeof splitData>>) => splits.train.map(row => row.values.label)

test('vectors of 0 and 1 are labels by place, whatever their numbers are called', async () => {
  const labels = labelMap(['plot', 'music', 'cast'])
  const named = await read(
    [
      [1, 0, 0],
      [0, 1, 1],
      [0, 0, 0],
    ],
    { labels },
  )
  assert.is(named.choice.problem, 'multi')
  assert.equal(plainLabels(named), [['plot'], ['music', 'cast'], []])
  const bare = await read([
    [1.0, 0.0, 0.0],
    [1, 1, 0],
  ])
  assert.equal(bare.labels!.names, ['LABEL_0', 'LABEL_1', 'LABEL_2'], 'also a label that no row has')
  assert.ok(bare.notices.some(notice => /LABEL_0 to LABEL_2/.test(notice)))
  await rejects(
    () =>
      read(
        [
          [1, 0],
          [0, 1],
        ],
        { labels },
      ),
    'ERR_DATA',
    /2 values a row and 3 labels/,
  )
})

test('vectors of numbers are several targets, lists of ids stay names', async () => {
  const scores = await read([
    [0.5, 1.25],
    [1, 0.75],
  ])
  assert.is(scores.choice.problem, 'regression')
  assert.is(
    (
      await read([
        [4, 4, 3],
        [5, 2, 1],
      ])
    ).choice.problem,
    'regression',
    'a set holds no number twice',
  )
  const ids = await read([[3], [7, 3], []])
  assert.is(ids.choice.problem, 'multi')
  assert.equal(ids.labels!.names, ['3', '7'])
  await rejects(() => read([[0.5, 1], [1]]), 'ERR_DATA', /has 1 numbers, the first row 2/)
})

const NAMED = ['music', 'plot']
const NOTATIONS: readonly (readonly [
  labels: readonly unknown[],
  names: readonly string[],
  first: readonly string[],
])[] = [
  [["['plot' 'music']", "['music']", '[]'], NAMED, ['plot', 'music']],
  [["('plot', 'music')", "('music',)", '()'], NAMED, ['plot', 'music']],
  [
    ["{'plot', \"it's\"}", "{'plot'}"],
    ["it's", 'plot'],
    ['plot', "it's"],
  ],
  [
    ['[plot, two words]', '[plot]'],
    ['plot', 'two words'],
    ['plot', 'two words'],
  ],
  [['[True, False]', '[True, True]'], ['LABEL_0', 'LABEL_1'], ['LABEL_0']],
  [['[1., 0.]', '[0., 1.]'], ['LABEL_0', 'LABEL_1'], ['LABEL_0']],
  [
    [
      [true, false],
      [false, true],
    ],
    ['LABEL_0', 'LABEL_1'],
    ['LABEL_0'],
  ],
  [
    [
      ['1', '0'],
      ['0', '0'],
    ],
    ['LABEL_0', 'LABEL_1'],
    ['LABEL_0'],
  ],
  [[{ plot: 1, music: 0 }, { music: true }], NAMED, ['plot']],
]
for (const [labels, names, first] of NOTATIONS)
  test(`${JSON.stringify(labels[0])} is a list of labels`, async () => {
    const data = await read(labels)
    assert.is(data.choice.problem, 'multi')
    assert.equal(data.labels!.names, names)
    assert.equal(plainLabels(data)[0], first)
  })

const NO_NAMES: readonly (readonly [labels: readonly string[], says: RegExp])[] = [
  [
    ['plot|cast', 'plot', 'cast|music', 'music'],
    /"plot\|cast", which looks like several labels in one; write \["plot","cast"\]/,
  ],
  [['27', '3,10,27', '3', '10,27', '10'], /several labels in one/],
  [['plot/cast', 'plot', 'cast', 'music', 'cast/music'], /several labels in one; write \["plot","cast"\]/],
  [['plot cast', 'plot', 'cast', 'music', 'cast music'], /several labels in one/],
  [["{'text': ['a'], 'start': array([0])}", 'b'], /an object that is not read/],
  [['010', '110', '001'], /"010", which looks like 0 or 1 for each label/],
  [['5 %', '12 %', '7 %'], /"5 %"; write decimals with a point and numbers without other signs/],
  [['$1,000.50', '$2.5'], /numbers without other signs/],
  [['0.5', '1.5', 'inf'], /"inf", others are numbers with decimals/],
  [['a', 'b', '#VALUE!'], /"#VALUE!", as in 1 of 4 rows: no label/],
  [['a', 'b', '\\N'], /as in 1 of 4 rows: no label/],
  [['a', 'b', '?'], /as in 1 of 4 rows: no label/],
]
for (const [labels, says] of NO_NAMES)
  test(`${labels.join(' ')} are no names, unless they are named`, async () => {
    await rejects(() => read(labels), 'ERR_DATA', says)
    const named = await read(labels, { labels: labelMap(labels), task: 'sequence-classification' })
    assert.is(named.choice.problem, 'single')
  })

test('names that hold a comma by chance are names, as are numbers of sections', async () => {
  for (const labels of [
    ['Business, Finance', 'Sports', 'Health, Food'],
    ['a/b', 'a', 'b'],
    ['1.1.2', '1.2.3'],
    ['10', '11', '01x'],
  ])
    assert.is((await read(labels)).choice.problem, 'single', labels[0])
})

test('what is not read is told: texts of other columns, None as a name, NaN as a text', async () => {
  const rows = toRows(
    ['yes', 'no', 'None'].map((label, i) => ({
      question: i === 2 ? 'NaN' : `q ${i}`,
      answer: 'four words or more',
      label,
    })),
  )
  const { notices } = await splitData({ train: rows, validation: rows.slice(0, 1) })
  const has = (says: RegExp) =>
    assert.ok(
      notices.some(notice => says.test(notice)),
      `${says} of ${notices.join('\n')}`,
    )
  has(/^texts in "answer" are not read, only those in "question"/)
  has(/^"None" is read as the name of a label/)
  has(/rows have "NaN" or nothing as "question"/)
})

test('lists that a table holds as text are lists', async () => {
  for (const cells of [
    ['["a", "b"]', '[]'],
    ["['a', 'b']", "['it\\'s']"],
    ['[1 0 1]', '[0 0 1]'],
    ['1,0,1', '0,0,1'],
    ['[1. 0.]', '[0. 1.]'],
  ])
    assert.is((await read(cells)).choice.problem, 'multi', cells[0])
  assert.is((await read(['1 apple', '[draft] b'])).choice.problem, 'single')
  assert.is((await read(['[0.5, 2]', '[1, 0.25]'])).choice.problem, 'regression')
})

test('what was asked for wins: decimals with labels are classes', async () => {
  const { choice, labels } = await read(['0.0', '1.0', '0.0'], { labels: labelMap(['0.0', '1.0']) })
  assert.is(choice.problem, 'single')
  assert.equal(labels!.names, ['0.0', '1.0'])
  const numbers = await read([0, 1, 0], { labels: labelMap(['0.0', '1.0']) })
  assert.is(numbers.choice.problem, 'single')
})

test('0.0 and 1.0 are classes, other decimals numbers; decimal commas are refused', async () => {
  const two = await read(['0.0', '1.0', '0.0'])
  assert.is(two.choice.problem, 'single')
  assert.equal(two.labels!.names, ['0.0', '1.0'])
  assert.is((await read(['0.0', '2.0', '1.0'])).choice.problem, 'regression')
  await rejects(() => read(['0,5', '1', '2,25']), 'ERR_DATA', /row 1: "label" is "0,5"; write decimals with a point/)
})

test('labels that differ by case or blanks alone are told, and stay as they are', async () => {
  const notices = async (labels: string[]) => (await read(labels)).notices.filter(text => text.startsWith('labels'))
  assert.match(
    (await notices(['Yes', 'no', 'yes', 'yes ']))[0]!,
    /labels "Yes", "yes", "yes " differ by case or blanks/,
  )
  assert.match((await notices([' yes', ' no']))[0]!, /blanks around them: " no", " yes"/)
  assert.equal(await notices(['yes', 'no']), [])
})

test('cells without a label are no class', async () => {
  await rejects(
    () => read(['a', '', 'b', ' ']),
    'ERR_DATA',
    /row 2: "label" is empty, as in 2 of 5 rows: no label; drop/,
  )
  await rejects(() => read(['a', null, 'b']), 'ERR_DATA', /row 2: "label" is null, as in 1 of 4 rows: no label/)
  await rejects(() => read(['a', 'NaN', 'b']), 'ERR_DATA', /row 2: "label" is "NaN", as in 1 of 4 rows: no label/)
  await rejects(() => read(['a', 'N/A', '#N/A']), 'ERR_DATA', /as in 2 of 4 rows/)
  await rejects(() => read(['0.5', 'NA', '1.5']), 'ERR_DATA', /"label" is "NA"/)
  await rejects(() => read(['1', 'None', '2']), 'ERR_DATA', /"label" is "None"/)
  assert.equal((await read(['none', 'NA', 'b'])).labels!.names, ['NA', 'b', 'none'], 'names of their own')
  const named = await read(['a', 'NaN'], { labels: labelMap(['a', 'NaN']) })
  assert.equal(plainLabels(named), ['a', 'NaN'])
})

test('text with columns that nobody knows asks, text alone is masked LM', async () => {
  const rows = toRows([{ text: 'a', toxic: 1, obscene: 0 }])
  await rejects(() => splitData({ train: rows }), 'ERR_DATA', /also have "toxic", "obscene"; name the label/)
  assert.is((await splitData({ train: rows }, { task: 'masked-lm' })).choice.task, 'masked-lm')
  const alone = toRows([
    { id: 1, text: 'a' },
    { id: 2, text: 'b' },
  ])
  assert.is((await splitData({ train: alone })).choice.task, 'masked-lm')
})

test('a split without labels is left out with a notice', async () => {
  const train = texts(['x', 'y', 'x', 'y'])
  const test = toRows([{ text: 'u' }, { text: 'v' }])
  const data = await splitData({ train, validation: train.slice(0, 2), test })
  assert.is(data.splits.test.length, 0)
  assert.ok(data.notices.some(notice => /the test split has no labels in "label" \(2 rows\)/.test(notice)))
  const glue = await splitData({ train: texts([0, 1]), validation: texts([1]), test: texts([-1, -1]) })
  assert.is(glue.splits.test.length, 0)
  assert.equal(glue.labels!.names, ['0', '1'])
  assert.is((await splitData({ train: texts([-1, 1]), validation: texts([-1]) })).splits.validation.length, 1)
})

const tagged = (tags: readonly string[], labels?: readonly string[]) => {
  const train = toRows(tags.map(list => ({ tokens: list.split(' '), tags: list.split(' ') })))
  return splitData({ train, validation: train }, labels ? { labels: labelMap(labels) } : {})
}
const tagsOf = ({ splits }: Awaited<ReturnType<typeof splitData>>) =>
  splits.train.map(row => (row.values.tags as string[]).join(' '))

test('every scheme becomes IOB2 where nothing else is asked for', async () => {
  assert.equal(tagsOf(await tagged(['B-N M-N E-N O S-L'])), ['B-N I-N I-N O B-L'])
  assert.equal(tagsOf(await tagged(['B-N L-N U-L'])), ['B-N I-N B-L'])
  assert.equal(tagsOf(await tagged(['I-A I-A B-A O'])), ['B-A I-A B-A O'])
})

test("data follow a model's own scheme", async () => {
  const bilou = ['O', 'B-P', 'I-P', 'L-P', 'U-P']
  const odd = 'L-P U-P I-P B-P'
  assert.equal(tagsOf(await tagged([odd], bilou)), [odd], 'its own answers, however odd, stay as they are')
  assert.equal(tagsOf(await tagged(['B-P I-P I-P O B-P', 'B-P I-P'], ['O', 'B-P', 'I-P', 'E-P', 'S-P'])), [
    'B-P I-P E-P O S-P',
    'B-P E-P',
  ])
  const bioes = ['O', 'B-P', 'M-P', 'E-P', 'S-P']
  assert.equal(tagsOf(await tagged(['B-P I-P I-P O B-P'], bioes)), ['B-P M-P E-P O S-P'])
  const iob1 = ['O', 'I-P', 'I-L', 'B-L']
  assert.equal(tagsOf(await tagged(['I-P O I-L B-L'], iob1)), ['I-P O I-L B-L'])
  assert.equal(tagsOf(await tagged(['B-P I-P O B-L B-L'], iob1)), ['I-P I-P O I-L B-L'])
  const iob2 = ['O', 'B-P', 'I-P', 'B-L', 'I-L']
  assert.equal(tagsOf(await tagged(['I-P O I-L B-L'], iob2)), ['B-P O B-L B-L'], 'as it was trained on such a file')
})

test('schemes are told apart', () => {
  assert.is(detectScheme([['B-A', 'M-A', 'E-A']]), 'BIOES')
  assert.ok(isPureIob1([['I-A', 'B-A', 'O', 'I-B']]))
  assert.not(isPureIob1([['I-A', 'O', 'B-A']]))
  assert.not(isPureIob1([['O']]))
  const back = spellingOf(['B-A', 'I-A', 'L-A', 'U-A'])
  for (const tags of ['U-A O B-A I-A L-A', 'B-A L-A U-A']) {
    assert.is(back(toIob2(tags.split(' '))).join(' '), tags)
  }
})

const TAGGERS: readonly (readonly [labels: readonly string[], spelled: readonly string[]])[] = [
  [
    ['O', 'B-X', 'M-X', 'E-X', 'W-X'],
    ['W-X', 'O', 'B-X', 'M-X', 'E-X'],
  ],
  [
    ['O', 'B-X', 'I-X', 'L-X'],
    ['B-X', 'O', 'B-X', 'I-X', 'L-X'],
  ],
  [
    ['O', 'B_X', 'I_X'],
    ['B_X', 'O', 'B_X', 'I_X', 'I_X'],
  ],
  [
    ['O', 'I_X'],
    ['I_X', 'O', 'I_X', 'I_X', 'I_X'],
  ],
  [
    ['O', 'B_X', 'I_X', 'E_X', 'S_X'],
    ['S_X', 'O', 'B_X', 'I_X', 'E_X'],
  ],
  [
    ['O', 'X-B', 'X-I'],
    ['X-B', 'O', 'X-B', 'X-I', 'X-I'],
  ],
  [
    ['X_I', 'X_B', 'X_S', 'X_E', 'O'],
    ['X_S', 'O', 'X_B', 'X_I', 'X_E'],
  ],
]
for (const [labels, spelled] of TAGGERS)
  test(`a model with ${labels.slice(1)} is right where it says what the data say`, async () => {
    const tokens = spelled.map((_, i) => `w${i}`)
    const data = (tags: readonly string[]) =>
      splitData({ test: toRows([{ tokens, tags }]) }, { labels: labelMap(labels) })
    const usual = await data(['B-X', 'O', 'B-X', 'I-X', 'I-X'])
    assert.equal(usual.splits.test.at(0)!.values.tags, spelled)
    assert.equal((await data(spelled)).splits.test.at(0)!.values.tags, spelled)
    const ids = Int32Array.from(spelled, tag => labels.indexOf(tag))
    const all = { positions: new Int32Array(5), gold: ids, predicted: ids, probabilities: new Float32Array(5) }
    const { metrics } = taskOf({ task: 'token-classification' }).score([all], labels, { mean: 0, weight: 1 })
    assert.equal([metrics.f1, metrics.strictF1, metrics.accuracy], [1, 1, 1])
  })

test('tags with underscores are read as those with hyphens', async () => {
  const train = toRows([{ tokens: ['a', 'b', 'c'], tags: ['B_PER', 'I_PER', 'O'] }])
  const data = await splitData({ train, validation: train })
  assert.equal(data.labels!.names, ['O', 'B-PER', 'I-PER'])
})

test('tags that have the type first are those of entities, and are scored as these', async () => {
  const rows = (...lists: string[]) => lists.map(list => list.split(' '))
  const [first] = rows('PER-B PER-I O LOC-B', 'PER-B O')
  const data = await tagged(['PER-B PER-I O LOC-B', 'PER-B O'])
  assert.equal(data.labels!.names, ['O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER'])
  assert.equal(tagsOf(data), ['B-PER I-PER O B-LOC', 'B-PER O'])
  assert.ok(data.notices.includes('tags converted from IOB2 with the type first to IOB2'), data.notices.join('\n'))
  assert.equal(tagsOf(await tagged(['A_B A_E A_S O'])), ['B-A I-A B-A O'])
  const other = ['O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC']
  assert.equal(tagsOf(await tagged(['PER_B PER_I O LOC_B'], other)), ['B-PER I-PER O B-LOC'])
  // Two entities, of which one is found, and one of two words that is cut short: 1 of 2 either way.
  const labels = ['O', 'LOC-B', 'LOC-I', 'PER-B', 'PER-I']
  const ids = (tags: readonly string[]) => Int32Array.from(tags, tag => labels.indexOf(tag))
  const places = { positions: new Int32Array(4), probabilities: new Float32Array(4) }
  const answer = { ...places, gold: ids(first!), predicted: ids(['PER-B', 'O', 'O', 'LOC-B']) }
  const task = taskOf({ task: 'token-classification' })
  const { metrics, reports } = task.score([answer], labels, { mean: 0, weight: 1 })
  assert.equal([metrics.f1, metrics.precision, metrics.strictF1, metrics.accuracy], [0.5, 0.5, 0.5, 0.75])
  assert.equal(
    reports.entities!.types.map(({ label, f1 }) => [label, f1]),
    [
      ['LOC', 1],
      ['PER', 0],
    ],
  )
  assert.is(task.metric(labels), 'f1')
})

const NO_ENTITIES: readonly (readonly [what: string, tags: string])[] = [
  ['parts of speech, some of which end so', 'NN-B NN-I VB JJ-B O'],
  ['names without an outside', 'vitamin-B vitamin-I'],
  ['what begins and never goes on', 'vitamin-B hepatitis-B O'],
  ['what goes on and never begins', 'type-I type-B bipolar-I O'],
]
for (const [what, tags] of NO_ENTITIES)
  test(`${what}: tags of words, as they are`, async () => {
    const data = await tagged([tags])
    assert.equal(tagsOf(data), [tags])
    assert.is(taskOf({ task: 'token-classification' }).metric(data.labels!.names), 'accuracy')
  })

test('letters on both sides are read with the place first', async () => {
  assert.equal(tagsOf(await tagged(['I-B I-I O B-B B-I'])), ['B-B B-I O B-B B-I'])
  assert.equal(tagsOf(await tagged(['B-B I-B O B-I I-I'])), ['B-B I-B O B-I I-I'])
})

test.run()
