// The API reference, made of the JSDoc of what package.json exports: `npm run docs:api` writes it to build-api/.
// --check writes nothing. Fails where an export has no comment or a link in one leads nowhere.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Application, LogLevel, ReflectionKind } from 'typedoc'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** The source of each entry point. */
const entryPoints = Object.values(exports)
  .filter(target => target.types !== undefined)
  .map(({ types }) => join(root, types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts')))

const app = await Application.bootstrap({
  name: 'lowrank',
  entryPoints,
  tsconfig: join(root, 'tsconfig.json'),
  readme: 'none',
  disableSources: true,
  excludePrivate: true,
  // The build checks types.
  skipErrorChecking: true,
  validation: { notExported: false, invalidLink: true, invalidPath: true, notDocumented: true },
  // A method or a property may be told by its name.
  requiredToBeDocumented: ['Module', 'Class', 'Interface', 'TypeAlias', 'Variable'],
  logLevel: LogLevel.Warn,
})
const project = await app.convert()
if (!project) process.exit(1)
for (const module of project.children)
  module.name = module.name === 'index' ? 'lowrank' : module.name.replace('api', 'lowrank')
app.validate(project)
const bare = project
  .getReflectionsByKind(ReflectionKind.Function)
  .filter(one => one.signatures.some(each => !each.comment))
for (const { name } of bare) console.error(`docs-api: ${name} has no comment`)
if (bare.length > 0 || app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1)
console.log(`docs-api: ${project.children.length} entry points; every export has a comment, every link leads somewhere`)
if (!process.argv.includes('--check')) {
  await app.generateDocs(project, join(root, 'build-api'))
  console.log('docs-api: build-api/index.html')
}
