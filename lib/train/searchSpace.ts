// Where a search over options may look: what their rows say, by name.

import { check, fail } from '../errors.ts'
import { nearestOption, type OptionRow, type OptionTable, type Search } from '../options.ts'
import { isOptionField, kindOf } from '../peft/index.ts'
import { ownOptions, TASK_OPTIONS } from '../tasks/options.ts'
import { must } from '../tuple.ts'
import { TRAIN_OPTIONS } from './options.ts'

/** Values of an option to look through, or a range in which they lie, both ends with it. */
export type SearchRange = Search & {
  /** Only whole numbers of the range. */
  readonly isWhole?: boolean
}

/** Every option that a search may be over, of training, tasks and a method. */
function searchable(method: string): Map<string, OptionRow> {
  const tables: OptionTable = { ...TASK_OPTIONS, ...Object.fromEntries(ownOptions()), ...TRAIN_OPTIONS }
  const fields = kindOf(method)
    .fields.filter(isOptionField)
    .map((field): [string, OptionRow] => [field.name, field])
  return new Map([...Object.entries(tables), ...fields].filter(([, row]) => row.search))
}

/**
 * Where to look for values of some options, as their rows say: `searchSpace(['lr', 'r'])` is
 * `{ lr: { from: 1e-5, to: 1e-2, scale: 'log' }, r: { values: [4, 8, 16, 32, 64] } }`.
 * @param names default: every option that may be searched
 * @throws ERR_OPTION for one that is unknown, or no matter of search
 */
export function searchSpace(names?: readonly string[], method = 'lora'): Readonly<Record<string, SearchRange>> {
  const rows = searchable(method)
  const known = [...rows.keys()]
  check(!names || names.length > 0, 'ERR_OPTION', () => `search: no option is named; there are ${known.join(', ')}`)
  const space = (names ?? known).map((name): [string, SearchRange] => {
    const row =
      rows.get(name) ??
      fail('ERR_OPTION', `search: "${name}" is not searched${nearestOption(name, known)}; use ${known.join(', ')}`)
    const search = must(row.search, 'search')
    return [name, 'from' in search && row.kind === 'integer' ? { ...search, isWhole: true } : search]
  })
  return Object.fromEntries(space)
}
