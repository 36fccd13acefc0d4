// The public API as its declarations say it: a small root, a comment on every export, and no type without a name.

import { existsSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../lib/io/package.ts'

const MOST_ROOT_VALUES = 45

const { exports: exported } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
  exports: Record<string, { types?: string }>
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

test.run()
