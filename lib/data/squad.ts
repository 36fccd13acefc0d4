// The nested form in which SQuAD and its kin (XQuAD, MLQA) are published: articles, paragraphs, questions.

import { isRecord } from '../options.ts'

type Values = Readonly<Record<string, unknown>>

/**
 * A row a question, `{ id, title, context, question, answers }`, of a file as the makers of SQuAD write it (versions
 * 1.1 and 2.0: questions without answer have an empty list); undefined for any other object.
 */
export function squadRows(value: Values): Values[] | undefined {
  const { data } = value
  if (!Array.isArray(data) || data.length === 0 || !data.every(isArticle)) return undefined
  return data.flatMap(({ title, paragraphs }) =>
    paragraphs.flatMap(({ context, qas }) =>
      qas.map(({ id, question, answers, is_impossible: impossible }) => {
        const told = typeof title === 'string' ? { title } : {}
        return { id, ...told, context, question, ...(impossible === true ? { answers: [] } : answersIn(answers)) }
      }),
    ),
  )
}

/** Test sets come without answers. */
const answersIn = (answers: unknown) => (answers === undefined ? {} : { answers })

interface Article {
  readonly title?: unknown
  readonly paragraphs: readonly { readonly context: unknown; readonly qas: readonly Values[] }[]
}

function isArticle(value: unknown): value is Article {
  if (!isRecord(value) || !Array.isArray(value.paragraphs)) return false
  return value.paragraphs.every(each => isRecord(each) && Array.isArray(each.qas) && each.qas.every(isRecord))
}
