// Completion for shells, written from the option table: commands, their flags, the choices of a flag, else files.

import { check } from '../../errors.ts'
import { isOneOf, must, nth } from '../../tuple.ts'
import { singleQuoted } from '../terminal/format.ts'
import { SUMMARIES } from './help.ts'
import { COMMANDS, type Command, flagOf, type Option, SHELLS } from './option.ts'
import { optionsOf } from './options.ts'

/** Flags of an option: both of a switch. */
function flagsOf({ name, kind }: Option): string[] {
  const flag = flagOf(name)
  return kind === 'boolean' ? [flag, `--no-${flag.slice(2)}`] : [flag]
}

const summaryOf = (name: string) => (isOneOf(COMMANDS, name) ? SUMMARIES[name] : 'Look at a model or data')

/** The script that a shell reads. @throws ERR_OPTION for another shell */
export function completionScript(shell: string): string {
  check(isOneOf(SHELLS, shell), 'ERR_OPTION', () => {
    return `completion: "${shell}" is no shell of ${SHELLS.join(', ')}; name one of them`
  })
  return { bash, zsh, fish }[shell]()
}

const first = [...new Set(COMMANDS.map(command => nth(command.split(' '), 0)))]
const second = COMMANDS.filter(command => command.startsWith('inspect ')).map(command => command.slice(8))
const takes = (command: Command) => optionsOf(command).flatMap(flagsOf)
const chosen = (command: Command) => optionsOf(command).filter(({ choices }) => choices !== undefined)

/** Words of a shell's pattern that a command line begins with. */
const caseOf = (command: Command) => command.replace(' ', '\\ ')

function bash(): string {
  const flags = COMMANDS.map(command => `    ${caseOf(command)}) words="${takes(command).join(' ')}" ;;`)
  const values = COMMANDS.flatMap(command =>
    chosen(command).map(option => {
      return `    ${caseOf(command)}\\ ${flagOf(option.name)}) words="${must(option.choices, 'choices').join(' ')}" ;;`
    }),
  )
  return [
    '# bash completion of lowrank',
    '_lowrank() {',
    `  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" command="\${COMP_WORDS[1]}" words=""`,
    // Bash takes --flag=value apart, at the "=".
    '  if [ "$word" = "=" ]; then word=""',
    `  elif [ "$before" = "=" ] && [ "$COMP_CWORD" -gt 2 ]; then before="\${COMP_WORDS[COMP_CWORD-2]}"; fi`,
    `  [ "$command" = inspect ] && [ "$COMP_CWORD" -gt 2 ] && command="inspect \${COMP_WORDS[2]}"`,
    `  if [ "$COMP_CWORD" = 1 ] || [ "$COMP_CWORD $command" = "2 help" ]; then`,
    `    COMPREPLY=($(compgen -W "${first.join(' ')} help" -- "$word")); return`,
    '  fi',
    `  if [ "$command" = inspect ]; then COMPREPLY=($(compgen -W "${second.join(' ')}" -- "$word")); return; fi`,
    `  if [ "$command" = completion ]; then COMPREPLY=($(compgen -W "${SHELLS.join(' ')}" -- "$word")); return; fi`,
    '  case "$command $before" in',
    ...values,
    '  esac',
    `  if [ -z "$words" ] && [ "\${word#-}" != "$word" ]; then case "$command" in`,
    ...flags,
    '  esac; fi',
    '  if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); return; fi',
    // Names with blanks are one line each.
    `  local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$word"))`,
    '}',
    'complete -o filenames -F _lowrank lowrank',
    '',
  ].join('\n')
}

/** What zsh reads as a part of its own. */
const plain = (text: string) => text.replace(/[[\]:\\]/g, ' ')

function zsh(): string {
  const specs = (command: Command) =>
    optionsOf(command).flatMap(option => {
      const { kind, choices } = option
      const value = kind === 'boolean' ? '' : choices ? `:value:(${choices.join(' ')})` : ':value:_files'
      return flagsOf(option).map(flag => `      ${singleQuoted(`${flag}[${plain(option.help)}]${value}`)} \\`)
    })
  const cases = COMMANDS.flatMap(command => [
    `    ${caseOf(command)}) _arguments \\`,
    ...specs(command),
    `      ${singleQuoted('*:file:_files')} ;;`,
  ])
  const described = first.map(name => singleQuoted(`${name}:${plain(summaryOf(name))}`))
  return [
    '#compdef lowrank',
    '_lowrank() {',
    '  if (( CURRENT == 2 )); then',
    `    local -a commands=(${described.join(' ')})`,
    '    _describe command commands; return',
    '  fi',
    `  if [[ $words[2] == completion ]]; then _values shell ${SHELLS.join(' ')}; return; fi`,
    `  if [[ $words[2] == inspect ]] && (( CURRENT == 3 )); then _values what ${second.join(' ')}; return; fi`,
    '  local command=$words[2]',
    '  [[ $command == inspect ]] && command="inspect $words[3]"',
    '  case $command in',
    ...cases,
    '  esac',
    '}',
    'compdef _lowrank lowrank',
    '',
  ].join('\n')
}

function fish(): string {
  const condition = (command: Command) => {
    const seen = command.split(' ').map(word => `__fish_seen_subcommand_from ${word}`)
    return singleQuoted(seen.join('; and '))
  }
  const options = COMMANDS.flatMap(command =>
    optionsOf(command).flatMap(option => {
      const { kind, choices, help } = option
      const value = kind === 'boolean' ? '' : choices ? ` -x -a ${singleQuoted(choices.join(' '))}` : ' -r'
      return flagsOf(option).map(flag => {
        return `complete -c lowrank -n ${condition(command)} -l ${flag.slice(2)}${value} -d ${singleQuoted(help)}`
      })
    }),
  )
  return [
    '# fish completion of lowrank',
    ...first.map(name => {
      const help = summaryOf(name)
      return `complete -c lowrank -n __fish_use_subcommand -f -a ${name} -d ${singleQuoted(help)}`
    }),
    `complete -c lowrank -n '__fish_seen_subcommand_from inspect' -f -a ${singleQuoted(second.join(' '))}`,
    `complete -c lowrank -n '__fish_seen_subcommand_from completion' -f -a ${singleQuoted(SHELLS.join(' '))}`,
    ...options,
    '',
  ].join('\n')
}
