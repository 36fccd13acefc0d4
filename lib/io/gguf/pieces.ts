/** The files of a GGUF model by the name of one: those of a split one in their order, else that one. */
export function piecesOf(name: string): string[] {
  const [, stem, , count = ''] = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/i.exec(name) ?? []
  if (stem === undefined || Number(count) === 0) return [name]
  return Array.from({ length: Number(count) }, (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${count}.gguf`)
}
