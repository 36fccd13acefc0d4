// `lowrank sweep worker`: takes trials of a search that another process began, on this machine or another.

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { check, fail } from '../../errors.ts'
import { Journal } from '../../study/journal.ts'
import { STUDY_NAME, work } from '../../study/sweep.ts'
import { dataHash } from '../../train/fingerprint.ts'
import { onInterrupt } from '../interrupt.ts'
import type { Settings } from '../options/options.ts'
import { prepareBase } from '../setup.ts'
import { benchOf, orderIn, SweepProgress, specOf } from '../sweepRun.ts'
import type { Console } from '../terminal/console.ts'

/** Runs trials until there are none left. @throws ERR_DATA where the data here are not the study's */
export async function sweepWorkerCommand(own: Settings, console: Console): Promise<number> {
  const path = resolve(own.study ?? fail('ERR_OPTION', 'study: none given'))
  check(existsSync(path), 'ERR_CONFIG', () => `study: there is no file ${path}; name the study.log of a sweep`)
  const journal = new Journal(path)
  journal.sync()
  const { sweep, settings: theirs, data } = orderIn(journal.study(STUDY_NAME), path)
  const settings = { ...theirs, threads: own.threads, json: own.json, quiet: own.quiet }
  const prepared = await prepareBase(settings, console, settings.device)
  const interrupt = onInterrupt(console.warn)
  const progress = new SweepProgress(console, sweep)
  let trials = 0
  try {
    check(dataHash(prepared.examples) === data, 'ERR_DATA', () => {
      return `sweep worker: the data of ${settings.data ?? settings.train} here are not those of the study; copy them anew`
    })
    await work(benchOf(prepared, settings), journal, sweep, {
      signal: interrupt.signal,
      specOf: params => specOf(settings, params),
      waits: false,
      together: own.together,
      tell: event => {
        if (event.type === 'trial') trials++
        progress.take(event)
      },
    })
    console.line(`${trials} trials of ${path}`)
    console.event({ type: 'summary', study: path, trials })
    return 0
  } catch (error) {
    if (error !== interrupt.signal.reason) throw error
    console.note('stopped; the trial in progress is left to other workers')
    console.event({ type: 'summary', reason: 'aborted', study: path, trials })
    return 130
  } finally {
    progress.finish()
    interrupt.release()
    prepared.model.dispose()
  }
}
