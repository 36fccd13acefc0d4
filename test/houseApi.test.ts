// The public API as its declarations say it: a small root, a comment on every export, and no type without a name.

import { existsSync, readFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import ts from 'typescript'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../lib/errors.ts'
import { packageRoot } from '../lib/io/package.ts'
import { isRecord } from '../lib/options.ts'
import * as peft from '../lib/peft/index.ts'
import { chatTemplate } from '../lib/tokenizer/chatTemplate.ts'
import { loadTokenizer } from '../lib/tokenizer/tokenizer.ts'

const MOST_ROOT_VALUES = 45

const { exports: exported } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  exports: Record<string, { types?: string; default?: string; require?: { types: string; default: string } }>
}
/** Entry points by the file of their declarations. */
const entries = new Map(
  Object.entries(exported).flatMap(([name, { types }]) => (types ? [[join(packageRoot, types), name] as const] : [])),
)
const missing = [...entries.keys()].filter(file => !existsSync(file))
const program = ts.createProgram([...entries.keys()], {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  types: ['node'],
  skipLibCheck: true,
})
const checker = program.getTypeChecker()

const resolved = (symbol: ts.Symbol): ts.Symbol =>
  symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol

/** The exports of an entry point, each with what it stands for. */
function exportsOf(file: string): { name: string; symbol: ts.Symbol }[] {
  const module = checker.getSymbolAtLocation(program.getSourceFile(file)!)!
  return checker.getExportsOfModule(module).map(symbol => ({ name: symbol.name, symbol: resolved(symbol) }))
}

const all = [...entries].flatMap(([file, entry]) => exportsOf(file).map(each => ({ ...each, entry })))
const isOurs = (node: ts.Node) =>
  !node.getSourceFile().fileName.includes('node_modules') &&
  !relative(packageRoot, node.getSourceFile().fileName).startsWith('..')
const placeOf = (symbol: ts.Symbol) => relative(packageRoot, symbol.declarations?.[0]?.getSourceFile().fileName ?? '')

function noProblems(problems: readonly string[]): void {
  const error = new Error(`\n    ${[...new Set(problems)].sort().join('\n    ')}`)
  error.stack = ''
  if (problems.length > 0) throw error
}

test('the entry points are built', () => {
  assert.equal(missing, [], 'run node scripts/build-ts.mjs')
  assert.ok(entries.size > 10)
  // What "module": "node16" reads in a package that is CommonJS; test/packaging compiles one.
  for (const [name, { types, default: file, require: required }] of Object.entries(exported)) {
    if (types === undefined || file === undefined) continue
    assert.is(required?.default, file, name)
    const text = readFileSync(join(packageRoot, required!.types), 'utf8')
    assert.match(text, `\nexport * from './${basename(file)}'\n`)
  }
})

test('the root has few names, and no other entry point has all of them', () => {
  const values = exportsOf(join(packageRoot, exported['.']!.types!)).filter(({ symbol }) => {
    return symbol.flags & ts.SymbolFlags.Value
  })
  console.log(`values of the root: ${values.length}`)
  assert.ok(values.length <= MOST_ROOT_VALUES, values.map(({ name }) => name).join(', '))
})

test('one name is one thing', () => {
  const known = new Map<string, ts.Symbol>()
  noProblems(
    all.flatMap(({ name, symbol, entry }) => {
      const other = known.get(name) ?? symbol
      known.set(name, other)
      return other === symbol ? [] : [`${name} of ${entry} is ${placeOf(symbol)}, elsewhere ${placeOf(other)}`]
    }),
  )
})

test('every export says what it is', () => {
  noProblems(
    all.flatMap(({ name, symbol, entry }) => {
      const text = ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim()
      return text === '' ? [`${name} of ${entry} (${placeOf(symbol)}) has no comment`] : []
    }),
  )
})

/** Names of types that a declaration shows: in parameters, results, members and what it extends. */
function typesIn(declaration: ts.Node): ts.Symbol[] {
  const found: ts.Symbol[] = []
  const visit = (node: ts.Node): void => {
    const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : []
    if (modifiers.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword)) return
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : ts.isImportTypeNode(node)
          ? node.qualifier
          : undefined
    const symbol = name && checker.getSymbolAtLocation(name)
    if (symbol) found.push(resolved(symbol))
    ts.forEachChild(node, visit)
  }
  visit(declaration)
  return found
}

test('every type that an export shows is exported', () => {
  const names = new Set(all.map(({ symbol }) => symbol))
  noProblems(
    all.flatMap(({ name, symbol, entry }) => {
      const shown = (symbol.declarations ?? []).flatMap(typesIn).filter(({ flags, declarations }) => {
        return !(flags & ts.SymbolFlags.TypeParameter) && declarations?.some(isOurs)
      })
      return shown.flatMap(type => {
        return names.has(type) ? [] : [`${name} of ${entry} shows ${type.name} (${placeOf(type)})`]
      })
    }),
  )
})

