import { check, fail, nearest } from '../errors.ts'
import type { Row } from './row.ts'

/** Which column plays which part; a part that a data set lacks is absent. */
export interface Columns {
  readonly text?: string
  /** Second text of a pair. */
  readonly text2?: string
  readonly label?: string
  /** What is given, and what is to be said after it. */
  readonly prompt?: string
  readonly completion?: string
  /** Two answers to one prompt: the better one and the worse. */
  readonly chosen?: string
  readonly rejected?: string
  /** What a prompt is about, below it. */
  readonly context?: string
  /** Turns of a conversation, what the assistant may call in it, and a system message before it. */
  readonly messages?: string
  readonly tools?: string
  readonly system?: string
  /** Words of a sentence. */
  readonly tokens?: string
  /** One tag a word. */
  readonly tags?: string
}

/** The parts that a column may play. */
const PARTS = Object.keys({
  text: true,
  text2: true,
  label: true,
  prompt: true,
  completion: true,
  chosen: true,
  rejected: true,
  context: true,
  messages: true,
  tools: true,
  system: true,
  tokens: true,
  tags: true,
} satisfies Record<keyof Columns, true>)

/** The column that plays a part which a task needs. @throws ERR_OPTION where none does */
export function columnOf(columns: Columns, part: keyof Columns): string {
  return columns[part] ?? fail('ERR_OPTION', `columns.${part}: the task needs one, and none is named; name it`)
}

/** Column names given by the user. */
export type ColumnNames = { readonly [part in keyof Columns]?: string | undefined }

// Pairs stand before single texts, since their first names also serve alone.
const pairs: readonly (readonly [string, string])[] = [
  ['text', 'text2'],
  ['text', 'text_pair'],
  ['text1', 'text2'],
  ['sentence1', 'sentence2'],
  ['premise', 'hypothesis'],
  ['question1', 'question2'],
  ['question', 'sentence'],
]
const answers: readonly (readonly [string, string])[] = [
  ['prompt', 'completion'],
  ['prompt', 'response'],
  ['instruction', 'output'],
  ['instruction', 'response'],
]
const aliases = {
  messages: ['messages', 'conversations'],
  text: [
    'text',
    'sentence',
    'content',
    'review',
    'utterance',
    'query',
    'message',
    'document',
    'comment',
    'tweet',
    'headline',
    'question',
    'body',
    'input',
    'sentence1',
    'premise',
    'text1',
  ],
  label: [
    'label',
    'labels',
    'class',
    'category',
    'intent',
    'sentiment',
    'target',
    'topic',
    'score',
    'rating',
    'stars',
    'polarity',
    'y',
  ],
  tokens: ['tokens', 'words'],
  tags: ['tags', 'ner_tags', 'ner', 'entities', 'labels', 'pos_tags'],
} as const

/** Column names of a data set, in order of appearance. */
export function columnNames(rows: Iterable<Row>): string[] {
  const names = new Set<string>()
  for (const row of rows) for (const name of Object.keys(row.values)) names.add(name)
  return [...names]
}

/**
 * Which of the columns `seen` play which part: those given by name, the rest found by the usual names (without regard
 * to case). Columns that nobody asked for and nobody knows are left alone.
 * @throws ERR_OPTION for a part that there is not, ERR_DATA when a given column is not there, or none can be text or
 * tokens.
 */
export function findColumns(seen: readonly string[], given: ColumnNames = {}, usual: UsualNames = NO_NAMES): Columns {
  const found: Record<string, string> = {}
  for (const [part, name] of Object.entries(given)) {
    if (name === undefined) continue
    check(typeof name === 'string', 'ERR_OPTION', () => `columns.${part}: ${String(name)} is no name of a column`)
    check(PARTS.includes(part), 'ERR_OPTION', () => {
      return `columns.${part}: there is no such part${nearest(part, PARTS)}; parts are ${PARTS.join(', ')}`
    })
    check(seen.includes(name), 'ERR_DATA', () => {
      return `columns.${part}: no column "${name}"${nearest(name, seen)}; the data have ${list(seen)}`
    })
    found[part] = name
  }
  const free = seen.filter(name => !Object.values(found).includes(name))
  const find = (names: readonly string[]) => columnNamed(free, names)
  const put = (part: keyof Columns, name: string | undefined): void => {
    if (name !== undefined && found[part] === undefined) found[part] = name
  }
  const whole = wholeSet(found, find, usual)
  if (whole) return whole
  if (!found.text) putConversation(found, find, put)
  if (found.messages || found.prompt) return found
  if (!found.text) put('tokens', find(aliases.tokens))
  if (found.tokens) put('tags', find(aliases.tags))
  if (!found.tokens) {
    putTexts(found, find, put)
    put('label', find(aliases.label))
  }
  if (!found.text && !found.tokens) failUnknown(seen)
  return found
}

