// docs/cli.md is written from the option table. UPDATE_DOCS=1 writes it anew.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { familiesTable } from '../../lib/cli/options/families.ts'
import { cliDocs, commandHelp, programHelp } from '../../lib/cli/options/help.ts'
import { COMMANDS, flagOf } from '../../lib/cli/options/option.ts'
import { OPTIONS, optionsOf } from '../../lib/cli/options/options.ts'
import { packageRoot } from '../../lib/io/package.ts'

const path = join(packageRoot, 'docs', 'cli.md')

test('docs/cli.md is what the table says', () => {
  if (process.env.UPDATE_DOCS) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, cliDocs())
  }
  assert.is(readFileSync(path, 'utf8'), cliDocs())
})

test('the README has the families of the registry', () => {
  const file = join(packageRoot, 'README.md')
  const block = `<!-- families -->\n${familiesTable()}\n<!-- /families -->`
  const text = readFileSync(file, 'utf8')
  const written = text.replace(/<!-- families -->[\s\S]*<!-- \/families -->/, () => block)
  if (process.env.UPDATE_DOCS) writeFileSync(file, written)
  assert.ok(text.includes(block) || process.env.UPDATE_DOCS, 'UPDATE_DOCS=1 writes the table of families anew')
})

test('every option and command stands in docs and help', () => {
  const docs = cliDocs()
  for (const { name } of OPTIONS) assert.ok(docs.includes(`\`${name}\``), name)
  for (const command of COMMANDS) {
    assert.ok(programHelp().includes(command))
    for (const { name } of optionsOf(command)) assert.ok(commandHelp(command).includes(flagOf(name).slice(2)), name)
  }
})

test('help fits its width, and names are used once', () => {
  for (const command of COMMANDS)
    for (const line of commandHelp(command, 100).split('\n')) assert.ok([...line].length <= 101, line)
  assert.is(new Set(OPTIONS.map(({ name }) => name)).size, OPTIONS.length)
})

test.run()
