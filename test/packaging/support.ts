// The package as a user gets it: packed as a release packs it, installed in an empty folder.

import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { packageRoot } from '../../lib/io/package.ts'

/** What npm tells of a tarball. */
export interface Packed {
  filename: string
  size: number
  files: { path: string; size: number }[]
}

/** Targets whose addons are packed: LOWRANK_PREBUILD_TARGETS names fewer than those of a release. */
export const IS_RELEASE = process.env.LOWRANK_PREBUILD_TARGETS === undefined
export const TARGETS: readonly string[] = process.env.LOWRANK_PREBUILD_TARGETS?.split(' ') ?? [
  'linux-x64-glibc',
  'linux-arm64-glibc',
  'linux-x64-musl',
]

/** The file of a target in the package. */
export function prebuiltFile(target: string): string {
  const [platform, arch, libc] = target.split('-')
  return `prebuilds/${platform}-${arch}/lowrank.${libc}.node`
}

/** Folders of the repository that no tarball is made of. */
const ASIDE = /^(test|bench|\.ci)\//

/** Why nothing can be packed here; undefined where it can. */
export function unpackable(): string | undefined {
  if (!existsSync(join(packageRoot, '.git'))) return 'not a git checkout'
  const { status } = spawnSync(process.execPath, ['scripts/prebuild.mjs', '--check'], { cwd: packageRoot })
  return status === 0 ? undefined : 'prebuilt addons are missing or old; npm run prebuilds -- --install'
}

/** Runs `npm pack` of folders; tarballs go to `to`. What others published is packed as it is, without their scripts. */
export function pack(cwd: string, folders: readonly string[], to: string, options: readonly string[] = []): Packed[] {
  const { LOWRANK_SKIP_BUILD, LOWRANK_PREBUILD, ...env } = process.env
  const stdout = execFileSync('npm', ['pack', '--json', ...options, '--pack-destination', to, ...folders], {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as Packed[]
}

/** Packs a copy of the checkout with the prebuilt addons made before: packing changes package.json for a moment. */
export function packRepository(to: string): Packed {
  const copy = join(to, 'repository')
  const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
  const files = execFileSync('git', list, { cwd: packageRoot, encoding: 'utf8' }).split('\0')
  for (const file of files.filter(name => name && !ASIDE.test(name) && existsSync(join(packageRoot, name)))) {
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    copyFileSync(join(packageRoot, file), join(copy, file))
  }
  cpSync(join(packageRoot, 'prebuilds'), join(copy, 'prebuilds'), { recursive: true })
  symlinkSync(join(packageRoot, 'node_modules'), join(copy, 'node_modules'))
  return pack(copy, ['.'], to)[0]!
}

/** Paths of all that a user's install needs, from the lock file. */
function runtimePackages(): string[] {
  const lock = JSON.parse(readFileSync(join(packageRoot, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>
  }
  return Object.entries(lock.packages)
    .filter(([path, { dev, optional, devOptional }]) => path && !dev && !optional && !devOptional)
    .map(([path]) => path)
}

/** Node, npm and a shell, and no compiler. */
function poorPath(folder: string): string {
  mkdirSync(folder)
  const which = (name: string) => execFileSync('which', [name], { encoding: 'utf8' }).trim()
  for (const name of ['npm', 'npx', 'sh']) symlinkSync(which(name), join(folder, name))
  symlinkSync(process.execPath, join(folder, 'node'))
  return folder
}

/** An empty folder with the tarball installed: no compiler, no scripts, no registry. */
export interface Home {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
  /** Runs a program there and returns its standard output; throws where it fails. */
  run(program: string, ...args: string[]): string
}

/** Installs a tarball below `folder`. */
export function install(folder: string, tarball: string): Home {
  const dependencies: Record<string, string> = { lowrank: `file:${join(folder, tarball)}` }
  const paths = runtimePackages()
  for (const [i, { filename }] of pack(
    packageRoot,
    paths.map(path => `./${path}`),
    folder,
    ['--ignore-scripts'],
  ).entries())
    dependencies[paths[i]!.replace(/^.*node_modules\//, '')] = `file:${join(folder, filename)}`
  const path = join(folder, 'home')
  mkdirSync(path)
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name: 'home', private: true, dependencies }))
  const bin = poorPath(join(folder, 'bin'))
  const env = { PATH: bin, HOME: path, npm_config_cache: join(folder, 'cache'), LOWRANK_THREADS: '1' }
  const run = (program: string, ...args: string[]) =>
    execFileSync(join(bin, program), args, { cwd: path, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  run('npm', 'install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund')
  return { path, env, run }
}
