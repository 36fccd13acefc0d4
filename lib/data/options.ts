// The options of data, each once: flags, YAML keys, types, checks, help and docs follow from here.

import type { OptionRow } from '../options.ts'
import { ENCODINGS } from './lines.ts'

/** Options of data by name. */
export const DATA_OPTIONS = {
  format: {
    kind: 'choice',
    help: 'Layout of the data; text is one text a line',
    choices: ['jsonl', 'csv', 'tsv', 'parquet', 'conll', 'text'],
    found: 'by the extension',
  },
  encoding: {
    kind: 'choice',
    help: 'Encoding of the data files',
    choices: ENCODINGS,
    found: 'UTF-8, or UTF-16 by its mark',
  },
  delimiter: {
    kind: 'text',
    help: 'Character between fields of a .csv or .tsv file',
    found: "tab in .tsv; in .csv the header's: comma, else ; tab or |",
  },
  columns: {
    kind: 'texts',
    help: 'Columns by part: text, text2, label, tokens, tags, messages, tools, system, prompt, context, completion (label=stars,text=review)',
    found: 'by the usual names',
  },
  split: {
    kind: 'text',
    help: 'Shares of train, validation and test, where the data bring no splits',
    found: '0.8/0.1/0.1',
  },
  duplicates: {
    kind: 'choice',
    default: 'report',
    help: 'What to do with texts that stand in two splits',
    choices: ['report', 'drop', 'move'],
  },
  rows: {
    kind: 'integer',
    help: 'Take only so many training rows, stratified by the seed',
    min: 1,
    found: 'all',
  },
} as const satisfies Readonly<Record<string, OptionRow>>
