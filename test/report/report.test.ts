import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Mistake, ReportData } from '../../lib/report/report.ts'
import { renderReport, writeReport } from '../../lib/report/report.ts'
import { temporaryFolder } from '../support/temporary.ts'

const hostile = `</script><script>alert(1)</script><img src=x onerror="alert('2')">&amp;"'\u0000\ud800<!--`

/** Every field that holds a string holds `text`. */
function everywhere(text: string): ReportData {
  const mistakes: Mistake[] = [
    { text: [{ text }], gold: text, predicted: text, probability: 0.9 },
    { text: [{ text }], gold: 1, predicted: 2 },
    {
      gold: [{ text }, { text, mark: 'missed', name: text }],
      predicted: [{ text, mark: 'wrong', name: text }, { text }],
      probability: 0.7,
    },
    { text: [{ text }, { text, mark: 'blank' }, { text }], gold: text, predicted: text, probability: 0.6 },
  ]
  return {
    title: text,
    task: 'classification',
    verdict: text,
    date: text,
    warnings: [text],
    comparison: {
      beforeName: text,
      afterName: text,
      items: 4,
      itemName: text,
      metrics: [
        { name: text, before: 0.25, after: 0.5, unit: 'share', interval: { low: 0, high: 0.5, confidence: 0.9 } },
      ],
      mcnemar: { onlyBefore: 1, onlyAfter: 2, pExact: 1, chiSquare: 0, pChiSquare: 1 },
    },
    cost: { trainable: 10, total: 1000, seconds: 3, peakBytes: 5e6, device: text },
    steps: [
      { step: 1, loss: 2, learningRate: 1e-4 },
      { step: 2, loss: 1, learningRate: 5e-5 },
    ],
    evaluations: [
      { epoch: 1, metrics: { [text]: 0.5 } },
      { epoch: 2, metrics: { [text]: 0.6 }, best: true },
    ],
    spectra: [{ layer: text, values: [2, 0.5, 0] }],
    confusion: {
      labels: [text, `b${text}`, 'c'],
      cells: [
        [0, 0, 1],
        [0, 1, 1],
        [1, 1, 1],
        [2, 1, 1],
      ],
    },
    classes: [{ label: text, precision: 0.5, recall: 0.5, f1: 0.5, support: 2, predicted: 2 }],
    scatter: { gold: [1, 2], predicted: [1, 3] },
    mistakes,
    data: {
      splits: [{ name: text, examples: 4, labels: { [text]: 3, other: 1 } }],
      lengths: [1, 5],
      maxLength: 3,
      truncated: 1,
    },
    settings: { [text]: text, list: [text, 1, true], nothing: null },
    environment: { [text]: text },
    command: text,
  }
}

/** Tags and attribute names of a page, by a small strict scanner; throws where the markup is not well formed. */
function scan(page: string): { tags: string[]; attributes: string[] } {
  const tags: string[] = []
  const attributes: string[] = []
  const open: string[] = []
  const empty = new Set(['meta', '!doctype'])
  const body = page
    .replace(/<style>[\s\S]*?<\/style>/, '<style></style>')
    .replace(/<script>[\s\S]*?<\/script>/, '<script></script>')
  for (const [, close, name, inside] of body.matchAll(/<(\/?)([!a-z][a-z0-9]*)((?:[^<>"]|"[^"]*")*)>/gi)) {
    const tag = name!.toLowerCase()
    if (close) {
      assert.is(open.pop(), tag, `</${tag}>`)
      continue
    }
    tags.push(tag)
    for (const [, attribute] of inside!.matchAll(/([a-zA-Z-]+)="[^"]*"/g)) attributes.push(attribute!.toLowerCase())
    if (!empty.has(tag) && !inside!.endsWith('/')) open.push(tag)
  }
  assert.equal(open, [])
  assert.is(body.replace(/<[^>]*>/g, '').includes('<'), false, 'a bare <')
  return { tags, attributes }
}

test('hostile text in every field stays text', () => {
  const page = renderReport(everywhere(hostile))
  const { tags, attributes } = scan(page)
  assert.not(tags.includes('img'))
  assert.is(tags.filter(tag => tag === 'script').length, 1)
  assert.equal(tags, scan(renderReport(everywhere('plain'))).tags)
  assert.not(attributes.some(name => name.startsWith('on')))
  assert.not(page.includes(hostile))
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
  assert.not.match(page, /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/)
  assert.is(page, Buffer.from(page, 'utf8').toString('utf8'), 'no lone surrogate')
})

test('any text at all gives the same elements', () => {
  const plain = scan(renderReport(everywhere('plain'))).tags
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 30 }), text => {
      if (text === '' || text === 'other' || text === 'list' || text === 'nothing' || /^\d+$/.test(text)) return
      assert.equal(scan(renderReport(everywhere(text))).tags, plain)
    }),
    { numRuns: 60 },
  )
})

