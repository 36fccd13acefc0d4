// A trained folder behind HTTP: requests that come at once share batches, and POST /swap takes another folder.
// Run with: node dist/examples/server.js RUN [PORT], then: curl -d '["a text"]' localhost:8000
// Beside an installed package: a copy, node server.mts RUN [PORT] (Node ≥ 22.18, Bun, Deno).

import { createServer, type IncomingMessage } from 'node:http'
import { type Input, open } from 'lowrank'

const MOST = 1_000_000 // characters of a request

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) {
    body += chunk
    if (body.length > MOST) throw new Error(`a body of more than ${MOST} characters`)
  }
  return body
}

const model = await open(process.argv[2]!)
const server = createServer(async (request, response) => {
  try {
    if (request.method !== 'POST')
      return response.writeHead(405, { allow: 'POST' }).end('POST a text or a list of texts')
    const asked = JSON.parse(await bodyOf(request))
    const answer = request.url === '/swap' ? await model.swap(asked) : await model.predict(asked as Input[])
    response.end(JSON.stringify(answer ?? 'swapped'))
  } catch (error) {
    response.writeHead(400, { connection: 'close' }).end(String(error))
  }
})
// For this machine alone: who can ask can also swap.
server.listen(Number(process.argv[3] ?? 8000), 'localhost', () => console.log(JSON.stringify(server.address())))
