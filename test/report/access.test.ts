// Whether everybody can read and use a report: contrast, keyboard, and the script in a browser where there is one.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { calibrationOf } from '../../lib/report/calibration.ts'
import { type ReportData, renderReport } from '../../lib/report/report.ts'
import { style } from '../../lib/report/style.ts'
import { browser, domOf, problemsOf } from './axe.ts'

const data: ReportData = {
  title: 'a run',
  task: 'classification',
  comparison: {
    items: 40,
    itemName: 'test examples',
    metrics: [
      { name: 'Accuracy', before: 0.2, after: 0.5, unit: 'share', interval: { low: 0.1, high: 0.4, confidence: 0.95 } },
    ],
    references: [{ name: 'TF-IDF', accuracy: 0.4, macroF1: 0.3 }],
  },
  cost: { trainable: 10, total: 100, seconds: 3, peakBytes: 2e6 },
  scatter: { gold: [1, 2], predicted: [1, 3] },
  data: {
    splits: [{ name: 'train', examples: 4, labels: { a: 3, b: 1 } }],
    lengths: [3, 4, 5, 6],
    maxLength: 5,
    truncated: 1,
  },
  settings: { lr: 0.1, report: true },
  warnings: ['a warning'],
  steps: [1, 2, 3].map(step => ({ step, loss: 1 / step, learningRate: 1e-3 })),
  evaluations: [
    { epoch: 1, step: 1, metrics: { accuracy: 0.5, loss: 0.9 } },
    { epoch: 2, step: 2, metrics: { accuracy: 0.7, loss: 0.8 }, best: true },
  ],
  confusion: { labels: ['a', 'b', 'c'], cells: [0, 1, 2].map(i => [i, (i + 1) % 3, 2] as const) },
  classes: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((label, i) => {
    return { label, precision: 0.1 * i, recall: 0.5, f1: 0.1 * i, support: 3, predicted: 2 }
  }),
  calibration: calibrationOf([{ probability: 0.9, right: true }]),
  mistakes: Array.from({ length: 9 }, (_, i) => ({ text: [{ text: `text ${i}` }], gold: 'a', predicted: 'b' })),
  command: "npx lowrank train 'a b.csv'",
}

/** Relative luminance of sRGB, by WCAG 2. */
function luminance(color: string): number {
  const parts = color.length === 4 ? [...color.slice(1)].map(c => c + c) : color.slice(1).match(/../g)!
  const [r, g, b] = parts.map(part => {
    const value = Number.parseInt(part, 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (light! + 0.05) / (dark! + 0.05)
}

/** What is written on what. */
const PAIRS = [
  ...['ink', 'soft', 'quiet', 'good', 'bad', 'accent'].map(ink => [ink, 'paper']),
  ...['ink', 'soft', 'quiet'].map(ink => [ink, 'raised']),
  ...['ink', 'warm'].map(ink => [ink, 'warm-wash']),
  ...['ink', 'good'].map(ink => [ink, 'good-wash']),
  ...['ink', 'bad'].map(ink => [ink, 'bad-wash']),
  ['on', 'c1'],
] as [string, string][]

test('every text has a contrast of 4.5 to 1, on light, dark and paper', () => {
  const themes = [...style.matchAll(/:root \{([^}]*)\}/g)].map(([, body]) => body!)
  assert.is(themes.length, 3)
  for (const body of themes) {
    const colors = new Map([...body.matchAll(/--([\w-]+): (#[0-9a-f]+)/g)].map(([, name, value]) => [name!, value!]))
    for (const [ink, ground] of PAIRS) {
      const found = contrast(colors.get(ink)!, colors.get(ground)!)
      assert.ok(found >= 4.5, `${ink} on ${ground}: ${found.toFixed(2)}`)
    }
  }
})

test('what scrolls can be reached by the keyboard, and has a name', () => {
  const page = renderReport(data)
  const scrolling = [...page.matchAll(/<(?:div|pre)[^>]*class="(?:scroll|[^"]*\btall)"[^>]*>|<pre[^>]*>/g)]
  assert.ok(scrolling.length >= 2)
  for (const [tag] of scrolling) assert.match(tag, /tabindex="0" role="region"\s+aria-label="[^"]+"/)
})

test('validation loss, the best step, calibration and the command line are shown', () => {
  const page = renderReport(data)
  for (const part of ['>validation<', 'best step', 'How sure, how right', '<h2>Again</h2>', '&#39;a b.csv&#39;'])
    assert.ok(page.includes(part), part)
  assert.is(page.match(/<span class="quiet">best<\/span>/g)?.length, 1)
})

test('calibration: bins, error and thresholds by hand', () => {
  const answers = [
    { probability: 0.95, right: true },
    { probability: 0.95, right: false },
    { probability: 0.55, right: true },
    { probability: 1, right: true },
  ]
  const { bins, error, thresholds } = calibrationOf(answers)
  assert.is(bins.length, 2)
  assert.is(bins[1]!.count, 3)
  assert.ok(Math.abs(error - (0.25 * 0.45 + 0.75 * (2.9 / 3 - 2 / 3))) < 1e-12)
  assert.equal(
    thresholds.find(row => row.threshold === 0.9),
    { threshold: 0.9, covered: 0.75, accuracy: 2 / 3 },
  )
})

test('in a browser the script makes tables sortable and lists searchable, and its policy lets it', () => {
  if (!browser) return console.log('skipped: no browser')
  const stdout = domOf(renderReport(data), browser)
  assert.match(stdout, /<th[^>]*><button type="button">Class<\/button>/)
  for (const name of ['Search the mistakes', 'Search the class names'])
    assert.match(stdout, new RegExp(`<input type="search"[^>]*aria-label="${name}"`))
})

test('a button saves the head of a page as a picture', () => {
  if (!browser) return console.log('skipped: no browser')
  const report = renderReport(data)
  assert.match(domOf(report, browser), /<button type="button" class="card">Save as a picture<\/button>/)
  // The page's policy lets no other script run, which is right; this one presses the button and keeps what is saved.
  const press = `URL.createObjectURL = blob => {
    const reader = new FileReader()
    reader.onload = () => { document.body.dataset.saved = reader.result }
    reader.readAsDataURL(blob)
    return 'data:,'
  }
  document.querySelector('button.card').click()`
  const open = report.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '')
  const dom = domOf(open.replace('</body>', `<script>${press}</script></body>`), browser)
  const [, saved] = /data-saved="data:image\/png;base64,([^"]+)"/.exec(dom) ?? []
  const png = Buffer.from(saved ?? '', 'base64')
  assert.is(png.toString('latin1', 1, 4), 'PNG')
  assert.equal([png.readUInt32BE(16), png.readUInt32BE(20)], [1200, 630])
  // Text takes bytes; one colour alone takes four thousand.
  assert.ok(png.length > 15_000, `${png.length} bytes`)
})

test('axe finds nothing on a report', () => {
  const problems = problemsOf(renderReport(data))
  if (!problems) return console.log('skipped: no browser')
  assert.equal(problems, [])
})

test.run()