test('nothing is fetched: no address outside the page, and a policy that forbids it', () => {
  const page = renderReport(everywhere('x'))
  assert.not.match(page, /\b(?:src|href)=|@import|url\(|https?:(?!\/\/www\.w3\.org\/2000\/svg)/)
  assert.match(page, /Content-Security-Policy" content="default-src &#39;none&#39;/)
})

test('every task renders with what it has, and with nothing', () => {
  for (const task of [
    'classification',
    'multi-label',
    'regression',
    'token-classification',
    'masked-lm',
    'causal-lm',
  ] as const) {
    const { tags } = scan(renderReport({ title: 'Nothing', task }))
    assert.not(tags.includes('section'))
    scan(renderReport({ ...everywhere('x'), task }))
  }
})

test('the verdict says what changed, and when chance explains it', () => {
  const verdict = (after: number, low: number, high: number) => {
    const interval = { low, high, confidence: 0.95 }
    const metrics = [{ name: 'Accuracy', unit: 'share' as const, before: 0.412, after, interval }]
    const comparison = { items: 1500, itemName: 'test examples', metrics }
    const page = renderReport({ title: 't', task: 'classification', comparison })
    return /<p class="verdict">(.*?)<\/p>/s
      .exec(page)![1]!
      .replace(/<[^>]*>/g, '')
      .replaceAll('\u2009', ' ')
      .replaceAll('\n', ' ')
  }
  assert.is(
    verdict(0.874, 0.41, 0.51),
    'Accuracy rose from 41.2 % to 87.4 % on 1 500 test examples (+46.2 points); ' +
      'the 95 % interval of the difference runs from +41.0 to +51.0.',
  )
  assert.match(
    verdict(0.4, -0.03, 0.01),
    /fell from 41\.2 % to 40\.0 % .*\(−1\.2 points\).*within what chance explains\./,
  )
})

test('a metric that should fall is praised for falling', () => {
  const row = (after: number) => ({ name: 'MSE', before: 2, after, better: 'lower' as const })
  const page = (after: number) =>
    renderReport({ title: 't', task: 'regression', comparison: { items: 2, itemName: 'rows', metrics: [row(after)] } })
  assert.match(page(1), /class="num up">−1</)
  assert.match(page(3), /class="num down">\+1</)
})

test('two to 150 classes and long runs keep the page small', () => {
  for (const classes of [2, 30, 150]) {
    const labels = Array.from({ length: classes }, (_, i) => `class ${i}`)
    const cells = labels.flatMap((_, i) => {
      return labels.map((_, j) => [i, j, i === j ? 40 : (i + j) % 9 === 0 ? 1 : 0] as const)
    })
    const steps = Array.from({ length: 50_000 }, (_, i) => ({ step: i, loss: Math.sin(i) + 2, learningRate: 1e-4 }))
    const page = renderReport({ title: 't', task: 'classification', confusion: { labels, cells }, steps })
    assert.ok(page.length < 2e6, `${page.length}`)
    scan(page)
    for (const label of labels) assert.ok(page.includes(`${label} →`))
  }
})

test('odd numbers do not break it: NaN loss, one step, equal values, empty lists', () => {
  const steps = [
    { step: 1, loss: Number.NaN },
    { step: 2, loss: Number.POSITIVE_INFINITY },
    { step: 3, loss: 1 },
  ]
  const data: ReportData = {
    title: 't',
    task: 'classification',
    steps,
    evaluations: [{ epoch: 1, metrics: { f1: Number.NaN } }],
    confusion: { labels: ['a'], cells: [] },
    classes: [{ label: 'a', precision: Number.NaN, recall: 0, f1: Number.NaN, support: 0, predicted: 0 }],
    mistakes: [],
    data: { splits: [], lengths: [7, 7, 7], maxLength: 512 },
    comparison: { items: 1, itemName: 'row', metrics: [] },
  }
  const page = renderReport(data)
  scan(page)
  assert.not.match(
    page.replace(/<script>[\s\S]*<\/script>/, ''),
    /(?:[dxy]|cx|cy|x[12]|y[12]|width|height)="[^"]*(?:NaN|Infinity)/,
  )
  scan(renderReport({ ...data, steps: steps.slice(0, 1), scatter: { gold: [2, 2], predicted: [2, 2] } }))
})

test('only the first hundred mistakes are shown', () => {
  const mistakes = Array.from({ length: 120 }, (_, i) => ({
    text: [{ text: `row ${i}.` }],
    gold: 1,
    predicted: 2,
  }))
  const page = renderReport({ title: 't', task: 'regression', mistakes })
  assert.ok(page.includes('row 99.') && !page.includes('row 100.'))
})

test('writing replaces the old page whole and leaves no other file', async () => {
  const folder = temporaryFolder()
  try {
    const path = join(folder, 'run', 'report.html')
    await writeReport(path, { title: 'first', task: 'classification' })
    await writeReport(path, { title: 'second', task: 'classification' })
    assert.match(readFileSync(path, 'utf8'), /^<!doctype html>[\s\S]*<title>second<\/title>[\s\S]*<\/html>\n$/)
    assert.equal(readdirSync(join(folder, 'run')), ['report.html'])
    writeFileSync(join(folder, 'file'), '')
    const failed = writeReport(join(folder, 'file', 'x.html'), { title: 't', task: 'regression' })
    assert.match(await failed.catch(error => error.message), /cannot be written/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('ranks: a row a layer with its ranks in use, its norm and its singular values', () => {
  const spectra = [
    { layer: 'query', values: [4, 3, 0, 1e-9] },
    { layer: 'value', values: [0, 0] },
  ]
  const page = renderReport({ title: 'x', task: 'y', spectra })
  assert.match(page, /2 ranks in use/)
  assert.match(page, /query<\/th><td class="num">2 of 4<\/td>\s*<td class="num">5<\/td>/)
  assert.match(page, /value<\/th><td class="num">0 of 2<\/td>/)
  assert.match(page, /aria-label="Singular values of query" width="28"/)
  assert.not.match(renderReport({ title: 'x', task: 'y' }), /<h2>Ranks/)
})

test.run()
