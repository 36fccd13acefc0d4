import { readdirSync } from 'node:fs'
import { basename, dirname, isAbsolute } from 'node:path'
import { nearest } from '../errors.ts'

/** What to say of a path where nothing is: what lies there under nearly that name, or else where it was looked for. */
export function absent(path: string): string {
  if (path === '-') return 'data: the standard input is read once, data more often; write them to a file and name that'
  const [folder, name] = [dirname(path), basename(path)]
  const there = entries(folder)
  if (!there) return `data: ${path} does not exist, nor does its folder ${folder}; check the path`
  const cure = isAbsolute(path) ? 'check the path' : 'check the path, which starts from the present folder'
  return `data: ${path} does not exist${nearest(name, there)}; ${cure}`
}

function entries(folder: string): string[] | undefined {
  try {
    return readdirSync(folder)
  } catch {
    return undefined
  }
}