/** The column that has the first of `names` that any has, without regard to case. */
function columnNamed(columns: readonly string[], names: readonly string[]): string | undefined {
  for (const name of names) {
    const match = columns.find(column => column.toLowerCase() === name)
    if (match !== undefined) return match
  }
  return undefined
}

/** Which of `seen` holds texts, by its usual names. */
export function usualText(seen: readonly string[]): string | undefined {
  return columnNamed(seen, aliases.text)
}

/** @throws ERR_DATA with the cure that the names suggest */
function failUnknown(seen: readonly string[]): never {
  const lower = seen.map(name => name.toLowerCase())
  const isWordARow =
    lower.some(name => /^(word|token)$/.test(name)) && lower.some(name => /^(tag|ner|label)$/.test(name))
  // Nobody calls a column by a sentence or a number.
  const isData = seen.some(name => /^[-+.\d]+$/.test(name) || name.split(/\s+/).length > 4)
  const isTagged = seen.some(name => /^(?:O|[BI]-\p{L}.*)$/u.test(name))
  const cure = isWordARow
    ? 'one word a row is written as .conll: a word and its tag a line, an empty line after each sentence'
    : isTagged
      ? 'a file without a header whose lines are a word and its tags is format conll'
      : `name it with columns.text${isData ? ', or give the file a header line if it has none' : ''}`
  fail('ERR_DATA', `columns: none of ${list(seen)} is known as text or tokens; ${cure}`)
}

/** Names of parts that are known where they stand together; the label may be missing where it is not asked for. */
export interface UsualNames {
  readonly names: readonly Columns[]
  readonly mayLackLabel: boolean
}

const NO_NAMES: UsualNames = { names: [], mayLackLabel: false }

/** The first set of names of which a data set has every one. */
function wholeSet(
  given: Readonly<Record<string, string>>,
  find: (names: readonly string[]) => string | undefined,
  { names, mayLackLabel }: UsualNames,
): Columns | undefined {
  for (const set of names) {
    const parts = Object.entries(set).map(([part, name]) => [part, given[part] ?? find([name])] as const)
    const missing = parts.filter(([part, name]) => name === undefined && !(mayLackLabel && part === 'label'))
    if (missing.length === 0) return { ...Object.fromEntries(parts.filter(([, name]) => name !== undefined)), ...given }
  }
  return undefined
}

/** Conversations; else prompts with completions, where there are both. */
function putConversation(
  found: Readonly<Record<string, string>>,
  find: (names: readonly string[]) => string | undefined,
  put: (part: keyof Columns, name: string | undefined) => void,
): void {
  if (!found.prompt) put('messages', find(aliases.messages))
  for (const [first, second] of found.messages ? [] : answers) {
    const [prompt, completion] = [found.prompt ?? find([first]), found.completion ?? find([second])]
    if (prompt === undefined || completion === undefined) continue
    put('prompt', prompt)
    put('completion', completion)
    put('context', find(first === 'instruction' ? ['input', 'context'] : ['context']))
    break
  }
  if (found.messages === undefined && found.prompt === undefined) return
  for (const part of ['tools', 'system'] as const) put(part, find([part]))
}

function putTexts(
  found: Readonly<Record<string, string>>,
  find: (names: readonly string[]) => string | undefined,
  put: (part: keyof Columns, name: string | undefined) => void,
): void {
  for (const [first, second] of pairs) {
    const [text, text2] = [found.text ?? find([first]), find([second])]
    if (text === undefined || text2 === undefined || text.toLowerCase() !== first) continue
    put('text', text)
    put('text2', text2)
    return
  }
  put('text', find(aliases.text))
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'no columns' : names.map(name => `"${name}"`).join(', ')
}
