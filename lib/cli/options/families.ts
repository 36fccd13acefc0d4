// The families of models as a table for the README: those with the same heads share a row.

import { HEADS } from '../../heads/index.ts'
import { familyOf, MODEL_TYPES } from '../../models/index.ts'

/** Markdown: `model_type`s and the tasks that they have heads for. */
export function familiesTable(): string {
  const rows = new Map<string, string[]>()
  for (const type of MODEL_TYPES) {
    const { heads } = familyOf(type)
    const tasks = HEADS.filter(({ sits }) => heads[sits]).map(({ task }) => task)
    const key = [...new Set(tasks)].join(', ')
    rows.set(key, [...(rows.get(key) ?? []), `\`${type}\``])
  }
  const lines = [...rows].map(([tasks, types]) => `| ${types.join(', ')} | ${tasks} |`)
  return ['| `model_type` | tasks |', '|---|---|', ...lines].join('\n')
}
