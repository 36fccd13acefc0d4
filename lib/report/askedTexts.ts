// What stands for a user's own texts where a command or a program shows how to ask what was trained.

import { taskOfModel } from '../tasks/index.ts'
import type { Reader } from '../tasks/task.ts'
import type { RunRecord } from './run.ts'

type Asked = Pick<RunRecord, 'model'> & { readonly reader: Pick<Reader, 'tokenizer' | 'columns'> }

/** As many texts as a row has, by the names of their parts, with something to fill in where the model does that. */
export function askedTexts({ model, reader: { tokenizer, columns } }: Asked): Readonly<Record<string, string>> {
  const { asked, transform } = taskOfModel(model)
  if (asked) return asked
  if (columns.text2 !== undefined) return { text: 'a text', text2: 'another text' }
  const { mask } = tokenizer.specials
  const filled = transform === undefined || mask === undefined ? undefined : tokenizer.token(mask)
  return { text: filled === undefined ? 'a text' : `a text with a ${filled}` }
}
