// `lowrank completion`: a script that completes commands, flags and choices in a shell.

import { completionScript } from '../options/completion.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'

/** Prints the script. @throws ERR_OPTION for a shell that there is none for */
export async function completionCommand({ shell }: Settings, console: Console): Promise<number> {
  const script = completionScript(String(shell))
  for (const line of script.trimEnd().split('\n')) console.line(line)
  console.event({ type: 'summary', shell, script })
  return 0
}
