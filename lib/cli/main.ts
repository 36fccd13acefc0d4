#!/usr/bin/env node
import { run } from './program.ts'

const code = await run(process.argv.slice(2))
// Zero would hide that the output could not be written.
if (code !== 0) process.exitCode = code
