// Which files of a model are wanted.

/** What a model of the hub is fetched for: a base, an adapter or whatever was trained, or its tokenizer alone. */
export type Purpose = 'model' | 'trained' | 'tokenizer'

const CONFIGS = ['config.json', 'generation_config.json', 'lowrank.json']
const TOKENIZER = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
]
const SENTENCE_PIECE = ['spiece.model', 'sentencepiece.bpe.model', 'tokenizer.model', 'spm.model']
const ADAPTER = 'adapter_config.json'
/** The index of sharded weights, and of the same as pickles. */
const INDICES = ['model.safetensors.index.json', 'pytorch_model.bin.index.json'] as const
const WEIGHTS = ['model.safetensors', INDICES[0], 'pytorch_model.bin', INDICES[1]]
const ADAPTER_WEIGHTS = ['adapter_model.safetensors', 'adapter_model.bin']

/** Reads the names of an index's shards. */
export type ReadIndex = (file: string) => Promise<readonly string[]>

/** Of the files of a repository those that serve the purpose; the first weights that there are count. */
export async function wantedFiles(
  all: Iterable<string>,
  purpose: Purpose,
  shardsOf: ReadIndex,
): Promise<readonly string[]> {
  const there = new Set(all)
  const has = (name: string): boolean => there.has(name)
  // What stands alone in sentencepiece's form cannot be read; fetched, it is refused for what it is.
  const pieces = has('tokenizer.json') ? [] : SENTENCE_PIECE.filter(has)
  const templates = [...there].filter(name => /^additional_chat_templates\/[^/]+\.jinja$/.test(name))
  const tokenizer = [...TOKENIZER.filter(has), ...pieces, ...templates]
  if (purpose === 'tokenizer') return ['config.json'].filter(has).concat(tokenizer)
  const isAdapter = purpose === 'trained' && has(ADAPTER)
  const weights = (isAdapter ? ADAPTER_WEIGHTS : WEIGHTS).find(has)
  const index = INDICES.find(name => name === weights)
  const shards = index === undefined ? [] : (await shardsOf(index)).filter(has)
  const configs = [...CONFIGS, ...(isAdapter ? [ADAPTER] : [])].filter(has)
  return [...configs, ...tokenizer, ...(weights === undefined ? [] : [weights]), ...new Set(shards)]
}

/** What of its kind a folder has to hold to be of use without asking the hub. */
export async function isUsable(there: ReadonlySet<string>, purpose: Purpose, shardsOf: ReadIndex): Promise<boolean> {
  const hasTokenizer = ['tokenizer.json', 'vocab.txt', 'vocab.json', ...SENTENCE_PIECE].some(name => there.has(name))
  if (purpose === 'tokenizer') return hasTokenizer
  if (purpose === 'trained' && there.has(ADAPTER)) return ADAPTER_WEIGHTS.some(name => there.has(name))
  const weights = WEIGHTS.find(name => there.has(name))
  if (weights === undefined || !there.has('config.json')) return false
  return !INDICES.some(index => index === weights) || (await shardsOf(weights)).every(name => there.has(name))
}
