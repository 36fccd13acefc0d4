// Names of persons, places, companies and the like, from packages and from WordNet.
import { readFileSync } from 'node:fs'
import { CORPUS } from './corpus.ts'
import { NAMES, openPackage, textOf } from './sources.ts'
import { type Synset, synsets } from './wordnet.ts'

/** Lists that names are made of; the same on every machine, in the same order. */
export interface Names {
  readonly first: readonly string[]
  readonly last: readonly string[]
  readonly persons: readonly string[]
  readonly places: readonly string[]
  readonly groups: readonly string[]
  /** Titles of works. */
  readonly works: readonly string[]
  readonly companies: readonly string[]
  readonly brands: readonly string[]
  /** Nouns of one word in small letters, of which made-up names consist. */
  readonly nouns: readonly string[]
}

/** Numbers of WordNet's lexicographer files. */
const FILES = { communication: 10, group: 14, location: 15, object: 17, person: 18 }
/** How often a noun stands in the corpus, at least, to become part of a name. */
const COMMON = 15
/** Where brands are known that are taken: English-speaking countries and the world. */
const REGIONS = new Set(['001', 'us', 'gb', 'ca', 'au'])

export function readNames(): Names {
  const nouns = synsets('noun')
  const persons = instances(nouns, FILES.person)
  return {
    first: unique([...firstNames('female'), ...firstNames('male')]),
    last: unique(persons.filter(name => name.includes(' ')).map(name => name.split(' ').at(-1)!)),
    persons,
    places: [...instances(nouns, FILES.location), ...instances(nouns, FILES.object)],
    groups: instances(nouns, FILES.group),
    works: instances(nouns, FILES.communication),
    companies: companies(),
    brands: brands(),
    nouns: commonNouns(nouns),
  }
}

function unique(names: Iterable<string>): string[] {
  return [...new Set(names)].sort()
}

function firstNames(list: 'female' | 'male'): string[] {
  return JSON.parse(textOf(openPackage(NAMES[list]), 'data/names.json')) as string[]
}

/** Names of single things of a lexicographer file, in WordNet's order. */
function instances(nouns: readonly Synset[], file: number): string[] {
  const own = nouns.filter(synset => synset.isInstance && synset.file === file)
  return own.flatMap(({ lemmas }) => lemmas).filter(lemma => /^\p{Lu}/u.test(lemma))
}

function companies(): string[] {
  const lines = textOf(openPackage(NAMES.companies), 'dict/companies.txt').split('\n')
  return lines.map(line => line.trim()).filter(line => line.length > 2 && !/^[#/]/.test(line))
}

interface Brand {
  readonly displayName: string
  readonly locationSet?: { readonly include?: readonly unknown[] }
}

function brands(): string[] {
  const text = textOf(openPackage(NAMES.brands), 'dist/json/nsi.min.json')
  const index = (JSON.parse(text) as { nsi: Record<string, { items: readonly Brand[] }> }).nsi
  const items = Object.entries(index).flatMap(([kind, { items }]) => (kind.startsWith('brands/') ? items : []))
  const known = items.filter(({ locationSet }) => locationSet?.include?.some(place => REGIONS.has(place as string)))
  return unique(known.map(brand => brand.displayName).filter(name => /^[\x20-\x7e]{1,23}$/.test(name)))
}

function commonNouns(nouns: readonly Synset[]): string[] {
  const counts = new Map<string, number>()
  for (const [word] of readFileSync(CORPUS, 'utf8').matchAll(/[a-z]+/g)) counts.set(word, (counts.get(word) ?? 0) + 1)
  const heads = nouns.map(({ lemmas }) => lemmas[0]!).filter(lemma => /^[a-z]{4,8}$/.test(lemma))
  return unique(heads.filter(lemma => (counts.get(lemma) ?? 0) >= COMMON))
}
