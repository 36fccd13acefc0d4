// The options of all methods as rows of the table, from the fields of lib/peft: a new method brings its own.

import type { OptionRow } from '../../options.ts'
import { isOptionField, METHODS, type OptionField } from '../../peft/index.ts'
import { nth } from '../../tuple.ts'

/** Where the recommended value of a method is not its default. */
const RECOMMENDED: Readonly<Record<string, string>> = Object.assign({}, ...METHODS.map(kind => kind.recommendedAs))

/** One row a name: methods share options of one meaning, but not always their default, which stays the method's. */
export function methodRows(): [name: string, row: OptionRow][] {
  const owners = new Map<string, { type: string; field: OptionField }[]>()
  for (const { type, fields } of METHODS)
    for (const field of fields.filter(isOptionField))
      owners.set(field.name, [...(owners.get(field.name) ?? []), { type, field }])
  return [...owners].map(([name, own]) => {
    const { default: value, found: standard, ...row }: OptionRow = nth(own, 0).field
    const found = RECOMMENDED[name] ?? (isShared(own) ? standard : defaultsText(own))
    const given = RECOMMENDED[name] === undefined && isShared(own) && !isEmpty(value) ? { default: value } : {}
    return [
      name,
      { ...row, help: row.help + ownersText(own.map(({ type }) => type)), ...given, ...(found && { found }) },
    ]
  })
}

type Owned = readonly { type: string; field: OptionField }[]

const isEmpty = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length === 0

const isShared = (own: Owned) => new Set(own.map(({ field }) => JSON.stringify(field.default))).size === 1

/** `8, vera 256`: the first method's default, and those that differ. */
function defaultsText(own: Owned): string {
  const [first] = own.map(({ field }) => String(field.default))
  const others = own.flatMap(({ type, field }) => (String(field.default) === first ? [] : [`${type} ${field.default}`]))
  return [first, ...others].join(', ')
}

/** Whose options they are. */
function ownersText(types: readonly string[]): string {
  const others = METHODS.map(({ type }) => type).filter(type => !types.includes(type))
  if (others.length === 0) return ''
  return others.length < types.length ? ` [not ${others.join(', ')}]` : ` [${types.join(', ')}]`
}
