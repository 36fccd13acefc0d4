import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TEMPLATES } from '../../scripts/pretrain/templates.ts'

const SLOTS = new Set(['person', 'location', 'org', 'group', 'product', 'work', 'handle', 'url', 'hashtag'])

test('every place of a template is one that can be filled, and its choices are closed', () => {
  assert.ok(TEMPLATES.length > 100)
  for (const template of TEMPLATES) {
    // Without the choices, which hold no braces, all that is left in braces are places.
    let line = template
    for (let choice = /\{([^{}]*\|[^{}]*)\}/.exec(line); choice; choice = /\{([^{}]*\|[^{}]*)\}/.exec(line))
      line = line.replace(choice[0], '')
    for (const [, slot] of line.matchAll(/\{([^{}]*)\}/g)) assert.ok(SLOTS.has(slot!), `${template}: {${slot}}`)
    assert.not.match(line.replace(/\{\w+\}/g, ''), /[{}|]/, template)
  }
})

test.run()
