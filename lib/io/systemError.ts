// Errors of the file system as errors with a code of ours, and what helps.

import { LowrankError, systemCode } from '../errors.ts'

type Cure = readonly [code: 'ERR_OPTION' | 'ERR_CHECKPOINT', what: string]

const CURES: Readonly<Record<string, Cure>> = {
  ENOSPC: ['ERR_CHECKPOINT', 'the disk is full; free some space or name a folder on another disk'],
  EDQUOT: ['ERR_CHECKPOINT', 'the disk quota is used up; free some space or name a folder on another disk'],
  EFBIG: ['ERR_CHECKPOINT', 'the file is too large for this file system; name a folder on another disk'],
  EIO: ['ERR_CHECKPOINT', 'the disk reports an error; name a folder on another disk'],
  EMFILE: ['ERR_CHECKPOINT', 'too many files are open; close some, or raise the limit (ulimit -n)'],
  ENFILE: ['ERR_CHECKPOINT', 'too many files are open on this machine; close some'],
  EACCES: ['ERR_OPTION', 'permission is denied; change the rights of the folder or name another one'],
  EPERM: ['ERR_OPTION', 'permission is denied; change the rights of the folder or name another one'],
  EROFS: ['ERR_OPTION', 'the file system is read-only; name a folder on another one'],
  ENOTDIR: ['ERR_OPTION', 'a part of the path is a file, not a folder; name another path'],
  EEXIST: ['ERR_OPTION', 'a part of the path is a file, not a folder; name another path'],
  EISDIR: ['ERR_OPTION', 'there is a folder of this name; name another path'],
  ENOENT: ['ERR_OPTION', 'the folder is gone or cannot be made; name another path'],
  ENAMETOOLONG: ['ERR_OPTION', 'the name is too long; name a shorter path'],
}
const OTHER: Cure = ['ERR_CHECKPOINT', 'the system refuses it; name another folder']

/** The coded error for a failed change of `path`; an error that is not the file system's is passed on as it is. */
export function explained(path: string, error: unknown): unknown {
  const code = systemCode(error)
  if (error instanceof LowrankError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error
  const [kind, what] = CURES[code] ?? OTHER
  return new LowrankError(kind, `output: ${path} cannot be written (${code}): ${what}`, { cause: error })
}

/** What changes files below `path`, its errors {@link explained}. */
export async function coded<T>(path: string, change: () => T | Promise<T>): Promise<T> {
  try {
    return await change()
  } catch (error) {
    throw explained(path, error)
  }
}
