import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { conversationOf } from '../../lib/data/conversation.ts'
import { IGNORED } from '../../lib/data/example.ts'
import { toRow, toRows } from '../../lib/data/row.ts'
import type { LowrankError } from '../../lib/errors.ts'
import type { ChatOptions } from '../../lib/tasks/chat.ts'
import { chatExample, promptIds } from '../../lib/tasks/chat.ts'
import { encodeRows } from '../../lib/tasks/encode.ts'
import { prepareData, splitData } from '../../lib/tasks/prepare.ts'
import type { Message } from '../../lib/tokenizer/chatTemplate.ts'
import { loadTokenizer, type Tokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { temporaryFolder } from '../support/temporary.ts'

const golden = fileURLToPath(new URL('../golden/chat/', import.meta.url))
const read = (name: string) => readFileSync(join(golden, name), 'utf8')

interface Case {
  template: string
  config: Record<string, string>
  messages: Message[]
  options: { tools?: unknown[]; enable_thinking?: boolean }
  text: string
  prompt: string
  ids: number[]
  learned: number[]
}
const cases = JSON.parse(read('chat.json')) as Case[]

/** A tokenizer folder with a template, as a file or within the config. */
async function withTemplate(template: unknown, config: object = {}, asFile = false): Promise<Tokenizer> {
  const folder = temporaryFolder()
  copyFileSync(join(golden, 'tokenizer.json'), join(folder, 'tokenizer.json'))
  const own = asFile ? config : { ...config, chat_template: template }
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(own))
  if (asFile) writeFileSync(join(folder, 'chat_template.jinja'), String(template))
  return await loadTokenizer(folder)
}

const tokenizers = new Map<string, Tokenizer>()
async function tokenizerOf({ template, config }: Pick<Case, 'template' | 'config'>): Promise<Tokenizer> {
  const known = tokenizers.get(template) ?? (await withTemplate(read(`templates/${template}.jinja`), config, true))
  tokenizers.set(template, known)
  return known
}
const chatml = () => tokenizerOf(cases[0]!)

const row = toRow({}, 7)
const example = (tokenizer: Tokenizer, messages: readonly Message[], chat: ChatOptions = {}, maxLength = 1000) =>
  chatExample(row, { messages, from: 0 }, tokenizer, { maxLength, chat })
const learnedText = (tokenizer: Tokenizer, { ids, label }: { ids: Int32Array; label?: unknown }) =>
  tokenizer.decode(
    ids.filter((_, t) => (label as Int32Array)[t] !== IGNORED),
    { keepSpecials: true },
  )
const errorOf = (body: () => unknown): LowrankError => {
  try {
    body()
  } catch (error) {
    return error as LowrankError
  }
  throw new Error('nothing was thrown')
}

for (const [i, each] of cases.entries())
  test(`template ${each.template}, case ${i}: text, ids and learned tokens are those of transformers`, async () => {
    const tokenizer = await tokenizerOf(each)
    const { tools, enable_thinking } = each.options
    const variables = enable_thinking === undefined ? {} : { enable_thinking }
    assert.is(tokenizer.chatTemplate!.render(each.messages, { tools, variables }), each.text)
    const before = each.messages.slice(0, -1)
    assert.is(tokenizer.chatTemplate!.render(before, { tools, variables, addGenerationPrompt: true }), each.prompt)
    const conversation = { messages: each.messages, ...(tools ? { tools } : {}), from: 0 }
    const chat = { thinking: enable_thinking === false ? 'strip' : 'keep' } as const
    const { ids, label } = chatExample(row, conversation, tokenizer, { maxLength: 1000, chat })
    assert.equal([...ids], each.ids)
    const learned = [...ids.keys()].filter(t => (label as Int32Array)[t] !== IGNORED)
    assert.equal(learned, each.learned)
    assert.ok(learned.every(t => (label as Int32Array)[t] === ids[t]))
    const prompt = promptIds({ messages: before, ...(tools ? { tools } : {}) }, tokenizer, chat)
    assert.is(tokenizer.decode(prompt, { keepSpecials: true }), each.prompt)
  })

test('a template lies in the config, in a list by name, or in a file, which wins', async () => {
  const messages = [{ role: 'user', content: 'x' }]
  const named = [
    { name: 'default', template: 'D{{ messages[0].content }}' },
    { name: 'tool_use', template: 'T{{ tools | length }}' },
  ]
  const listed = (await withTemplate(named)).chatTemplate!
  assert.is(listed.render(messages), 'Dx')
  assert.is(listed.render(messages, { tools: [1, 2] }), 'T2')
  assert.is((await withTemplate('C{{ bos_token }}', { bos_token: '<s>' })).chatTemplate!.render(messages), 'C<s>')
  const both = await withTemplate('F{{ eos_token is defined }}', { chat_template: 'C' }, true)
  assert.is(both.chatTemplate!.render(messages), 'Ffalse')
  assert.is((await loadTokenizer(join(golden, 'tokenizer.json'))).chatTemplate, undefined)
  const unnamed = await withTemplate([{ name: 'x', template: '' }])
  const broken = await withTemplate('{% for %}')
  assert.is(errorOf(() => broken.chatTemplate!.render(messages)).code, 'ERR_CONFIG')
  assert.is(errorOf(() => unnamed.chatTemplate!.render(messages)).code, 'ERR_CONFIG')
})

