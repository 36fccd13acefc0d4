// Ctrl-C: the first ends work after the step in progress, the second at once.

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

/** The command line that goes on where this one stopped, and replaces nothing, whatever a file says. */
export function resumeCommand(args: readonly string[], overwrite: boolean): string {
  const plain = args.filter(arg => !/^--(no-)?overwrite$/.test(arg) && arg !== '--resume')
  const byFile = overwrite && !args.includes('--overwrite')
  const kept = byFile ? [...plain, '--no-overwrite'] : plain
  return commandLine([...kept, '--resume'])
}