// Options of methods are interfaces for the sake of comments in editors; they are held to what fields say.

interface MethodOptions {
  readonly name: string
  readonly method: peft.Method
  readonly options: ts.Type
}

/** Every function of `lowrank/peft` that makes a method of options alone. */
function methodOptions(): MethodOptions[] {
  return exportsOf(join(packageRoot, exported['./peft']!.types!)).flatMap(({ name, symbol }) => {
    const declaration = symbol.valueDeclaration
    if (!declaration || !ts.isFunctionDeclaration(declaration)) return []
    const [signature] = checker.getTypeOfSymbol(symbol).getCallSignatures()
    const [parameter, ...others] = signature!.getParameters()
    if (checker.typeToString(signature!.getReturnType()) !== 'Method' || !parameter || others.length > 0) return []
    const make = (peft as Record<string, unknown>)[name] as () => peft.Method
    return [{ name, method: make(), options: checker.getNonNullableType(checker.getTypeOfSymbol(parameter)) }]
  })
}

/** What a field's values may be, as TypeScript spells it; undefined for what is told only by its own types. */
function spelled({ kind, choices }: peft.Field): string[] | undefined {
  if (choices) return choices.map(choice => (typeof choice === 'string' ? `"${choice}"` : String(choice)))
  return kind === 'integer' || kind === 'number' ? ['number'] : kind === 'boolean' ? ['false', 'true'] : undefined
}

function optionProblems({ name, method, options }: MethodOptions): string[] {
  const fields = new Map<string, peft.Field>(method.kind.fields.map(field => [field.name, field]))
  const members = options.getProperties()
  const absent = [...fields.keys()].filter(field => !members.some(member => member.name === field))
  return [
    ...absent.map(field => `${name}: its options have no ${field}, which its fields have`),
    ...members.flatMap(member => {
      const field = fields.get(member.name)
      if (!field) return [`${name}: its options have ${member.name}, which its fields have not`]
      const comment = ts.displayPartsToString(member.getDocumentationComment(checker))
      const told = /\bDefault '?([\w.-]*\w)'?/.exec(comment)?.[1]
      const type = checker.getNonNullableType(checker.getTypeOfSymbol(member))
      const parts = type.isUnion() ? type.types : [type]
      const found = parts.map(part => checker.typeToString(part))
      const expected = spelled(field)
      const isSame = !expected || (found.length === expected.length && expected.every(each => found.includes(each)))
      const isTold = told === undefined || told === String(field.default) || field.found?.startsWith(told)
      const said = `its field ${field.default === undefined ? field.found : String(field.default)}`
      return [
        ...(isTold ? [] : [`${name}: the comment of ${member.name} says ${told}, ${said}`]),
        ...(isSame ? [] : [`${name}: ${member.name} is ${found.join(' | ')}, its field ${expected.join(' | ')}`]),
      ]
    }),
  ]
}

test('what the options of a method are is what their fields say: names, values, defaults', () => {
  const all = methodOptions()
  assert.is(new Set(all.map(({ method }) => method.type)).size, peft.METHODS.length)
  noProblems(all.flatMap(optionProblems))
})

/** How many parameters stand before a last one that is options; undefined where none is. */
function beforeOptions(signature: ts.Signature | undefined): number | undefined {
  const parameters = signature?.getParameters() ?? []
  const declaration = parameters.at(-1)?.valueDeclaration
  if (!declaration || !ts.isParameter(declaration) || !declaration.type) return undefined
  const isNamed = /Options\b/.test(declaration.type.getText()) || declaration.name.getText() === 'options'
  const mayBeEmpty =
    ts.isTypeLiteralNode(declaration.type) &&
    declaration.type.members.every(member => ts.isPropertySignature(member) && member.questionToken)
  return isNamed || mayBeEmpty ? parameters.length - 1 : undefined
}

/** Functions and classes of an entry point whose last parameter is options, and how many parameters stand before it. */
function withOptions(file: string): { name: string; before: number }[] {
  return exportsOf(file).flatMap(({ name, symbol }) => {
    const type = symbol.flags & ts.SymbolFlags.Value ? checker.getTypeOfSymbol(symbol) : undefined
    const [signature] = [...(type?.getCallSignatures() ?? []), ...(type?.getConstructSignatures() ?? [])]
    const before = beforeOptions(signature)
    return before === undefined ? [] : [{ name, before }]
  })
}

