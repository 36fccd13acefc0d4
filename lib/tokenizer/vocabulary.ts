// The entries of a model and their ids.

import { brief, check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { asObject } from './json.ts'

// No tokenizer is known to go past 300,000.
const mostIds = 1 << 22

/** Entries by id and ids by entry: those of the model, and added tokens, which the model does not see. */
export class Vocabulary {
  /** Ids of the model's entries. */
  readonly ids = new Map<string, number>()
  readonly #added = new Map<string, number>()
  readonly #tokens: (string | undefined)[] = []

  /** Gives an entry of the model its id. @throws ERR_CONFIG for an id that is none. */
  set(token: string, id: unknown, where: string): void {
    this.ids.set(token, this.#name(token, id, where))
  }

  /** Gives an added token its id. @throws ERR_CONFIG for an id that is none. */
  add(token: string, id: unknown): void {
    this.#added.set(token, this.#name(token, id, 'added_tokens'))
  }

  /** Id of an added token or an entry of the model. */
  id(token: string): number | undefined {
    return this.#added.get(token) ?? this.ids.get(token)
  }

  #name(token: string, id: unknown, where: string): number {
    checkId(token, id, where)
    this.#tokens[id] = token
    return id
  }

  /** The entry of an id. */
  token(id: number): string | undefined {
    return this.#tokens[id]
  }

  /** Largest id + 1. */
  get size(): number {
    return this.#tokens.length
  }
}

/** @throws ERR_CONFIG for an id that is none */
export function checkId(token: string, id: unknown, where: string): asserts id is number {
  const sound = typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < mostIds
  check(sound, 'ERR_CONFIG', () => {
    return `tokenizer: ${where} gives "${brief(token)}" the id ${shown(id)}; ids are integers from 0 to ${mostIds - 1}`
  })
}

/** The vocabulary of a model that maps entries to ids. @throws ERR_CONFIG */
export function readVocabulary(value: unknown, where: string): Vocabulary {
  const entries = asObject(value)
  check(entries, 'ERR_CONFIG', () => `tokenizer: ${where} has no vocabulary of entries and ids`)
  const vocabulary = new Vocabulary()
  for (const [token, id] of Object.entries(entries)) vocabulary.set(token, id, where)
  return vocabulary
}
