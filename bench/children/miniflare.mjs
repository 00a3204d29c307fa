// Miniflare's KV, behind the smallest worker that gets and puts.
//
//     node miniflare.mjs PACKAGES PORT
//
// Law: nothing is kept on disk, nothing is asked of the network.
import { createRequire } from 'node:module'

const [packages, port] = process.argv.slice(2)
const { Miniflare } = createRequire(packages + '/package.json')('miniflare')
const script = `export default {
  async fetch(request, env) {
    const key = new URL(request.url).pathname.slice(1)
    if (request.method === 'GET') {
      const value = await env.KV.get(key)
      return value === null ? new Response('', { status: 404 }) : new Response(value)
    }
    await env.KV.put(key, await request.text())
    return new Response('{}')
  }
}`
const worker = new Miniflare({ host: '127.0.0.1', port: Number(port), modules: true, script, kvNamespaces: ['KV'], cf: false, compatibilityDate: '2025-01-01' })
await worker.ready
process.on('SIGTERM', () => worker.dispose().then(() => process.exit(0)))
