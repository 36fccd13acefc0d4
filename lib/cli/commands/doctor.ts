// `lowrank doctor`: what this installation is and can do.

import { cpus, totalmem } from 'node:os'
import { sep } from 'node:path'
import { addonPath, type Platform, platform } from '../../addon.ts'
import { type SelfTest, selfTest } from '../../check/selfTest.ts'
import { fail, LowrankError } from '../../errors.ts'
import { packageVersion } from '../../io/package.ts'
import { type NativeInfo, native, openNative } from '../../native.ts'
import { bundledEncoder } from '../../open/base.ts'
import { Device } from '../../tensor.ts'
import type { Settings } from '../options/options.ts'
import { type Console, paint } from '../terminal/console.ts'
import { bytesText } from '../terminal/format.ts'
import { kernelsCommand } from './kernels.ts'

/** Everything doctor knows. Where no addon fits, what only the addon knows is null, and `problem` says why. */
interface Diagnosis {
  readonly version: string
  readonly node: string
  readonly platform: string
  readonly libc: Platform['libc']
  readonly glibc: string | null
  readonly addon: { readonly path: string; readonly origin: 'prebuilt' | 'built here' } | null
  readonly problem: string | null
  readonly cpu: {
    readonly model: string
    readonly cores: number
    readonly isa: string | null
    readonly threads: number | null
  }
  readonly memory: number
  readonly cuda: NativeInfo['cuda'] | null
  readonly encoder: string | null
  readonly selfTest: readonly SelfTest[]
  readonly ok: boolean
}

/** Looks at the installation and runs the self-test. */
async function diagnose(threads?: number): Promise<Diagnosis> {
  const { name, libc, glibc } = platform()
  const problem = problemOfAddon()
  const path = problem === null ? addonPath() : null
  if (path !== null && threads !== undefined) native.setThreads(threads)
  const info = path === null ? null : native.info()
  const tests = path === null ? [] : await selfTest(Device.get('cpu'))
  return {
    version: packageVersion(),
    node: process.version,
    platform: name,
    libc,
    glibc,
    addon: path === null ? null : { path, origin: path.includes(`${sep}prebuilds${sep}`) ? 'prebuilt' : 'built here' },
    problem,
    cpu: {
      model: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      isa: info?.isa ?? null,
      threads: info?.threads ?? null,
    },
    memory: totalmem(),
    cuda: info?.cuda ?? null,
    encoder: bundledEncoder() ?? null,
    selfTest: tests,
    ok: problem === null && tests.every(({ ok }) => ok),
  }
}

function problemOfAddon(): string | null {
  try {
    openNative()
    return null
  } catch (error) {
    if (error instanceof LowrankError && error.code === 'ERR_ADDON') return error.message
    throw error
  }
}

/** Prints the diagnosis; exit code 1 where there is no addon or the self-test fails. */
export async function doctorCommand(settings: Settings, console: Console): Promise<number> {
  if (settings.kernels) return await kernelsCommand(settings, console)
  const found = await diagnose(settings.threads)
  console.event(found)
  for (const [name, value] of rows(found)) console.line(`${name.padEnd(12)}${value}`)
  if (found.problem !== null) return fail('ERR_ADDON', found.problem)
  console.line()
  for (const { op, ok, error } of found.selfTest) {
    const mark = paint(console.color, ok ? 'green' : 'red', ok ? 'ok' : 'FAILED')
    console.line(`${'self-test'.padEnd(12)}${op.padEnd(26)}${mark}${ok ? '' : ` (error ${error})`}`)
  }
  if (!found.ok) console.warn('the addon computes wrong numbers here; build it from source with npx lowrank build')
  return found.ok ? 0 : 1
}

function rows(found: Diagnosis): Row[] {
  const { cpu, addon, libc, glibc } = found
  const library = libc === null ? '' : `, ${libc}${glibc === null ? '' : ` ${glibc}`}`
  const threads = `${cpu.threads} ${cpu.threads === 1 ? 'thread' : 'threads'}`
  const kernels: Row[] = addon ? [['kernels', `${cpu.isa}, ${threads} (LOWRANK_ISA, LOWRANK_THREADS change that)`]] : []
  return [
    ['lowrank', found.version],
    ['node', `${found.node} on ${found.platform}${library}`],
    ['addon', addon ? `${addon.path} (${addon.origin})` : 'none fits this machine'],
    ['cpu', `${cpu.model}, ${cpu.cores} cores`],
    ...kernels,
    ['memory', bytesText(found.memory)],
    ...(found.cuda ? cudaRows(found.cuda) : []),
    ['encoder', found.encoder ?? 'the bundled encoder has no weights here (assets/encoder/model.safetensors)'],
  ]
}

type Row = [name: string, value: string]

function cudaRows(cuda: NativeInfo['cuda']): Row[] {
  const devices = (cuda.devices ?? []).map(({ name, capability, memory }, i): Row => {
    return ['', `cuda:${i} ${name}, capability ${capability}, ${bytesText(memory)}`]
  })
  const driver = cuda.driver === undefined ? '' : `, driver for CUDA ${versionOf(cuda.driver)}`
  const runtime = cuda.runtime === undefined ? '' : `, runtime ${versionOf(cuda.runtime)}`
  const state = cuda.count > 0 ? `${cuda.count} device${cuda.count === 1 ? '' : 's'}` : `not available: ${cuda.reason}`
  return [['cuda', `${cuda.built ? 'built in' : 'not built in'}${driver}${runtime}; ${state}`], ...devices]
}

/** CUDA's 12040 as 12.4. */
function versionOf(code: number): string {
  return `${Math.floor(code / 1000)}.${Math.floor((code % 1000) / 10)}`
}
