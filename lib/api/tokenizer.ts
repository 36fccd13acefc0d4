/**
 * `lowrank/tokenizer`: tokenizers of Hugging Face folders, run here; nothing here needs the addon.
 *
 * @module
 */

export type { ChatTemplate, Message, RenderOptions } from '../tokenizer/chatTemplate.ts'
export type { Side } from '../tokenizer/config.ts'
export type { Spans } from '../tokenizer/pipeline.ts'
export type { SpecialIds } from '../tokenizer/specials.ts'
export type { TokenizerOptions } from '../tokenizer/tokenizer.ts'
export {
  type Encoded,
  type EncodedWords,
  type EncodeOptions,
  loadTokenizer,
  type Tokenizer,
} from '../tokenizer/tokenizer.ts'
