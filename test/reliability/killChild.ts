// One run of `train` in a process of its own: node killChild.ts ROOT RECORD KILL ARGUMENTS…
// RECORD: where to write what the folder ROOT held before each change, and in the middle of each write; - is nowhere.
// KILL: the number of the change at which the process kills itself; 0 is none.

import { writeFileSync } from 'node:fs'
import { serialize } from 'node:v8'
import { type Operation, readTree, watchChanges } from './fileSystem.ts'
import { runTrain } from './world.ts'

const [root, record, killAt, ...args] = process.argv.slice(2) as [string, string, string, ...string[]]

/** What a kill may leave: `contents` holds each content once, `trees` say which file has which. */
const contents: Buffer[] = []
const known = new Map<string, number>()
const trees: { operation: string; files: [path: string, content: number][] }[] = []
let last = ''

function remember({ name, path }: Operation, tree: ReadonlyMap<string, Buffer | null>, cut = false): void {
  const files = [...tree].map(([file, content]): [string, number] => [file, content === null ? -1 : indexOf(content)])
  const key = JSON.stringify(files)
  if (key === last) return
  last = key
  trees.push({ operation: `${cut ? 'cut ' : ''}${name} ${path.slice(root.length + 1)}`, files })
}

function indexOf(content: Buffer): number {
  const key = content.toString('latin1')
  const index = known.get(key) ?? contents.push(content) - 1
  known.set(key, index)
  return index
}

let count = 0
watchChanges(root, operation => {
  if (++count === Number(killAt)) process.kill(process.pid, 'SIGKILL')
  if (record === '-') return
  const tree = readTree(root)
  remember(operation, tree)
  const { bytes, path } = operation
  const file = path.slice(root.length + 1)
  if (!bytes || bytes.length < 2) return
  const before = tree.get(file) ?? Buffer.alloc(0)
  tree.set(file, Buffer.concat([before, bytes.subarray(0, bytes.length >> 1)]))
  remember(operation, tree, true)
})

const code = await runTrain(args)
if (record !== '-') {
  remember({ name: 'end', path: `${root}/` }, readTree(root))
  writeFileSync(record, serialize({ contents, trees, pid: process.pid }))
}
process.exitCode = code
