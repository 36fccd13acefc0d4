import type { TemplateSources } from './chatTemplate.ts'
import type { Fields } from './json.ts'

/** What a folder, or a GGUF file, says of a tokenizer. */
export interface TokenizerFiles {
  readonly tokenizer: Fields
  /** tokenizer_config.json; empty without one. */
  readonly config: Fields
  /** special_tokens_map.json; empty without one. */
  readonly map: Fields
  /** Chat templates by name. */
  readonly templates: TemplateSources
}
