// The tasks PEFT knows, and what it trains whole for each.

/** The tasks PEFT knows; a model without one (masked LM, a custom head) has none. */
export type TaskType = (typeof taskTypes)[number]
export const taskTypes = [
  'SEQ_CLS',
  'SEQ_2_SEQ_LM',
  'CAUSAL_LM',
  'TOKEN_CLS',
  'QUESTION_ANS',
  'FEATURE_EXTRACTION',
] as const

/** The names PEFT writes as `modules_to_save`: those asked for, then the heads a task always trains. */
export function modulesToSaveFor(taskType: TaskType | undefined, asked: readonly string[]): string[] {
  const heads: Partial<Record<TaskType, string[]>> = {
    SEQ_CLS: ['classifier', 'score'],
    TOKEN_CLS: ['classifier', 'score'],
    QUESTION_ANS: ['qa_outputs'],
  }
  return [...new Set([...asked, ...((taskType && heads[taskType]) ?? [])])]
}
