// timeout: 600
// What a user gets: the tarball, installed in an empty folder with no compiler, no scripts and no registry, works.

import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'

const BUILT = join(packageRoot, 'build/Release/lowrank.node')
const MAIN = 'dist/lib/cli/main.js'
// The name that prebuildify --napi --tag-libc gives.
const PREBUILT = `prebuilds/${process.platform}-${process.arch}/lowrank.${libc()}.node`

function libc(): string {
  return existsSync('/etc/alpine-release') ? 'musl' : 'glibc'
}

/** Node, npm and a shell, and no compiler. */
function poorPath(folder: string): string {
  mkdirSync(folder)
  for (const name of ['npm', 'npx', 'sh']) symlinkSync(which(name), join(folder, name))
  symlinkSync(process.execPath, join(folder, 'node'))
  return folder
}

const which = (name: string) => execFileSync('which', [name], { encoding: 'utf8' }).trim()

interface Packed {
  filename: string
  size: number
  files: { path: string; size: number }[]
}

/** Packs folders into `to`; scripts of the package itself run, and are told to build nothing. */
function pack(folders: string[], to: string): Packed[] {
  const args = ['pack', '--json', '--pack-destination', to, ...folders]
  const env = { ...process.env, LOWRANK_SKIP_BUILD: '1' }
  const stdout = execFileSync('npm', args, {
    cwd: packageRoot,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as Packed[]
}

/** Names of everything a user's install needs, from the lock file. */
function runtimePackages(): string[] {
  const lock = JSON.parse(readFileSync(join(packageRoot, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>
  }
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional, devOptional }]) => path && !dev && !optional && !devOptional)
    .map(([path]) => path)
}

/** Packs the repository with the present build as its prebuilt file. */
function packRepository(to: string): Packed {
  const prebuilt = join(packageRoot, PREBUILT)
  const borrowed = !existsSync(prebuilt)
  if (borrowed) {
    mkdirSync(dirname(prebuilt), { recursive: true })
    copyFileSync(BUILT, prebuilt)
  }
  try {
    return pack(['.'], to)[0]!
  } finally {
    if (borrowed) rmSync(join(packageRoot, 'prebuilds'), { recursive: true })
  }
}

function missing(): string | undefined {
  if (!existsSync(BUILT)) return 'the addon is not built'
  if (!existsSync(join(packageRoot, MAIN))) return `${MAIN} is not compiled`
  return undefined
}

const folder = mkdtempSync(join(tmpdir(), 'lowrank-pack-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

let packed: Packed | undefined

test('the tarball holds what users need and nothing of tests', () => {
  const reason = missing()
  if (reason) return console.log(`skip: ${reason}`)
  packed = packRepository(folder)
  const paths = packed.files.map(file => file.path)
  for (const needed of [
    'package.json',
    'LICENSE',
    'README.md',
    MAIN,
    'dist/lib/index.js',
    'dist/lib/index.d.ts',
    PREBUILT,
  ])
    assert.ok(paths.includes(needed), `the tarball lacks ${needed}`)
  const odd = paths.filter(path => /(^|\/)(test|golden|bench|node_modules)\/|\.test\.|\.map$|\.tsbuildinfo$/.test(path))
  assert.equal(odd, [])
  console.log(`tarball: ${(packed.size / 1e6).toFixed(2)} MB, ${packed.files.length} files`)
})

test('it installs without compiler, scripts or registry, and doctor names the prebuilt file', () => {
  const reason = missing()
  if (reason) return console.log(`skip: ${reason}`)
  assert.ok(packed, 'there is no tarball')
  const dependencies: Record<string, string> = { lowrank: `file:${join(folder, packed.filename)}` }
  for (const [i, each] of pack(
    runtimePackages().map(path => `./${path}`),
    folder,
  ).entries())
    dependencies[runtimePackages()[i]!.replace(/^.*node_modules\//, '')] = `file:${join(folder, each.filename)}`
  const home = join(folder, 'home')
  mkdirSync(home)
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name: 'home', private: true, dependencies }))
  const env = { PATH: poorPath(join(folder, 'bin')), HOME: home, npm_config_cache: join(folder, 'cache') }
  const run = (program: string, ...args: string[]) =>
    execFileSync(join(env.PATH, program), args, { cwd: home, env, encoding: 'utf8' })

  run('npm', 'install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund')
  const answer = run('npx', '--offline', 'lowrank', 'doctor', '--json')
  assert.type(JSON.parse(answer.trim().split('\n').at(-1)!), 'object')
  assert.ok(answer.includes(PREBUILT), `doctor does not name ${PREBUILT}: ${answer}`)
  assert.equal(placesNamed(join(home, 'node_modules/lowrank')), [])
})

/** Installed files that name the folder they were built in. */
function placesNamed(installed: string): string[] {
  return readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .filter(file => readFileSync(file).includes(packageRoot))
    .map(file => relative(installed, file))
}

test.run()