test('of several turns all are learned, or the last alone, or those that the data do not leave out', async () => {
  const turn = (content: string, more = {}) => [
    { role: 'user', content: 'q' },
    { role: 'assistant', content, ...more },
  ]
  const tokenizer = await chatml()
  const both = [...turn('one'), ...turn('two')]
  assert.is(learnedText(tokenizer, example(tokenizer, both)), 'one<|im_end|>two<|im_end|>')
  assert.is(learnedText(tokenizer, example(tokenizer, both, { turns: 'last' })), 'two<|im_end|>')
  const weighed = [...turn('one', { weight: 0 }), ...turn('two', { weight: 1 })]
  assert.is(learnedText(tokenizer, example(tokenizer, weighed)), 'two<|im_end|>')
  const untrained = [...turn('one'), ...turn('two', { train: false })]
  assert.is(learnedText(tokenizer, example(tokenizer, untrained)), 'one<|im_end|>')
})

test('texts in parts are those texts, for templates that read parts and for those that write the list', async () => {
  const parts = (...texts: string[]) => texts.map(text => ({ type: 'text', text }))
  const [ask, answer] = ['ask ', 'an answer']
  const plain = [
    { role: 'user', content: ask },
    { role: 'assistant', content: answer },
  ]
  const parted = [
    { role: 'user', content: parts('a', 'sk ') },
    { role: 'assistant', content: parts(answer) },
  ]
  const tokenizer = await chatml()
  assert.equal(example(tokenizer, parted), example(tokenizer, plain))
  const prompt = (messages: readonly Message[]) => promptIds({ messages: messages.slice(0, 1) }, tokenizer, {})
  assert.equal(prompt(parted), prompt(plain))
  const thinking = { thinking: 'empty' } as const
  assert.equal(example(tokenizer, parted, thinking), example(tokenizer, plain, thinking))
  const reads = `{% for m in messages %}{% for part in m.content %}[{{ part.text }}]{% endfor %}<|im_end|>{% endfor %}`
  const own = await withTemplate(reads, { eos_token: '<|im_end|>' })
  assert.is(own.decode(example(own, parted).ids, { keepSpecials: true }), '[a][sk ]<|im_end|>[an answer]<|im_end|>')
  const seen = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }, ...parts('a')] }, plain[1]!]
  const { code, message } = errorOf(() => example(tokenizer, seen))
  assert.is(code, 'ERR_DATA')
  assert.match(message, /data: .*7: message 1 has a part that is "image_url"; only text is read/)
})

test('calls of tools that a template leaves out are refused: nothing would be learned in their place', async () => {
  const tokenizer = await chatml()
  const called = [
    { role: 'user', content: 'q' },
    { role: 'assistant', content: null, tool_calls: [{ type: 'function', function: { name: 'f', arguments: {} } }] },
  ]
  const without = await withTemplate(
    `{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`,
    { eos_token: '<|im_end|>' },
  )
  const { code, message } = errorOf(() => example(without, called))
  assert.is(code, 'ERR_DATA')
  assert.match(message, /message 2: the chat template writes nothing of its tool_calls/)
  assert.match(learnedText(tokenizer, example(tokenizer, called)), /"f"/)
})

test('reasoning is kept, stripped, or replaced by an empty thought', async () => {
  const tokenizer = await tokenizerOf(cases.find(({ template }) => template === 'thinking')!)
  const ask = { role: 'user', content: 'q' }
  const answers = [
    { role: 'assistant', content: 'a', reasoning_content: 'why' },
    { role: 'assistant', content: '<think>\nwhy\n</think>\n\na' },
  ]
  for (const answer of answers) {
    const text = (thinking: 'keep' | 'strip' | 'empty') =>
      learnedText(tokenizer, example(tokenizer, [ask, answer], { thinking }))
    assert.is(text('keep'), '<think>\nwhy\n</think>\n\na<|im_end|>')
    assert.is(text('strip'), 'a<|im_end|>')
    assert.is(text('empty'), '<think>\n\n</think>\n\na<|im_end|>')
  }
  const stripped = promptIds({ messages: [ask] }, tokenizer, { thinking: 'strip' })
  assert.match(tokenizer.decode(stripped, { keepSpecials: true }), /assistant\n<think>\n\n<\/think>\n\n$/)
})

