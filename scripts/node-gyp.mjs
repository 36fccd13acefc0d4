#!/usr/bin/env node
// What prebuildify calls in place of node-gyp: `node-gyp rebuild --arch=x64 --release …` becomes a cmake-js rebuild.
// LOWRANK_CUDA decides about the CUDA backend, as in every build.

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)
const args = process.argv.slice(2)
const arch = args.find(arg => arg.startsWith('--arch='))?.slice('--arch='.length) ?? process.arch
const cmakeJs = join(dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js')
const config = args.includes('--debug') ? 'Debug' : 'Release'
const rebuild = [cmakeJs, 'rebuild', '-B', config, '--arch', arch, '--CDLOWRANK_TESTS=OFF']
const env = { ...process.env, npm_config_target: '' }
const { status } = spawnSync(process.execPath, rebuild, { stdio: 'inherit', env })
process.exit(status ?? 1)
