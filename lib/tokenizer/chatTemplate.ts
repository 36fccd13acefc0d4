// Chat templates: how a tokenizer's files say that a conversation is written as one text.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Template } from '@huggingface/jinja'
import { check, fail, messageOf } from '../errors.ts'
import { TEMPLATES } from '../io/tokenizerFiles.ts'
import { checkOptions } from '../options.ts'
import { under } from '../tuple.ts'
import { asArray, asObject, type Fields, readTextAt } from './json.ts'

/** One turn, as templates read it: `role` and `content`, and whatever else the data have. */
export interface Message {
  readonly role: string
  readonly content?: unknown
  readonly [key: string]: unknown
}

/** What a chat template is rendered with. */
export interface RenderOptions {
  /** JSON schemas of what may be called. */
  readonly tools?: readonly unknown[] | undefined
  /** End with the beginning of the assistant's next turn. Default false. */
  readonly addGenerationPrompt?: boolean
  /** More variables of the template, as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined
}

/** A conversation as text. */
export interface ChatTemplate {
  /**
   * The text of a conversation, special tokens included, as apply_chat_template of transformers renders it.
   * @throws ERR_DATA with what the template says where it refuses the conversation; ERR_CONFIG for a template that is
   * not Jinja
   */
  render(messages: readonly Message[], options?: RenderOptions): string
}

/** Templates by name; what stands alone is `default`. */
export type TemplateSources = Readonly<Record<string, string>>

/**
 * The templates of a tokenizer; undefined where it has none.
 * @param path where they come from
 * @param specials variables of the special tokens: `bos_token` and its like
 */
export function chatTemplate(path: string, sources: TemplateSources, specials: Fields): ChatTemplate | undefined {
  if (Object.keys(sources).length === 0) return undefined
  const parsed = new Map<string, Template>()
  const templateOf = (name: string): Template => {
    const known = parsed.get(name) ?? parse(path, under(sources, name))
    parsed.set(name, known)
    return known
  }
  return {
    render(messages, options = {}) {
      checkOptions('render', options, { tools: true, addGenerationPrompt: true, variables: true })
      const { tools, addGenerationPrompt = false, variables } = options
      const template = templateOf(nameFor(path, sources, tools !== undefined))
      const given = { ...specials, ...variables, messages, tools: tools ?? null, documents: null }
      try {
        return template.render({ ...given, add_generation_prompt: addGenerationPrompt })
      } catch (error) {
        fail('ERR_DATA', `chat template: it refuses the conversation: ${messageOf(error).slice(0, 200)}`, error)
      }
    },
  }
}

/** The usual template, or where tools are given that for tools, where there is one. */
function nameFor(path: string, sources: TemplateSources, hasTools: boolean): string {
  if (hasTools && sources.tool_use !== undefined) return 'tool_use'
  check(sources.default !== undefined, 'ERR_CONFIG', () => {
    return `chat template: ${path} has ${Object.keys(sources).join(', ')}, and none is named default; name one so`
  })
  return 'default'
}

function parse(path: string, source: string): Template {
  try {
    return new Template(source)
  } catch (error) {
    const why = messageOf(error).slice(0, 200)
    fail('ERR_CONFIG', `chat template: that of ${path} cannot be read: ${why}; correct chat_template.jinja`, error)
  }
}

/**
 * The templates of a folder: chat_template.jinja and additional_chat_templates/, else `chat_template` of
 * tokenizer_config.json, a text or a list by name.
 */
export async function readTemplates(folder: string, config: Fields): Promise<TemplateSources> {
  const main = await readTextAt(join(folder, 'chat_template.jinja'))
  if (main === undefined) return configSources(config.chat_template)
  const more = join(folder, TEMPLATES)
  const names = (await readdir(more).catch(() => [])).filter(name => name.endsWith('.jinja'))
  const sources: Record<string, string> = {}
  for (const name of names) {
    const text = await readTextAt(join(more, name))
    if (text !== undefined) sources[name.slice(0, -'.jinja'.length)] = text
  }
  return { ...sources, default: main }
}

function configSources(value: unknown): TemplateSources {
  if (typeof value === 'string') return { default: value }
  const entries = asArray(value).flatMap((entry): [string, string][] => {
    const { name, template } = asObject(entry) ?? {}
    return typeof name === 'string' && typeof template === 'string' ? [[name, template]] : []
  })
  return Object.fromEntries(entries)
}
