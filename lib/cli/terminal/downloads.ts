// What comes from the hub, on standard error: a bar for a large file under way, a line when a model is here.

import { onHubNews } from '../../hub/news.ts'
import type { Console } from './console.ts'
import { bytesText, plural } from './format.ts'
import { createProgress, type Progress } from './progress.ts'

const MEGABYTE = 1e6

/** Shows the news of the hub for as long as the process lives. */
export function showDownloads(console: Console): void {
  let bar: { readonly file: string; readonly began: number; readonly first: number; progress: Progress } | undefined
  const end = (): void => {
    bar?.progress.finish()
    bar = undefined
  }
  onHubNews(news => {
    if (news.type === 'file' && news.size >= MEGABYTE) {
      const { id, file, received, size } = news
      if (bar?.file !== `${id} ${file}`) {
        end()
        const options = { label: file, unit: 'MB/s', total: Math.ceil(size / MEGABYTE), quiet: console.quiet }
        bar = { file: `${id} ${file}`, began: performance.now(), first: received, progress: createProgress(options) }
      }
      const seconds = (performance.now() - bar.began) / 1000
      const rate = seconds > 0 ? (received - bar.first) / MEGABYTE / seconds : 0
      bar.progress.update({ step: Math.floor(received / MEGABYTE), rate })
      if (received >= size) end()
    } else if (news.type === 'notice') {
      if (bar) bar.progress.log(news.text)
      else console.warn(news.text)
    } else if (news.type === 'done') {
      end()
      console.note(`fetched ${plural(news.files, 'file')} of ${news.id}, ${bytesText(news.bytes)}`)
    }
  })
}
