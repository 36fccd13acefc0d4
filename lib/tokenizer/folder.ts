// The files of a tokenizer folder, in the one shape of tokenizer.json.

import type { Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { check, fail, messageOf } from '../errors.ts'
import { isGguf } from '../io/gguf/file.ts'
import { shown } from '../io/json.ts'
import { SENTENCE_PIECES } from '../io/tokenizerFiles.ts'
import { readTemplates } from './chatTemplate.ts'
import { bertParts, readsVocabulary, robertaFrame } from './config.ts'
import type { TokenizerFiles } from './files.ts'
import { ggufTokenizer } from './gguf.ts'
import { asObject, type Fields, readTextAt } from './json.ts'

/**
 * Reads a folder, a tokenizer.json or a GGUF file.
 * @throws ERR_CONFIG, ERR_UNSUPPORTED where sentencepiece's model stands alone
 */
export async function readTokenizerFiles(dirOrFile: string): Promise<TokenizerFiles> {
  if (isGguf(dirOrFile)) return ggufTokenizer(dirOrFile)
  const isFolder = (await statOf(dirOrFile))?.isDirectory() ?? false
  const file = isFolder ? join(dirOrFile, 'tokenizer.json') : dirOrFile
  const folder = isFolder ? dirOrFile : dirname(dirOrFile)
  const config = (await readJson(join(folder, 'tokenizer_config.json'))) ?? {}
  const map = (await readJson(join(folder, 'special_tokens_map.json'))) ?? {}
  const tokenizer = (await readJson(file)) ?? (isFolder ? await fromVocabulary(folder, config, map) : undefined)
  if (tokenizer) return { tokenizer, config, map, templates: await readTemplates(folder, config) }
  const stats = await Promise.all(isFolder ? SENTENCE_PIECES.map(name => statOf(join(folder, name))) : [])
  const native = SENTENCE_PIECES[stats.findIndex(found => found !== undefined)]
  check(!native, 'ERR_UNSUPPORTED', () => {
    return `tokenizer: ${folder} holds ${native} without tokenizer.json, and sentencepiece files are not read; ${cure}`
  })
  fail('ERR_CONFIG', `tokenizer: ${file} does not exist, nor vocab.txt, nor vocab.json with merges.txt; ${cure}`)
}

const cure =
  "save it in its fast format: AutoTokenizer.from_pretrained(folder).save_pretrained(folder), in Python's transformers"

/** BERT's vocab.txt, or GPT-2's vocab.json and merges.txt, as the tokenizer.json that transformers makes of them. */
async function fromVocabulary(folder: string, config: Fields, map: Fields): Promise<Fields | undefined> {
  const lines = (await readTextAt(join(folder, 'vocab.txt')))?.replace(/\r?\n$/, '').split(/\r?\n/)
  if (lines) checkClass(folder, config, 'vocab.txt', 'WordPiece')
  if (lines) return wordPiece(Object.fromEntries(lines.map((token, id) => [token, id])), config)
  const vocab = await readJson(join(folder, 'vocab.json'))
  const merges = await readTextAt(join(folder, 'merges.txt'))
  if (!vocab || merges === undefined) return undefined
  checkClass(folder, config, 'vocab.json and merges.txt', 'BPE')
  const pairs = merges.split(/\r?\n/).filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')))
  const named = config.tokenizer_class
  const model = named === undefined ? (await readJson(join(folder, 'config.json')))?.model_type : undefined
  const isGpt2 = /^(GPT2|CodeGen)/.test(String(named)) || ['gpt2', 'opt'].includes(String(model))
  return byteLevel(vocab, pairs, isGpt2 ? flaggedFrame(vocab, config) : robertaFrame(vocab, config, map))
}

/** Without tokenizer.json the class alone says how texts are split: those of BERT and of GPT-2 are known. */
function checkClass(folder: string, config: Fields, files: string, model: 'WordPiece' | 'BPE'): void {
  const name = config.tokenizer_class
  check(name === undefined || name === null || readsVocabulary(String(name), model), 'ERR_UNSUPPORTED', () => {
    return `tokenizer: ${folder} holds ${files} alone, and how its class ${shown(name)} reads them is not known; ${cure}`
  })
}

function wordPiece(vocab: Record<string, number>, config: Fields): Fields {
  const name = (kind: string, usual: string) => nameOf(config, kind, usual)
  const [cls, sep, unk] = [name('cls', '[CLS]'), name('sep', '[SEP]'), name('unk', '[UNK]')]
  for (const token of [cls, sep, unk])
    check(Object.hasOwn(vocab, token), 'ERR_CONFIG', () => {
      return `tokenizer: vocab.txt has no line ${shown(token)}; is it a BERT vocabulary?`
    })
  const specials = [unk, sep, name('pad', '[PAD]'), cls, name('mask', '[MASK]')].filter(token =>
    Object.hasOwn(vocab, token),
  )
  return {
    added_tokens: specials.map(content => ({ id: vocab[content], content, special: true, normalized: false })),
    ...bertParts(config),
    post_processor: { type: 'BertProcessing', cls: [cls, vocab[cls]], sep: [sep, vocab[sep]] },
    decoder: { type: 'WordPiece', prefix: '##' },
    model: { type: 'WordPiece', unk_token: unk, continuing_subword_prefix: '##', max_input_chars_per_word: 100, vocab },
  }
}

function byteLevel(vocab: Fields, merges: readonly string[], frame: Fields | undefined): Fields {
  const framed = frame?.type === 'RobertaProcessing'
  const names = framed ? ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] : ['<|endoftext|>']
  const specials = names.filter(token => Object.hasOwn(vocab, token))
  const trimming = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true }
  return {
    added_tokens: specials.map(content => ({ id: vocab[content], content, special: true, normalized: false })),
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    post_processor: frame ?? trimming,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges },
  }
}

/** What add_bos_token and add_eos_token ask for: GPT-2's class adds nothing of itself, OPT's configs ask for bos. */
function flaggedFrame(vocab: Fields, config: Fields): Fields {
  const end = '<|endoftext|>'
  const special = (kind: string, type: number) => {
    return config[`add_${kind}_token`] === true
      ? [{ SpecialToken: { id: nameOf(config, kind, end), type_id: type } }]
      : []
  }
  const frame = (text: string, type: number) => {
    return [...special('bos', type), { Sequence: { id: text, type_id: type } }, ...special('eos', type)]
  }
  const tokens = [nameOf(config, 'bos', end), nameOf(config, 'eos', end)].filter(token => Object.hasOwn(vocab, token))
  const ids = tokens.map(token => [token, { id: token, ids: [vocab[token]], tokens: [token] }])
  const templates = { single: frame('A', 0), pair: [...frame('A', 0), ...frame('B', 1)] }
  return { type: 'TemplateProcessing', ...templates, special_tokens: Object.fromEntries(ids) }
}

/** The special token that a config names, else the usual one. */
function nameOf(config: Fields, kind: string, usual: string): string {
  const value = config[`${kind}_token`]
  return typeof value === 'string' ? value : String(asObject(value)?.content ?? usual)
}

/** What is at a path; undefined: nothing that can be reached. */
async function statOf(path: string): Promise<Stats | undefined> {
  return await stat(path).catch(() => undefined)
}

async function readJson(file: string): Promise<Fields | undefined> {
  const text = await readTextAt(file)
  if (text === undefined) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    fail('ERR_CONFIG', `tokenizer: ${file} is not JSON: ${messageOf(error)}`, error)
  }
  const object = asObject(value)
  check(object, 'ERR_CONFIG', () => `tokenizer: ${file} holds no JSON object`)
  return object
}
