// Texts whose entities are known: of the corpus, tagged, with other names in the place of some; and short informal
// ones, made of templates. Both are written in other letters now and then, so that names are told by more than their
// capitals.
import { fail } from '../../lib/errors.ts'
import { type Names, readNames } from './names.ts'
import { random } from './random.ts'
import { readTagged, type Tagged } from './tagger.ts'
import { TEMPLATES } from './templates.ts'

const TYPES = ['person', 'location', 'org', 'group', 'product', 'work', 'event', 'norp'] as const

/** What a word can be: outside of every entity, or the first or a later word of one. */
export const CLASSES = ['O', ...TYPES.flatMap(type => [`B-${type}`, `I-${type}`])]

/** Most words of a text. */
const LONGEST = 48
/** Share of the tagged documents without any entity that are read. */
const EMPTY = 0.15
/** Share of the texts that are made of templates. */
const TEMPLATE_SHARE = 0.4
/** Share of the names of tagged documents that become others. */
const SUBSTITUTED = 0.5
/** Types whose names can be others without a change of the sentence. */
const EXCHANGEABLE = new Set(['person', 'location', 'org', 'product'])

/** Draws texts; `at` begins a stream of its own for every step, so that a resumed run reads the same. */
export class EntityTexts {
  readonly #names: Names
  readonly #tagged: readonly Tagged[]
  #next: () => number

  constructor(seed: number) {
    this.#next = random(seed)
    this.#names = readNames()
    const cut = readTagged().map(({ words, tags }) => ({
      words: words.slice(0, LONGEST),
      tags: tags.slice(0, LONGEST),
    }))
    this.#tagged = cut.filter(({ tags }) => tags.some(tag => tag !== 'O') || this.#next() < EMPTY)
  }

  at(seed: number): void {
    this.#next = random(seed)
  }

