// CUDA 12.0 is promised: what later toolkits brought stands behind a condition on their version.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'

/** Functions of the runtime by the version, as CUDART_VERSION spells it, that has them first. */
const LATER: Record<string, number> = {
  cudaFuncGetName: 12030,
  cudaFuncGetParamInfo: 12040,
  cudaGetDriverEntryPointByVersion: 12050,
  cudaLibraryLoadData: 12080,
  cudaMemcpyBatchAsync: 12080,
}

test('functions of toolkits after 12.0 are used where their version is asked for', () => {
  const problems: string[] = []
  let guarded = 0
  const files = readdirSync(join(packageRoot, 'cuda'), { recursive: true }).map(String)
  for (const file of files.filter(name => /\.(cu|cuh|h)$/.test(name))) {
    const conditions: number[] = []
    for (const [i, line] of readFileSync(join(packageRoot, 'cuda', file), 'utf8')
      .split('\n')
      .entries()) {
      if (/^\s*#\s*if/.test(line)) conditions.push(Number(line.match(/CUDART_VERSION >= (\d+)/)?.[1] ?? 0))
      else if (/^\s*#\s*else/.test(line)) conditions[conditions.length - 1] = 0
      else if (/^\s*#\s*endif/.test(line)) conditions.pop()
      for (const [name, version] of Object.entries(LATER)) {
        if (!new RegExp(`\\b${name}\\b`).test(line)) continue
        if (Math.max(0, ...conditions) >= version) guarded++
        else problems.push(`cuda/${file}:${i + 1} uses ${name} without asking for ${version}`)
      }
    }
  }
  assert.equal(problems, [])
  assert.ok(guarded >= 2, `${guarded} uses behind a condition`)
})

test.run()
