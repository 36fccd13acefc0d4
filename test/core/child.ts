// Runs scenarios of test/core/scenarios.ts in processes of their own, and worker.ts in threads, from sources (tsx) and
// from compiled files alike.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

const beside = (name: string): URL => new URL(`./${name}${extension}`, import.meta.url)

/** A thread that runs test/core/worker.ts. Node 20 loads no TypeScript in workers unless they ask tsx themselves. */
export function startWorker(workerData: unknown): Worker {
  const file = beside('worker')
  if (extension === '.js') return new Worker(file, { workerData })
  const code = `import('tsx/esm/api').then(tsx => { tsx.register(); return import(${JSON.stringify(file.href)}) })`
  return new Worker(code, { eval: true, workerData })
}

export interface Outcome {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
  seconds: number
}

/** Runs one scenario; `settings` are environment variables. Killed after a minute. */
export function child(scenario: string, settings: Record<string, string> = {}): Promise<Outcome> {
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const args = [...process.execArgv, fileURLToPath(beside('scenarios')), scenario]
    const process_ = spawn(process.execPath, args, { env: { ...process.env, ...settings } })
    const timer = setTimeout(() => process_.kill('SIGKILL'), 60_000)
    let [stdout, stderr] = ['', '']
    process_.stdout.on('data', chunk => {
      stdout += chunk
    })
    process_.stderr.on('data', chunk => {
      stderr += chunk
    })
    process_.on('error', reject)
    process_.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr, seconds: (performance.now() - start) / 1000 })
    })
  })
}
