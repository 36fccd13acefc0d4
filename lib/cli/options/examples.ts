// What the help of a command shows first: lines to copy, and the options that most runs need.

import type { Command } from './option.ts'

export const EXAMPLES: Readonly<Record<Command, readonly string[]>> = {
  train: [
    'lowrank train reviews.csv',
    'lowrank train reviews.csv --columns text=review,label=stars --time 5m',
    'lowrank train data/ --model ./bert-base-cased --r 16 --epochs 5',
    'lowrank train --config lowrank.yaml --resume',
  ],
  evaluate: [
    'lowrank evaluate lowrank-reviews test.csv',
    'lowrank evaluate lowrank-reviews test.csv --baseline --json',
  ],
  predict: [
    'lowrank predict lowrank-reviews "a fine day" "a wet one"',
    'lowrank predict lowrank-reviews --input new.csv --json',
    'lowrank predict lowrank-pairs "a premise" "its hypothesis"',
  ],
  generate: [
    'lowrank generate lowrank-chat "What is the capital of France?"',
    'lowrank generate ./SmolLM2-135M-Instruct "Write a poem" --temperature 0.8 --top-p 0.9 --samples 3',
    'lowrank generate --model Qwen/Qwen2.5-0.5B-Instruct --revision main "Write a poem"',
  ],
  chat: ['lowrank chat lowrank-chat', 'lowrank chat ./SmolLM2-135M-Instruct --system "Be brief."'],
  compare: ['lowrank compare reviews.csv --methods lora,dora,full,head --budget 30m'],
  sweep: ['lowrank sweep reviews.csv --trials 20', 'lowrank sweep reviews.csv --space space.yaml --sampler grid'],
  'sweep worker': ['lowrank sweep worker --study lowrank-sweep-reviews/study.log'],
  merge: ['lowrank merge lowrank-reviews --out merged'],
  combine: ['lowrank combine first/adapter second/adapter --out both'],
  convert: ['lowrank convert lowrank-reviews --out plain'],
  diff: ['lowrank diff first/adapter second/adapter'],
  report: ['lowrank report lowrank-first lowrank-second --out both.html'],
  download: ['lowrank download Qwen/Qwen2.5-0.5B-Instruct', 'lowrank download me/my-adapter --revision v2'],
  'inspect model': ['lowrank inspect model ./bert-base-cased'],
  'inspect data': ['lowrank inspect data reviews.csv'],
  'inspect batch': ['lowrank inspect batch reviews.csv --batch-size 4'],
  doctor: ['lowrank doctor'],
  build: ['lowrank build', 'LOWRANK_CUDA=1 lowrank build'],
  quickstart: ['lowrank quickstart'],
  init: ['lowrank init reviews.csv', 'lowrank train --config lowrank.yaml'],
  completion: [
    'lowrank completion bash >> ~/.bashrc',
    `lowrank completion zsh > "\${fpath[1]}/_lowrank"`,
    'lowrank completion fish > ~/.config/fish/completions/lowrank.fish',
  ],
}

/** Names of options, in the order in which most people meet them. */
export const COMMON: { readonly [C in Command]?: readonly string[] } = {
  train: ['data', 'out', 'model', 'columns', 'epochs', 'time', 'lr', 'batchSize', 'maxLength', 'resume', 'config'],
  evaluate: ['adapter', 'data', 'baseline', 'predictions', 'json'],
  predict: ['adapter', 'texts', 'input', 'columns', 'top', 'json'],
  merge: ['adapter', 'out'],
}