test('what cannot be learned is refused, with the row and why', async () => {
  const [ask, answer] = [
    { role: 'user', content: 'q' },
    { role: 'assistant', content: 'a' },
  ]
  const turns = [ask, answer, ask, answer]
  const refused = (tokenizer: Tokenizer, messages: Message[], message: RegExp, maxLength = 1000, code = 'ERR_DATA') => {
    const error = errorOf(() => example(tokenizer, messages, {}, maxLength))
    assert.is(error.code, code)
    assert.match(error.message, message)
    if (code === 'ERR_DATA') assert.match(error.message, /^data: row 7: /)
  }
  const thinking = await tokenizerOf(cases.find(({ template }) => template === 'thinking')!)
  refused(thinking, turns, /message 2: .*writes the turn otherwise once others follow.*turns: last/)
  const alone = learnedText(thinking, example(thinking, turns, { turns: 'last' }))
  assert.is(alone, '<think>\n\n</think>\n\na<|im_end|>')
  const endless =
    '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}'
  refused(await withTemplate(endless), turns, /message 2: .*no special token at the end of the assistant's turn \("a/)
  const other = endless.replace('assistant: ', 'model: ').replace('}}\n', '}}</s>\n')
  refused(await withTemplate(other), turns, /message 2: .*writes "assistant.* where its generation prompt is "model: /)
  refused(await chatml(), [ask], /no turn of the assistant/)
  refused(await chatml(), turns, /nothing to learn in the first 10 of its \d+ tokens; raise maxLength/, 10)
  const alternating = await tokenizerOf(cases.find(({ template }) => template === 'turns')!)
  refused(alternating, [ask, ask, answer], /refuses the conversation: .*must alternate/)
  refused(
    await loadTokenizer(join(golden, 'tokenizer.json')),
    turns,
    /the tokenizer of .* has none/,
    1000,
    'ERR_CONFIG',
  )
})

test('what is too long loses its end, or its beginning', async () => {
  const right = await chatml()
  const left = await loadTokenizer(right.path, { truncationSide: 'left' })
  const messages = [
    { role: 'user', content: 'one two three' },
    { role: 'assistant', content: 'four five six seven' },
  ]
  const whole = example(right, messages)
  const size = whole.ids.length - 4
  const [atEnd, atStart] = [example(right, messages, {}, size), example(left, messages, {}, size)]
  assert.ok(atEnd.truncated && atStart.truncated && !whole.truncated)
  assert.equal([...atEnd.ids], [...whole.ids.slice(0, size)])
  assert.equal([...atStart.ids], [...whole.ids.slice(4)])
  assert.equal([...(atStart.label as Int32Array)], [...(whole.label as Int32Array).slice(4)])
})

test('rows of every layout are conversations', async () => {
  const messages = [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'ho' },
  ]
  const shareGpt = [
    { from: 'human', value: 'hi' },
    { from: 'gpt', value: 'ho' },
  ]
  const rows: [object, string][] = [
    [{ messages }, 'messages'],
    [{ conversations: shareGpt }, 'conversations'],
    [{ messages: JSON.stringify(messages), tools: '[]' }, 'messages'],
    [{ prompt: 'hi', completion: 'ho' }, 'prompt'],
    [{ instruction: 'hi', input: '', output: 'ho' }, 'instruction'],
    [{ prompt: messages.slice(0, 1), completion: messages.slice(1) }, 'prompt'],
  ]
  for (const [values, column] of rows) {
    const train = toRows([values, { ...values, id: 2 }])
    const { columns, choice, duplicates } = await splitData({ train, validation: train })
    assert.is(choice.task, 'causal-lm', column)
    assert.ok(Object.values(columns).includes(column))
    assert.ok(duplicates.within > 0)
    const found = conversationOf(train[0]!, columns)
    assert.equal(found.messages, messages)
    assert.is(found.from, column === 'prompt' || column === 'instruction' ? 1 : 0)
    const [encoded] = encodeRows(train, await chatml(), { task: 'causal-lm', columns, maxLength: 100 }).examples
    assert.is(learnedText(await chatml(), encoded!), 'ho<|im_end|>')
  }
  const alpaca = toRows([{ instruction: 'Add', input: '1 and 2', output: '3', system: 'You count.' }])
  const { columns } = await splitData({ train: alpaca, validation: alpaca })
  assert.equal(
    conversationOf(alpaca[0]!, columns).messages.map(({ content }) => content),
    ['You count.', 'Add\n\n1 and 2', '3'],
  )
  const unknown = toRows([{ messages: [{ role: 'asistant', content: 'x' }] }])
  assert.match(
    errorOf(() => conversationOf(unknown[0]!, { messages: 'messages' })).message,
    /"asistant" \(did you mean/,
  )
  assert.match(errorOf(() => conversationOf(toRow({ messages: [] }, 3), { messages: 'messages' })).message, /row 3/)
})

test('without a template, or where none is wanted, prompts and completions are plain text', async () => {
  const plain = await loadTokenizer(join(golden, 'tokenizer.json'))
  const rows = toRows([{ instruction: 'Add', input: '1 and 2', output: '3' }])
  const { train, columns } = await prepareData({ train: rows, validation: rows }, plain, { maxLength: 200 })
  const text = (tokenizer: Tokenizer, ids: Int32Array) => tokenizer.decode(ids)
  assert.is(text(plain, train.examples.at(0)!.ids), '### Instruction:\nAdd\n\n### Input:\n1 and 2\n\n### Response:\n3')
  const spec = { task: 'causal-lm', columns, maxLength: 200, taskOptions: { template: 'none' } }
  const [example] = encodeRows(rows, await chatml(), spec).examples
  assert.is(text(await chatml(), example!.ids), text(plain, train.examples.at(0)!.ids))
})

test.run()
