// A trained folder behind HTTP: requests that come at once share batches, and POST /swap takes another folder.
// Run with: node dist/examples/server.js RUN [PORT], then: curl -d '["a text"]' localhost:8000

import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { type Input, open } from 'lowrank'

const model = await open(process.argv[2]!)
const server = createServer(async (request, response) => {
  try {
    const asked = JSON.parse(await text(request))
    const answer = request.url === '/swap' ? await model.swap(asked) : await model.predict(asked as Input[])
    response.end(JSON.stringify(answer ?? 'swapped'))
  } catch (error) {
    response.writeHead(400).end(String(error))
  }
})
server.listen(Number(process.argv[3] ?? 8000), () => console.log(JSON.stringify(server.address())))
