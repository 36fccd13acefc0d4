// A bar for evaluations, on terminals only: elsewhere the result that follows says enough.

import { createProgress, type Progress } from './progress.ts'

/** A callback that draws how far an evaluation is, and clears the line when it is done. */
export function evaluationBar(quiet: boolean): (split: string, done: number, total: number) => void {
  let bar: Progress | undefined
  return (split, done, total) => {
    if (!process.stderr.isTTY || quiet) return
    bar ??= createProgress({ label: `Evaluating ${split}`, total })
    bar.update({ step: done })
    if (done < total) return
    bar.finish()
    bar = undefined
  }
}
