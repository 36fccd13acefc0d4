// Writes people-{train,dev,test}.conll: sentences about people, places and companies from templates and name lists.
// Names of one split stand in no other, so that what is learned is where names stand, not which they are.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/io/package.ts'

const templates = [
  'PER flew from LOC to LOC on Monday .',
  'Mr. PER works for ORG in LOC .',
  'ORG opened an office in LOC last year .',
  'The mayor of LOC met PER at the station .',
  'PER , the head of ORG , lives near LOC .',
  'Last week ORG hired PER .',
  'It rained in LOC for three days .',
  'PER told reporters that ORG would leave LOC .',
  'Trains between LOC and LOC are late again .',
  'Shares of ORG fell after PER resigned .',
  'The report was long and nobody read it .',
  'Mrs. PER said she was born in LOC .',
]
const names = {
  PER: 'Anna Berg|Tom Reyes|Lucia Moretti|Omar Haddad|Jane Cole|Peter Novak|Mia Tanaka|Carl Lund|Rosa Diaz|Ivan Petrov|Eva Klein|Sam Okafor|Nina Patel|Hugo Blanc|Lena Fischer|Paul Adams|Sara Lindgren|Marco Rossi',
  LOC: 'London|Paris|Berlin|Madrid|Rome|Vienna|Oslo|Cairo|Boston|Chicago|Lisbon|Athens|Dublin|Prague|Warsaw|Sydney|Toronto|Mexico City',
  ORG: 'North Bank|Delta Foods|Harbor Steel|Green Energy|Lake Motors|Union Press|Star Airlines|Royal Mills|Summit Media|Pine Paper|Metro Rail|Silver Mines|Ocean Freight|Crown Glass|Eagle Oil|River Textiles|Granite Works|Sun Telecom',
}
const splits = { train: [0, 12, 10], dev: [12, 15, 4], test: [15, 18, 4] } as const

function sentence(template: string, pick: (kind: keyof typeof names) => string): string {
  const lines = template.split(' ').flatMap(word => {
    if (!(word in names)) return [`${word} O`]
    return pick(word as keyof typeof names)
      .split(' ')
      .map((part, i) => `${part} ${i === 0 ? 'B' : 'I'}-${word}`)
  })
  return lines.join('\n')
}

for (const [split, [from, to, rounds]] of Object.entries(splits)) {
  let turn = 0
  const sentences = Array.from({ length: rounds }, () =>
    templates.map(template =>
      sentence(template, kind => {
        const list = names[kind].split('|').slice(from, to)
        return list[(turn++ * 5) % list.length]!
      }),
    ),
  ).flat()
  writeFileSync(join(packageRoot, `examples/data/people-${split}.conll`), `${sentences.join('\n\n')}\n`)
}
