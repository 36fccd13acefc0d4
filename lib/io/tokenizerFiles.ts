// The files of a tokenizer in a folder or a repository, as transformers names them.

/** What a tokenizer is made from; one of them is enough. */
export const VOCABULARIES = ['tokenizer.json', 'vocab.txt', 'vocab.json']
/** The same in sentencepiece's form, which cannot be read here. */
export const SENTENCE_PIECES = ['spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model', 'spm.model']
const BESIDE = [
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
]
const NAMES = new Set([...VOCABULARIES, ...SENTENCE_PIECES, ...BESIDE])

/** Folder of the templates that are not the default. */
export const TEMPLATES = 'additional_chat_templates'

/** Whether a path within a folder is a tokenizer's file. */
export function isTokenizerFile(path: string): boolean {
  const [folder, name, ...more] = path.split('/')
  return NAMES.has(path) || (folder === TEMPLATES && name?.endsWith('.jinja') === true && more.length === 0)
}
