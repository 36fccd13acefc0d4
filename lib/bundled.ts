// What the package brings along.

import { join } from 'node:path'
import { packageRoot } from './io/package.ts'

/** Folders of the bundled encoder (a Hugging Face model) and of the bundled sample (train, validation, test). */
export const bundled = {
  encoder: join(packageRoot, 'assets', 'encoder'),
  sample: join(packageRoot, 'assets', 'sample'),
} as const
