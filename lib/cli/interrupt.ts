// Ctrl-C: the first ends work after the step in progress, the second at once.

import type { Console } from './terminal/console.ts'
import { commandLine } from './terminal/format.ts'

/** An abort signal that SIGINT and SIGTERM raise. */
export function onInterrupt(warn: (text: string) => void): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController()
  const listener = (): void => {
    if (controller.signal.aborted) process.exit(130)
    warn('stopping after this step; once more stops at once')
    controller.abort(new Error('interrupted'))
  }
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, listener)
  const release = (): void => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, listener)
  }
  return { signal: controller.signal, release }
}

/** Says how a study that was interrupted goes on, and gives its exit code. @throws any other error */
export function stoppedStudy(
  error: unknown,
  signal: AbortSignal,
  { kept, out, overwrite }: { kept: string; out: string; overwrite: boolean },
  console: Console,
): number {
  if (!signal.aborted || error !== signal.reason) throw error
  const command = resumeCommand(process.argv.slice(2), overwrite)
  console.note(`stopped; ${kept} that are done are kept, continue with: ${command}`)
  console.event({ type: 'summary', reason: 'aborted', out })
  return 130
}

/** The command line that goes on where this one stopped, and replaces nothing, whatever a file says. */
export function resumeCommand(args: readonly string[], overwrite: boolean): string {
  const plain = args.filter(arg => !/^--(no-)?overwrite$/.test(arg) && arg !== '--resume')
  const byFile = overwrite && !args.includes('--overwrite')
  const kept = byFile ? [...plain, '--no-overwrite'] : plain
  return commandLine([...kept, '--resume'])
}
