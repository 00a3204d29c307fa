'use strict'

// A world of kvfake for each test file: values, faults, journal and clock that no other file sees.

const { promisify } = require('node:util')
const beepboopPersist = require('beepboop-persist')

/** Open one on the server that `kvfake run` has started, or that `KVFAKE_URL` names. */
exports.openWorld = async function (settings = {}) {
  const world = await control(process.env.KVFAKE_URL, 'POST', '/worlds', settings)
  return {
    ...world,
    control: (method, path, body) => control(world.address, method, path, body),
    end: () => control(process.env.KVFAKE_URL, 'DELETE', `/worlds/${world.id}`)
  }
}

async function control (address, method, path, body) {
  const answer = await fetch(`${address}/_kvfake${path}`, { method, body: JSON.stringify(body) })
  const said = await answer.json()
  if (!answer.ok) throw new Error(said.error)
  return said
}

/** The official client of Persist, in that world. */
exports.persist = function (world) {
  const kv = beepboopPersist({ url: world.env.BEEPBOOP_PERSIST_URL, token: world.tokens.persist })
  return { get: promisify(kv.get), set: promisify(kv.set), list: promisify(kv.list) }
}

/** A value of the bot in Mattermost, by plain fetch. */
exports.mattermost = async function (world, method, key, value) {
  const url = `${world.address}/plugins/com.mattermost.apps/api/v1/kv/${key}`
  const headers = { Authorization: `Bearer ${world.tokens.mattermost}` }
  const answer = await fetch(url, { method, headers, body: JSON.stringify(value) })
  if (!answer.ok) throw new Error(await answer.text())
  return answer.json()
}
