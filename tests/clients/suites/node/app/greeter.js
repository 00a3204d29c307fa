'use strict'

// An app to be tested, in a process of its own: it greets who comes, in a new year in another way. It has no clock but the store's.

async function greet (who) {
  const url = `${process.env.BEEPBOOP_PERSIST_URL}/persist/kv/seen::${who}`
  const headers = { Authorization: `Bearer ${process.env.BEEPBOOP_TOKEN}` }
  const seen = await fetch(url, { headers })
  const now = await fetch(url, { method: 'PUT', headers, body: '{"value": "here"}' })
  if (seen.status === 404) return `Nice to meet you, ${who}`
  const [last, year] = (await Promise.all([seen.json(), now.json()])).map(record => record.updated.slice(0, 4))
  return last === year ? `Hello again, ${who}` : `Happy ${year}, ${who}`
}

greet(process.argv[2]).then(greeting => console.log(greeting))
