import { closeSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { fail } from '../errors.ts'
import { ensureFolder } from '../io/folder.ts'

/** A file that only grows; every write is with the operating system when it returns. */
export type AppendFile = { write(bytes: Uint8Array): void; close(): void }

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Opens (and creates, with its folder) a file to append to. Throws ERR_DATA when it cannot be written. */
export function appendFile(path: string): AppendFile {
  let descriptor: number
  try {
    ensureFolder(dirname(path))
    descriptor = openSync(path, 'a+')
  } catch (error) {
    fail('ERR_DATA', `tracker: ${path} cannot be opened (${reason(error)}); choose a folder that is writable`, error)
  }
  return {
    write(bytes) {
      try {
        for (let offset = 0; offset < bytes.length; ) offset += writeSync(descriptor, bytes, offset)
      } catch (error) {
        fail(
          'ERR_DATA',
          `tracker: ${path} cannot be written (${reason(error)}); free space or remove the tracker`,
          error,
        )
      }
    },
    close() {
      closeSync(descriptor)
    },
  }
}