/** Methods of what an entry point exports, `static` those of the class itself, whose last parameter is options. */
function methodsWithOptions(file: string): { owner: string; name: string; isStatic: boolean; before: number }[] {
  return exportsOf(file).flatMap(({ name: owner, symbol }) => {
    if (!(symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface))) return []
    const own = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).map(each => [each, false] as const)
    const isClass = symbol.flags & ts.SymbolFlags.Class
    const ofClass = isClass ? checker.getPropertiesOfType(checker.getTypeOfSymbol(symbol)) : []
    const all = [...own, ...ofClass.map(each => [each, true] as const)]
    return all.flatMap(([member, isStatic]) => {
      if (!member.declarations?.every(isOurs)) return []
      const [signature] = checker.getTypeOfSymbol(member).getCallSignatures()
      const before = beforeOptions(signature)
      return before === undefined ? [] : [{ owner, name: member.name, isStatic, before }]
    })
  })
}

/** Whether this is the source, and not compiled. */
const isSource = import.meta.url.endsWith('.ts')

/** What a call says; options are looked at before anything else, so that the other arguments may be missing. */
async function answerTo(made: unknown, before: number, options: unknown): Promise<string> {
  const args = [...Array.from({ length: before }, () => undefined), options]
  try {
    assert.ok(typeof made === 'function')
    const isClass = /^class\b/.test(Function.prototype.toString.call(made))
    const answer: unknown = isClass ? Reflect.construct(made, args) : made(...args)
    await (isRecord(answer) && typeof answer.next === 'function' ? answer.next() : answer)
    return 'nothing'
  } catch (error) {
    return error instanceof LowrankError ? `${error.code} ${error.message}` : String(error)
  }
}

test('an option that is none is told by every function that takes options, before anything else', async () => {
  const problems: string[] = []
  const found = new Set<string>()
  for (const [file, entry] of entries) {
    const source = file.replace(`${packageRoot}/dist/`, `${packageRoot}/`).replace(/\.d\.ts$/, '.ts')
    const module: Record<string, unknown> = await import(isSource ? source : file.replace(/d\.ts$/, 'js'))
    for (const { name, before } of withOptions(file)) {
      // Of some classes the type alone is public, and errors are made of what any Error is made of.
      if (!(name in module) || name === LowrankError.name) continue
      found.add(name)
      const said = await answerTo(module[name], before, { outputDri: 1 })
      if (!/^ERR_OPTION outputDri: is no option of /.test(said)) problems.push(`${name} of ${entry}: ${said}`)
    }
  }
  noProblems(problems)
  for (const name of ['saveAdapter', 'loadTokenizer', 'train', 'open', 'splitData', 'lora'])
    assert.ok(found.has(name), name)
})

/** A class whose type alone an entry point exports. */
async function declaring(file: string, owner: string): Promise<unknown> {
  const declared = placeOf(exportsOf(file).find(({ name }) => name === owner)!.symbol).replace(/\.d\.ts$/, '')
  const module = isSource ? `${declared.replace(/^dist\//, '')}.ts` : `${declared}.js`
  return ((await import(join(packageRoot, module))) as Record<string, unknown>)[owner]
}

/** What has methods of an interface, by its name. */
const EXAMPLES: Readonly<Record<string, () => Promise<unknown>>> = {
  Tokenizer: () => loadTokenizer(join(packageRoot, 'test/golden/tokenizer/wordpiece.json')),
  ChatTemplate: async () => chatTemplate('here', { default: '' }, {}),
}
// Parts that users write and lowrank calls, and what only other parts of lowrank call.
const GIVEN = ['Head', 'Backbone', 'LossesTogether']

test('an option that is none is told by every method that takes options, before anything else', async () => {
  const problems: string[] = []
  const found = new Set<string>()
  for (const [file, entry] of entries) {
    const source = file.replace(`${packageRoot}/dist/`, `${packageRoot}/`).replace(/\.d\.ts$/, '.ts')
    const module: Record<string, unknown> = await import(isSource ? source : file.replace(/d\.ts$/, 'js'))
    for (const { owner, name, isStatic, before } of methodsWithOptions(file)) {
      if (GIVEN.includes(owner) || owner === LowrankError.name) continue
      const made = module[owner] ?? (await declaring(file, owner))
      const bare = typeof made === 'function' ? (isStatic ? made : made.prototype) : undefined
      const target = bare ?? (await EXAMPLES[owner]?.())
      const said =
        isRecord(target) || typeof target === 'function'
          ? await answerTo((...args: unknown[]) => Reflect.get(target, name).apply(target, args), before, {
              outputDri: 1,
            })
          : 'has no example here'
      found.add(`${owner}.${name}`)
      if (!/^ERR_OPTION outputDri: is no option of /.test(said)) problems.push(`${owner}.${name} of ${entry}: ${said}`)
    }
  }
  noProblems(problems)
  console.log(`methods with options: ${[...found].sort().join(', ')}`)
  for (const name of [
    'Model.encode',
    'Adapter.save',
    'OpenModel.predict',
    'OpenModel.swap',
    'Tuner.sample',
    'Tensor.zeros',
  ])
    assert.ok(found.has(name), name)
})

test.run()
