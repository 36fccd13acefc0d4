// README.md of an adapter folder: what it is, how good, on what it was trained, and how to use it from Python and Node.

import type { BaseReference } from '../hub/reference.ts'
import { textBaselineText } from '../tasks/textBaseline.ts'
import { askedTexts } from './askedTexts.ts'
import { methodTitle, type RunRecord, type RunResult } from './run.ts'

/** What a card says beside the record of its run. */
interface CardFacts {
  readonly base: BaseReference | undefined
  /** Whether the base comes with this package. */
  readonly bundled: boolean
  /** Whether the folder holds a whole model, and no adapter of one. */
  readonly whole: boolean
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
    ...frontMatter(name, start.method, start.task, facts.whole),
    `# ${methodTitle(run)} of ${plain(name)} on ${plain(facts.data)}`,
    '',
    `Task: ${start.task} (${start.problem}).${labels ? ` Labels, in the order of their ids: ${labels}.` : ''}`,
    '',
    ...resultLines(result),
    '## How it was trained',
    '',
    `- base: ${plain(name)}${facts.base ? `, SHA-256 ${facts.base.sha256} (config and weights, large files by samples)` : ''}`,
    `- data: ${plain(facts.data)}, ${sizes.map(([split, count]) => `${count} ${split}`).join(', ')}, rows hashed to ${facts.splitHash}`,
    `- ${start.trainable} of ${start.total} numbers trained, ${end.step} steps of ${stepText(start)},` +
      ` peak learning rate ${start.lr}${start.headLr === undefined ? '' : `, of the head ${start.headLr}`}, seed ${start.seed}; texts up to ${facts.maxLength} tokens`,
    `- ${facts.whole ? 'model' : 'adapter_model'}.safetensors: SHA-256 ${facts.sha256}`,
    `- lowrank ${facts.version}`,
    '',
    '## How to use it',
    '',
    ...nodeLines(run, facts),
    ...pythonLines(run, facts),
  ].join('\n')
}

function stepText({ batchSize = 0, batchTokens, accumulate }: RunRecord['start']): string {
  return batchTokens === undefined
    ? `${batchSize * accumulate} sequences`
    : `at most ${batchTokens * accumulate} tokens`
}

function frontMatter(base: string, method: string, task: string, whole: boolean): string[] {
  const tags = [`base_model:${whole ? 'finetune' : 'adapter'}:${base}`, method, task, 'lowrank', 'transformers'].map(
    tag => `- ${yamlText(tag)}`,
  )
  return [
    '---',
    `base_model: ${yamlText(base)}`,
    `library_name: ${whole ? 'transformers' : 'peft'}`,
    'tags:',
    ...tags,
    '---',
    '',
  ]
}

const yamlText = (text: string) => (/^[\w./:-]+$/.test(text) ? text : JSON.stringify(text))
/** A name that Markdown does not read as its own signs. */
const plain = (name: string) => name.replace(/\s+/g, ' ').replace(/[\\`*[\]<>|&~]/g, '\\$&')
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

/** What a program names the base by: its id on the hub, with the commit, or a path that its reader fills in. */
const onHub = ({ base }: CardFacts) => (base?.revision === undefined ? undefined : base)

function nodeLines(run: RunRecord, facts: CardFacts): string[] {
  const asked = Object.entries(askedTexts(run)).map(([name, text]) => [name, jsText(text)])
  const [first] = asked
  const input = asked.length > 1 ? `{ ${asked.map(part => part.join(': ')).join(', ')} }` : first?.[1]
  const base = facts.whole || facts.bundled || onHub(facts) ? '' : ", { model: 'path/to/base' }"
  return [
    'Node:',
    '',
    '```js',
    "import { open } from 'lowrank'",
    '',
    `const model = await open('path/to/this/folder'${base})`,
    `console.log(await model.predict(${input}))`,
    '```',
    '',
  ]
}

const jsText = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`

/** Classes of models that PEFT loads together with their base. */
const PEFT_LOADS = ['CausalLM', 'Seq2SeqLM', 'SequenceClassification', 'TokenClassification', 'QuestionAnswering']

function pythonLines(run: RunRecord, facts: CardFacts): string[] {
  const { model } = run
  const suffix = /For(\w+)$/.exec(model.className)?.[1]
  if (!suffix) return []
  const kind = suffix === 'ConditionalGeneration' ? 'Seq2SeqLM' : suffix
  const asked = Object.values(askedTexts(run))
    .map(text => JSON.stringify(text))
    .join(', ')
  const speaks = kind === 'CausalLM' || kind === 'Seq2SeqLM'
  return [
    `Python${facts.bundled && !facts.whole ? ' (the base is the folder assets/encoder of the npm package)' : ''}:`,
    '',
    '```python',
    ...loadLines(kind, model, facts),
    'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
    `inputs = tokenizer(${asked}, return_tensors="pt")`,
    ...(speaks
      ? ['print(tokenizer.batch_decode(model.generate(**inputs, max_new_tokens=20)))']
      : kind === 'QuestionAnswering'
        ? [
            'said = model(**inputs)',
            'print(tokenizer.decode(inputs.input_ids[0, said.start_logits.argmax() : said.end_logits.argmax() + 1]))',
          ]
        : ['print(model(**inputs).logits)']),
    '```',
    '',
  ]
}

/**
 * PEFT asks the base alone for labels, so they are told to it. A base that only this package or this machine has is of
 * no use to Python by its name: its folder is.
 */
function loadLines(kind: string, { labels: names, head: { outputs } }: RunRecord['model'], facts: CardFacts): string[] {
  const here = '"path/to/this/folder"'
  if (facts.whole)
    return [
      `from transformers import AutoModelFor${kind}, AutoTokenizer`,
      '',
      `model = AutoModelFor${kind}.from_pretrained(${here}).eval()`,
    ]
  const ids = 'id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)}'
  const labels = names.length > 0 ? [`labels = ${JSON.stringify(names)}`, `head = dict(${ids})`] : []
  const alone = kind === 'SequenceClassification' ? `, num_labels=${outputs}` : ''
  const head = names.length > 0 ? ', **head' : alone
  if (onHub(facts) && PEFT_LOADS.includes(kind))
    return [
      `from peft import AutoPeftModelFor${kind}`,
      'from transformers import AutoTokenizer',
      '',
      ...labels,
      `model = AutoPeftModelFor${kind}.from_pretrained(${here}${head}).eval()`,
    ]
  const base = onHub(facts)?.name ?? 'path/to/base'
  return [
    'from peft import PeftModel',
    `from transformers import AutoModelFor${kind}, AutoTokenizer`,
    '',
    ...labels,
    `base = AutoModelFor${kind}.from_pretrained(${JSON.stringify(base)}${head})`,
    `model = PeftModel.from_pretrained(base, ${here}).eval()`,
  ]
}
