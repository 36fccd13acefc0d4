// README.md of an adapter folder: what it is, how good, on what it was trained, and how to use it from Python and Node.

import type { BaseReference } from '../io/reference.ts'
import { textBaselineText } from '../tasks/textBaseline.ts'
import { methodTitle, type RunRecord, type RunResult } from './run.ts'

/** What a card says beside the record of its run. */
export interface CardFacts {
  readonly base: BaseReference | undefined
  /** Whether the base comes with this package. */
  readonly bundled: boolean
  /** Name of the data, no path. */
  readonly data: string
  /** Hash of the rows by split. */
  readonly splitHash: string
  /** SHA-256 of the adapter's weights. */
  readonly sha256: string
  readonly version: string
  readonly maxLength: number
}

/** The text of the card. */
export function modelCard(run: RunRecord, result: RunResult, facts: CardFacts): string {
  const { start, end, model } = run
  const name = facts.bundled ? 'lowrank-encoder' : (facts.base?.name ?? 'unknown')
  const sizes = Object.entries(start.examples).filter(([, count]) => count > 0)
  const labels = model.labels.length > 0 && model.labels.length <= 100 ? model.labels.map(quoted).join(', ') : undefined
  return [
    ...frontMatter(name, start.method, start.task),
    `# ${methodTitle(run)} of ${name} on ${facts.data}`,
    '',
    `Task: ${start.task} (${start.problem}).${labels ? ` Labels, in the order of their ids: ${labels}.` : ''}`,
    '',
    ...resultLines(result),
    '## How it was trained',
    '',
    `- base: ${name}${facts.base ? `, SHA-256 ${facts.base.sha256} (config and weights, large files by samples)` : ''}`,
    `- data: ${facts.data}, ${sizes.map(([split, count]) => `${count} ${split}`).join(', ')}, rows hashed to ${facts.splitHash}`,
    `- ${start.trainable} of ${start.total} numbers trained, ${end.step} steps of ${start.batchSize * start.accumulate}` +
      ` sequences, peak learning rate ${start.lr}, seed ${start.seed}; texts up to ${facts.maxLength} tokens`,
    `- adapter_model.safetensors: SHA-256 ${facts.sha256}`,
    `- lowrank ${facts.version}`,
    '',
    '## How to use it',
    '',
    ...nodeLines(facts.bundled),
    ...pythonLines(run, facts.bundled),
  ].join('\n')
}

function frontMatter(base: string, method: string, task: string): string[] {
  const tags = [`base_model:adapter:${base}`, method, task, 'lowrank', 'transformers'].map(tag => `- ${yamlText(tag)}`)
  return ['---', `base_model: ${yamlText(base)}`, 'library_name: peft', 'tags:', ...tags, '---', '']
}

const yamlText = (text: string) => (/^[\w./:-]+$/.test(text) ? text : JSON.stringify(text))
const quoted = (text: string) => `\`${text.replaceAll('`', "'").replace(/\s+/g, ' ')}\``

function resultLines({ comparison, judged, majority, textBaseline }: RunResult): string[] {
  if (!comparison || !judged) return []
  const rows = comparison.metrics.map(({ name, before, after }) => {
    return `| ${name} | ${before === undefined ? '' : number(before)} | ${number(after)} |`
  })
  const always = majority ? [`Always ${quoted(majority.label)}: accuracy ${number(majority.accuracy)}.`] : []
  const words = textBaseline ? [`${textBaselineText(textBaseline, number)}.`] : []
  const on = `On ${comparison.examples} ${judged.split} examples.`
  const said = [on, ...always, ...words].join(' ')
  return ['## How good it is', '', '| metric | before | after |', '|---|--:|--:|', ...rows, '', said, '']
}

const number = (value: number) => String(Number(value.toPrecision(4)))

function nodeLines(bundled: boolean): string[] {
  const base = bundled ? '' : ", { model: 'path/to/base' }"
  return [
    'Node:',
    '',
    '```js',
    "import { open } from 'lowrank'",
    '',
    `const model = await open('path/to/this/folder'${base})`,
    "console.log(await model.predict('a text'))",
    '```',
    '',
  ]
}

/** A base that only this package has is of no use to Python by its name: its folder is. */
function pythonLines({ model }: RunRecord, bundled: boolean): string[] {
  const suffix = /For(\w+)$/.exec(model.className)?.[1]
  if (!suffix) return []
  const auto = `AutoModelFor${suffix === 'ConditionalGeneration' ? 'Seq2SeqLM' : suffix}`
  const names = JSON.stringify(model.labels)
  const head = model.labels.length > 0 ? ', num_labels=len(labels), id2label=dict(enumerate(labels))' : ''
  return [
    `Python${bundled ? ' (the base is the folder assets/encoder of the npm package)' : ''}:`,
    '',
    '```python',
    'from peft import PeftModel',
    `from transformers import ${auto}, AutoTokenizer`,
    '',
    ...(head ? [`labels = ${names}`] : []),
    `base = ${auto}.from_pretrained("path/to/base"${head})`,
    'model = PeftModel.from_pretrained(base, "path/to/this/folder").eval()',
    'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
    'print(model(**tokenizer("a text", return_tensors="pt")).logits)',
    '```',
    '',
  ]
}
