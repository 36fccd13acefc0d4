// What a build from source needs of this machine, and what an earlier build elsewhere left behind.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)
const { devDependencies } = require('../package.json')
const CMAKE = [3, 22]

/** The program of cmake-js. */
export function cmakeJs() {
  return join(dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js')
}

const answers = (program, ...args) => spawnSync(program, args, { encoding: 'utf8' }).status === 0

function hasPackage(name) {
  try {
    return Boolean(require.resolve(`${name}/package.json`))
  } catch {
    return false
  }
}

function cmakeIsNew() {
  const version = spawnSync('cmake', ['--version'], { encoding: 'utf8' }).stdout?.match(/(\d+)\.(\d+)/)
  const [major, minor] = (version ?? []).slice(1).map(Number)
  return major > CMAKE[0] || (major === CMAKE[0] && minor >= CMAKE[1])
}

const system = (debian, alpine, mac) =>
  `Debian or Ubuntu: apt-get install ${debian}; Fedora or RHEL: dnf install ${debian.replace('g++', 'gcc-c++')}; ` +
  `Alpine: apk add ${alpine}; macOS: ${mac}`

/** Everything that is missing, each with how to get it. */
export function lacking() {
  const lacks = []
  const need = (ok, what, cure) => {
    if (!ok) lacks.push({ what, cure })
  }
  need(cmakeIsNew(), `CMake ${CMAKE.join('.')} or newer`, system('cmake', 'cmake', 'brew install cmake'))
  const compilers = process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['c++', 'g++', 'clang++']
  need(
    compilers.some(name => answers(name, '--version')),
    `C++17 compiler (${compilers.join(', ')})`,
    system('g++', 'g++', 'xcode-select --install'),
  )
  const makers = process.platform === 'win32' ? [] : ['ninja', 'ninja-build', 'make']
  need(
    makers.some(name => answers(name, '--version')),
    'make or ninja',
    system('make', 'make', 'xcode-select --install'),
  )
  // The headers of Node come with cmake-js, as node-api-headers.
  const absent = ['cmake-js', 'node-addon-api', 'node-api-headers'].filter(name => !hasPackage(name))
  const wanted = ['cmake-js', 'node-addon-api'].map(name => `"${name}@${devDependencies[name]}"`)
  need(!absent.length, `package ${absent.join(', ')}`, `npm install --save-dev ${wanted.join(' ')}`)
  return lacks
}

/**
 * Deletes what CMake remembers in `build` where it was made for another folder or by programs that are gone: CMake
 * would refuse to go on, or go on with the wrong files. Says why.
 */
export function dropForeignCache(root, build) {
  const file = join(build, 'CMakeCache.txt')
  if (!existsSync(file)) return
  const cache = readFileSync(file, 'utf8')
  const entry = name => cache.match(new RegExp(`^${name}:\\w+=(.*)$`, 'm'))?.[1]
  const source = entry('CMAKE_HOME_DIRECTORY')
  const programs = [entry('CMAKE_CXX_COMPILER'), entry('CMAKE_MAKE_PROGRAM')]
  const gone = programs.find(program => program?.startsWith('/') && !existsSync(program))
  let reason
  if (!source || !isSame(source, root)) reason = `for ${source}`
  else if (!isSame(entry('CMAKE_CACHEFILE_DIR') ?? '', build)) reason = `in ${entry('CMAKE_CACHEFILE_DIR')}`
  else if (gone) reason = `with ${gone}, which is gone`
  if (reason === undefined) return
  console.error(`build: ${file} was made ${reason}; deleting ${build}`)
  rmSync(build, { recursive: true })
}

function isSame(a, b) {
  return existsSync(a) && realpathSync(a) === realpathSync(b)
}
