// What stands for a user's own texts where a command or a program shows how to ask what was trained.

import { taskOfModel } from '../tasks/index.ts'
import type { Reader } from '../tasks/task.ts'
import type { RunRecord } from './run.ts'

type Asked = Pick<RunRecord, 'model'> & { readonly reader: Pick<Reader, 'tokenizer' | 'columns'> }

/** Whether a text is asked about, and not classified. */
export const isQuestion = ({ model }: Pick<Asked, 'model'>): boolean => model.className.endsWith('QuestionAnswering')

/** As many texts as a row has, with something to fill in where that is what the model does. */
export function askedTexts({ model, reader: { tokenizer, columns } }: Asked): readonly string[] {
  if (isQuestion({ model })) return ['a question', 'a text']
  if (columns.text2 !== undefined) return ['a text', 'another text']
  const { mask } = tokenizer.specials
  const filled = taskOfModel(model).transform === undefined || mask === undefined ? undefined : tokenizer.token(mask)
  return [filled === undefined ? 'a text' : `a text with a ${filled}`]
}
