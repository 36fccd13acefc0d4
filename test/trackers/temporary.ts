import { rmSync } from 'node:fs'
import { temporaryFolder } from '../support/temporary.ts'

/** Runs `body` with an empty folder and removes the folder after it. */
export async function inTemporaryFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = temporaryFolder()
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
