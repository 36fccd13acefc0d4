// `lowrank report`: finished runs laid over each other.

import { check } from '../../errors.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import { metricOf } from '../../metrics/table.ts'
import { type FinishedRun, readFinished } from '../../report/finished.ts'
import { MOST_RUNS, renderOverlay, sharedMetrics, unlike } from '../../report/overlay.ts'
import { nth } from '../../tuple.ts'
import type { Settings } from '../options/options.ts'
import { checkPage } from '../outputFile.ts'
import type { Console } from '../terminal/console.ts'
import { metricText, shownPath } from '../terminal/format.ts'
import { table } from '../terminal/table.ts'

/** Reads the runs, tells their scores and writes the page. @throws ERR_OPTION for runs of other tasks */
export async function reportCommand(settings: Settings, console: Console): Promise<number> {
  const folders = settings.runs ?? []
  check(folders.length >= 2 && folders.length <= MOST_RUNS, 'ERR_OPTION', () => {
    const own = folders.length === 1 ? `; the page of one run is ${folders[0]}/report.html` : ''
    const what = `lays 2 to ${MOST_RUNS} runs over each other, ${folders.length} given`
    return `report: ${what}${own}; name folders of finished runs`
  })
  const runs: FinishedRun[] = []
  for (const folder of folders) runs.push(await readFinished(folder))
  const first = nth(runs, 0)
  for (const { task, name } of runs)
    check(task === first.task, 'ERR_OPTION', () => {
      return `report: ${first.name} is ${first.task}, ${name} is ${task}; name runs of one task`
    })
  const out = settings.out ?? 'lowrank-report.html'
  checkPage('out', out)
  await writeFileAtomic(out, renderOverlay(runs, new Date().toISOString()))
  const warning = unlike(runs)
  if (warning !== undefined) console.note(warning)
  const metrics = sharedMetrics(runs)
  const rows = metrics.map(name => [
    metricOf(name).title,
    ...runs.map(run => metricText(run.after[name] ?? Number.NaN)),
  ])
  console.line(table([{ header: '' }, ...runs.map(run => ({ header: run.name, align: 'right' as const }))], rows))
  console.line(`report    ${shownPath(out)}`)
  const scores = runs.map(run => ({ run: run.name, after: run.after }))
  console.event({ type: 'summary', report: out, comparable: warning === undefined, scores })
  return 0
}
