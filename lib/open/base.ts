// Which model a command works on: the folder asked for, else the bundled encoder.

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bundled } from '../bundled.ts'
import { check } from '../errors.ts'
import type { Problem } from '../heads/head.ts'
import { HEADS, type TaskName } from '../heads/index.ts'
import { localFolder } from '../hub/folder.ts'
import { configLabels, readModelConfig } from '../io/config.ts'
import { type HeadBuilder, loadModel, type Model, type ModelOptions } from '../model.ts'
import { familyOf, MODEL_TYPES } from '../models/index.ts'
import { native } from '../native.ts'
import { maxTokens } from '../nn/batch.ts'
import type { Storage } from '../nn/module.ts'
import type { Compute } from '../ops/matmul.ts'
import { Device } from '../tensor.ts'
import type { Side } from '../tokenizer/config.ts'
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts'

/** What of the settings decides how a model is loaded; options of the command line have these names. */
export interface BaseSettings {
  /** Folder or GGUF file of the base, or its id on the hub; the one that an adapter names otherwise. */
  readonly model?: string | undefined
  /** Branch, tag or commit of a base from the hub; its main branch otherwise. */
  readonly revision?: string | undefined
  /** Folder of the tokenizer; the one trained with otherwise. */
  readonly tokenizer?: string | undefined
  readonly device: string
  readonly storage?: Storage | undefined
  readonly compute?: Compute | undefined
  readonly seed: number
  readonly maxLength?: number | undefined
  /** The end of a text that is cut off; as the tokenizer says otherwise. */
  readonly truncationSide?: Side | undefined
}

/** The bundled encoder's folder, if its weights are there. */
export function bundledEncoder(): string | undefined {
  return existsSync(join(bundled.encoder, 'model.safetensors')) ? bundled.encoder : undefined
}

/** A model folder or GGUF file, and whether it is the bundled one. */
export interface Base {
  readonly path: string
  readonly bundled: boolean
}

/**
 * The base a command is told, by its folder or its id on the hub, or the bundled encoder.
 * @throws ERR_CONFIG where there is none or it has no weights, ERR_HUB where the hub does not give it
 */
export async function findBase({ model, revision }: Pick<BaseSettings, 'model' | 'revision'>): Promise<Base> {
  if (model !== undefined) {
    const cure = 'name a folder with config.json, or a model of the Hugging Face hub (owner/name)'
    const path = resolve(await localFolder(model, { option: 'model', purpose: 'model', revision, cure }))
    return { path, bundled: path === bundled.encoder }
  }
  check(revision === undefined, 'ERR_OPTION', () => `revision: ${revision} of no model; name one with model`)
  check(bundledEncoder(), 'ERR_CONFIG', () => {
    return (
      `model: the bundled encoder has no weights, ${join(bundled.encoder, 'model.safetensors')} is missing; ` +
      'reinstall the package, or name a model folder with model'
    )
  })
  return { path: bundled.encoder, bundled: true }
}

/** The tasks that a base has heads for. */
export function tasksOf(path: string): readonly TaskName[] {
  const { heads } = familyOf(readModelConfig(path, MODEL_TYPES).modelType)
  return HEADS.filter(({ sits }) => heads[sits]).map(({ task }) => task)
}

/** Names of the classes of a base, where its config has them. */
export function baseLabels(path: string): readonly string[] | undefined {
  return configLabels(readModelConfig(path, MODEL_TYPES))?.id2label
}

/** The tokenizer of `--tokenizer`, else of the model folder. */
export async function findTokenizer(
  { tokenizer, truncationSide }: Pick<BaseSettings, 'tokenizer' | 'truncationSide'>,
  base: string,
): Promise<Tokenizer> {
  return await loadTokenizer(tokenizer ?? base, { truncationSide })
}

/** What the head is for. */
interface HeadSettings {
  readonly task: TaskName
  readonly problem?: Problem | undefined
  readonly labels?: readonly string[] | undefined
  readonly head?: HeadBuilder | undefined
  readonly headRows?: ModelOptions['headRows']
}

/** Loads a base with a head, as the settings of a command say. */
export async function loadBase(
  path: string,
  head: HeadSettings,
  settings: BaseSettings,
  device = settings.device,
): Promise<Model> {
  const { compute, seed } = settings
  const { storage } = settings
  const planFor = device === 'meta' && Device.get(settings.device).kind === 'cuda' ? 'cuda' : undefined
  return await loadModel(path, { ...head, device, planFor, storage, compute, seed })
}

const longestDefault = 512

/** Tokens of a sequence: as asked for, else what model and tokenizer take, at most 512. @throws ERR_OPTION */
export function maxLengthOf(settings: Pick<BaseSettings, 'maxLength'>, model: Model, tokenizer: Tokenizer): number {
  const most = maxTokens(model.backbone.limits)
  const { maxLength } = settings
  check(maxLength === undefined || maxLength <= most, 'ERR_OPTION', () => {
    return `maxLength: ${maxLength} tokens, the model has positions for ${most}; take at most ${most}`
  })
  check(tokenizer.vocabSize <= model.backbone.limits.vocabSize, 'ERR_CONFIG', () => {
    const { vocabSize } = model.backbone.limits
    return `tokenizer: ${tokenizer.path} has ${tokenizer.vocabSize} tokens, the model embeds ${vocabSize}; take the model's own`
  })
  return maxLength ?? Math.min(most, tokenizer.modelMaxLength ?? most, longestDefault)
}

/** Sets the number of CPU threads where one is asked for. */
export function useThreads({ threads }: { readonly threads?: number | undefined }): void {
  if (threads !== undefined) native.setThreads(threads)
}