  /** The next text. */
  sample(): Tagged {
    return this.#rewritten(
      this.#next() < TEMPLATE_SHARE ? this.#ofTemplates() : this.#substituted(this.#pick(this.#tagged)),
    )
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)]!
  }

  /** One or two sentences of templates. */
  #ofTemplates(): Tagged {
    const out = new Words()
    const count = this.#next() < 0.35 ? 2 : 1
    for (let i = 0; i < count; i++) this.#fill(this.#pick(TEMPLATES), out)
    return out
  }

  #fill(template: string, out: Words): void {
    let line = template
    for (;;) {
      const choice = /\{([^{}]*\|[^{}]*)\}/.exec(line)
      if (!choice) break
      const chosen = this.#pick(choice[1]!.split('|'))
      line = line.replace(choice[0], () => chosen.replace(/^(?:handle|url|hashtag)$/, '{$&}'))
    }
    for (const part of line.split(' ')) {
      if (part === '') continue
      const slot = /^\{(\w+)\}$/.exec(part)?.[1]
      if (slot === undefined) out.add([part])
      else if (slot === 'handle') out.add([`@${this.#handle()}`])
      else if (slot === 'hashtag') out.add([`#${this.#pick(this.#names.first).toLowerCase()}`])
      else if (slot === 'url')
        out.add([`http://${this.#pick(['bit.ly', 'tinyurl.com', 't.co'])}/${this.#characters(6)}`])
      else out.add(this.#name(slot), slot)
    }
  }

  #characters(count: number): string {
    const from = [...'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMN23456789']
    return Array.from({ length: count }, () => this.#pick(from)).join('')
  }

  #handle(): string {
    const first = this.#pick(this.#names.first)
    return this.#pick([
      first,
      `${first}${Math.floor(this.#next() * 99)}`,
      `${first}_${this.#pick(this.#names.last)}`,
      `x${first}x`.toLowerCase(),
      `Real${first}`,
    ])
  }

  /** A new name of a type, as words. */
  #name(type: string): string[] {
    const { places, companies, brands } = this.#names
    const p = this.#next()
    if (type === 'person') return this.#person(p)
    if (type === 'location') return wordsOf(this.#pick(places))
    if (type === 'org') return wordsOf(this.#pick(p < 0.5 ? companies : brands))
    if (type === 'group') return this.#group(p)
    if (type === 'product') return this.#product(p)
    if (type === 'work') return this.#work(p)
    return fail('ERR_OPTION', `entities: no names of "${type}"`)
  }

  #person(p: number): string[] {
    const { first, last, persons } = this.#names
    if (p < 0.45) return [this.#pick(first)]
    if (p < 0.75) return [this.#pick(first), this.#pick(last)]
    return p < 0.8 ? [this.#pick(last)] : wordsOf(this.#pick(persons))
  }

  /** A noun with a capital. */
  #noun(): string {
    return titled(this.#pick(this.#names.nouns))
  }

  #group(p: number): string[] {
    const { groups, places } = this.#names
    if (p < 0.15) return wordsOf(this.#pick(groups))
    if (p < 0.4) return ['The', `${this.#noun()}s`].slice(this.#next() < 0.4 ? 1 : 0)
    if (p < 0.7) {
      const place = wordsOf(this.#pick(places))
      return [...place, this.#next() < 0.6 ? `${this.#noun()}s` : this.#pick(['FC', 'United', 'City'])]
    }
    return this.#next() < 0.5 ? [this.#noun(), this.#noun()] : [this.#noun()]
  }

  #product(p: number): string[] {
    const { companies, brands } = this.#names
    const brand = wordsOf(this.#pick(p < 0.5 ? companies : brands))
    if (p < 0.3 || p > 0.8) return [...brand, this.#modelName()]
    if (p < 0.4) return [`${this.#pick(['i', 'e', 'Ultra', 'Smart', 'X'])}${this.#noun()}`]
    return p < 0.6 ? [this.#noun(), this.#modelName()] : [this.#noun()]
  }

  #modelName(): string {
    return this.#pick([
      `${this.#characters(1).toUpperCase()}${Math.floor(this.#next() * 90)}`,
      `${Math.floor(this.#next() * 12)}`,
      this.#noun(),
      'Pro',
      'Mini',
      'Plus',
      'XL',
    ])
  }

  #work(p: number): string[] {
    if (p < 0.1) return wordsOf(this.#pick(this.#names.works))
    if (p < 0.3) return ['The', this.#noun()]
    if (p < 0.45) {
      const start = [this.#noun(), this.#pick(['of', 'and', 'in', 'for'])]
      return [...start, ...(this.#next() < 0.5 ? ['the'] : []), this.#noun()]
    }
    if (p < 0.65) return [this.#noun(), this.#noun()]
    if (p < 0.75) return [this.#noun(), this.#noun(), this.#noun()]
    return p < 0.85 ? ['The', this.#noun(), this.#pick(['of', 'and']), this.#noun()] : [this.#noun()]
  }

  /** With other names of the same types in the place of some. */
  #substituted({ words, tags }: Tagged): Tagged {
    const out = new Words()
    for (let at = 0; at < words.length; ) {
      const [part, type = ''] = tags[at]!.split('-')
      let end = at + 1
      if (part === 'B') while (end < words.length && tags[end]!.startsWith('I-')) end++
      const own = words.slice(at, end)
      const isPlain = part === 'B' && EXCHANGEABLE.has(type) && !/^(?:the|a)$/i.test(own[0]!)
      if (isPlain && this.#next() < SUBSTITUTED) out.add(this.#name(type), type)
      else out.copy(own, tags.slice(at, end))
      at = end
    }
    return out
  }

  /** In other letters, sometimes: all small, all capitals, a capital for every word, for some, or none for names. */
  #rewritten({ words, tags }: Tagged): Tagged {
    const p = this.#next()
    const each = (change: (word: string, i: number) => string) => ({ words: words.map(change), tags })
    const free = (change: (word: string) => string) => each(word => (/^[@#]|^http/.test(word) ? word : change(word)))
    if (p < 0.2) return free(word => word.toLowerCase())
    if (p < 0.26) return free(word => word.toUpperCase())
    if (p < 0.33) return free(titled)
    if (p < 0.5) return each((word, i) => (tags[i] === 'O' && this.#next() < 0.1 ? titled(word) : word))
    if (p < 0.6) return each((word, i) => (tags[i] !== 'O' && this.#next() < 0.5 ? word.toLowerCase() : word))
    return p < 0.7 ? each((word, i) => (i === 0 ? titled(word) : word)) : { words, tags }
  }
}

/** Words and their tags, as they are put together. */
class Words {
  readonly words: string[] = []
  readonly tags: string[] = []

  /** Adds an entity of a type, or words outside of any. */
  add(words: readonly string[], type?: string): void {
    this.copy(
      words,
      words.map((_, i) => (type === undefined ? 'O' : `${i === 0 ? 'B' : 'I'}-${type}`)),
    )
  }

  copy(words: readonly string[], tags: readonly string[]): void {
    this.words.push(...words)
    this.tags.push(...tags)
  }
}

function wordsOf(name: string): string[] {
  return name.split(' ').filter(word => word !== '')
}

function titled(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}
