// Runs the suite that argv[2] has: its origin on a loopback port, which is the first line of the output; then its tests against the cache
// whose URL is the first line of the input. The second line of the output is a JSON object of what each test came to.
import http from 'node:http'
import path from 'node:path'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

console.log = console.error // what the suite says is not part of the output

const dir = path.resolve(process.argv[2])
const load = file => import(pathToFileURL(path.join(dir, 'package', file)).href)
const fetch = createRequire(path.join(dir, 'index.js'))('node-fetch')

const handlers = {}
for (const name of ['config', 'test', 'state']) {
  handlers[name] = (await load(`server/handle-${name}.mjs`)).default
}
const origin = http.createServer((request, response) => {
  const segments = new URL(request.url, 'http://origin').pathname.split('/').slice(1)
  const handle = handlers[segments.shift()]
  if (handle) handle(segments, request, response)
  else response.writeHead(404).end()
})
origin.keepAliveTimeout = 1500 // of the answer that ends with its connection; less than a pause, so that no request meets a connection's end
origin.listen(0, '127.0.0.1', () => process.stdout.write(`${origin.address().port}\n`))

const input = createInterface({ input: process.stdin })
const base = await new Promise(resolve => {
  input.once('line', resolve)
  input.once('close', () => process.exit(1)) // nobody waits for it any more
})
input.removeAllListeners('close')
input.close()

const suites = (await load('tests/index.mjs')).default
const { runTests, getResults } = await load('client/runner.mjs')
await runTests(suites, fetch, false, base, 130)

const results = getResults()
const report = {}
for (const { tests } of suites) {
  for (const { id, kind = 'required' } of tests) {
    if (id in results) report[id] = { kind, why: results[id] === true ? '' : results[id].join(': ') }
  }
}
process.stdout.write(JSON.stringify(report) + '\n', () => process.exit(0))
