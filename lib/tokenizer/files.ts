import type { TemplateSources } from './chatTemplate.ts'
import type { Json } from './json.ts'

/** What a folder, or a GGUF file, says of a tokenizer. */
export interface TokenizerFiles {
  readonly tokenizer: Json
  /** tokenizer_config.json; empty without one. */
  readonly config: Json
  /** special_tokens_map.json; empty without one. */
  readonly map: Json
  /** Chat templates by name. */
  readonly templates: TemplateSources
}
