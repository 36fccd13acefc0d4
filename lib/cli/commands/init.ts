// `lowrank init`: a config file for data, each option with what it means, to be read and changed.

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { stringify } from 'yaml'
import { check } from '../../errors.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import { findBase, tasksOf } from '../../open/base.ts'
import type { SplitData } from '../../tasks/prepare.ts'
import { must } from '../../tuple.ts'
import { readSplits } from '../data.ts'
import { COMMON } from '../options/examples.ts'
import type { Option } from '../options/option.ts'
import { OPTIONS, type Settings } from '../options/options.ts'
import type { ResolvedSettings } from '../options/settings.ts'
import type { Console } from '../terminal/console.ts'
import { commandLine, shownPath } from '../terminal/format.ts'

/** Reads the data and writes what was found in it. @throws ERR_OPTION where the file is there, without --overwrite */
export async function initCommand(settings: Settings, console: Console, { given }: ResolvedSettings): Promise<number> {
  const path = resolve(settings.out ?? 'lowrank.yaml')
  check(!existsSync(path) || settings.overwrite, 'ERR_OPTION', () => {
    return `out: ${shownPath(path)} is there already; name another file, or allow --overwrite`
  })
  const data = await readSplits(settings, tasksOf((await findBase(settings)).path))
  for (const notice of data.notices) console.note(notice)
  await writeFileAtomic(path, configText(settings, data, given))
  console.line(`wrote ${shownPath(path)}`)
  console.line(`next: ${commandLine(['train', '--config', shownPath(path)])}`)
  console.event({ type: 'summary', path })
  return 0
}

/** Options of init itself, not of the run. */
const OWN: ReadonlySet<string> = new Set<keyof Settings>(['out', 'overwrite', 'config', 'json', 'quiet', 'threads'])

/** What the file sets: what was given, and what was found in the data, so that it stays the same for other files. */
function configText(
  settings: Settings,
  { choice, columns, labels, splits }: SplitData,
  given: ReadonlySet<string>,
): string {
  const { train, validation, test } = splits
  const asked = Object.entries(settings).filter(([name]) => given.has(name) && !OWN.has(name))
  const found: Readonly<Record<string, unknown>> = {
    ...Object.fromEntries(asked),
    data: settings.data,
    task: choice.task,
    columns,
    ...(labels && (given.has('labels') || labels.names.length <= 50) ? { labels: labels.names } : {}),
    out: 'lowrank-run',
  }
  const names = [...new Set([...Object.keys(found), ...must(COMMON.train, 'train')])].filter(name => name !== 'config')
  const rows = names.map(name =>
    must(
      OPTIONS.find(option => option.name === name),
      'match',
    ),
  )
  return [
    `# ${shownPath(must(settings.data, 'data'))}: ${train.length} rows to train, ${validation.length} to validate, ${test.length} to test.`,
    '# Lines with a # are options at their defaults; lowrank train --help lists all, docs/cli.md explains them.',
    ...rows.map(option => entry(option, found[option.name])),
    '',
  ].join('\n')
}

function entry(option: Option, value: unknown): string {
  const { name, help, more } = option
  const comment = `\n# ${help}`
  if (value !== undefined) return `${comment}\n${stringify({ [name]: value }).trimEnd()}`
  const { default: standard } = option
  return standard === undefined
    ? `${comment} (${more.found})\n# ${name}:`
    : `${comment}\n# ${stringify({ [name]: standard }).trimEnd()}`
}
