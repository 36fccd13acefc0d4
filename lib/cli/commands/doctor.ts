// `lowrank doctor`: what this installation is and can do.

import { cpus, totalmem } from 'node:os'
import { sep } from 'node:path'
import { type SelfTest, selfTest } from '../../check/selfTest.ts'
import { native, nativePath } from '../../native.ts'
import { Device } from '../../tensor.ts'
import { bundledEncoder } from '../base.ts'
import type { Settings } from '../options/options.ts'
import { packageVersion } from '../program.ts'
import { type Console, paint } from '../terminal/console.ts'
import { bytesText } from '../terminal/format.ts'
import { kernelsCommand } from './kernels.ts'

/** Everything doctor knows. */
export interface Diagnosis {
  readonly version: string
  readonly node: string
  readonly platform: string
  readonly glibc: string | null
  readonly addon: { readonly path: string; readonly origin: 'prebuilt' | 'built here' }
  readonly cpu: { readonly model: string; readonly cores: number; readonly isa: string; readonly threads: number }
  readonly memory: number
  readonly cuda: ReturnType<typeof native.info>['cuda']
  readonly encoder: string | null
  readonly selfTest: readonly SelfTest[]
  readonly ok: boolean
}

/** Looks at the installation and runs the self-test. */
export async function diagnose(): Promise<Diagnosis> {
  const info = native.info()
  const path = nativePath()
  const tests = await selfTest(Device.get('cpu'))
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    glibc: glibcVersion(),
    addon: { path, origin: path.includes(`${sep}prebuilds${sep}`) ? 'prebuilt' : 'built here' },
    cpu: { model: cpus()[0]?.model ?? 'unknown', cores: cpus().length, isa: info.isa, threads: info.threads },
    memory: totalmem(),
    cuda: info.cuda,
    encoder: bundledEncoder() ?? null,
    selfTest: tests,
    ok: tests.every(({ ok }) => ok),
  }
}

/** Prints the diagnosis; exit code 1 where the self-test fails. */
export async function doctorCommand(settings: Settings, console: Console): Promise<number> {
  if (settings.threads !== undefined) native.setThreads(settings.threads)
  if (settings.kernels) return await kernelsCommand(settings, console)
  const found = await diagnose()
  console.event(found)
  for (const [name, value] of rows(found)) console.line(`${name.padEnd(12)}${value}`)
  console.line()
  for (const { op, ok, error } of found.selfTest) {
    const mark = paint(console.color, ok ? 'green' : 'red', ok ? 'ok' : 'FAILED')
    console.line(`${'self-test'.padEnd(12)}${op.padEnd(26)}${mark}${ok ? '' : ` (error ${error})`}`)
  }
  if (!found.ok) console.warn('the addon computes wrong numbers here; build it from source with npm run build')
  return found.ok ? 0 : 1
}

function rows(found: Diagnosis): [string, string][] {
  const { cpu, cuda, addon } = found
  const devices = (cuda.devices ?? []).map(
    ({ name, capability, memory }, i) =>
      ['', `cuda:${i} ${name}, capability ${capability}, ${bytesText(memory)}`] as [string, string],
  )
  const driver = cuda.driver === undefined ? '' : `, driver for CUDA ${versionOf(cuda.driver)}`
  const runtime = cuda.runtime === undefined ? '' : `, runtime ${versionOf(cuda.runtime)}`
  const state = cuda.count > 0 ? `${cuda.count} device${cuda.count === 1 ? '' : 's'}` : `not available: ${cuda.reason}`
  return [
    ['lowrank', found.version],
    ['node', `${found.node} on ${found.platform}${found.glibc ? `, glibc ${found.glibc}` : ''}`],
    ['addon', `${addon.path} (${addon.origin})`],
    ['cpu', `${cpu.model}, ${cpu.cores} cores`],
    [
      'kernels',
      `${cpu.isa}, ${cpu.threads} ${cpu.threads === 1 ? 'thread' : 'threads'} (LOWRANK_ISA, LOWRANK_THREADS change that)`,
    ],
    ['memory', bytesText(found.memory)],
    ['cuda', `${cuda.built ? 'built in' : 'not built in'}${driver}${runtime}; ${state}`],
    ...devices,
    ['encoder', found.encoder ?? 'the bundled encoder has no weights here (assets/encoder/model.safetensors)'],
  ]
}

/** CUDA's 12040 as 12.4. */
function versionOf(code: number): string {
  return `${Math.floor(code / 1000)}.${Math.floor((code % 1000) / 10)}`
}

function glibcVersion(): string | null {
  if (process.platform !== 'linux') return null
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  return report?.header?.glibcVersionRuntime ?? null
}
