'use strict'
/* global after, before, it */

const assert = require('node:assert/strict')
const bot = require('../app/bot.js')
const { mattermost, openWorld, persist } = require('../world.js')

let world
before(async () => { world = await openWorld() })
after(() => world.end())

it('a conversation goes on where it was', async () => {
  assert.equal(await bot(persist(world)).hear('42'), 1)
  assert.equal(await bot(persist(world)).hear('42'), 2)
  assert.deepEqual(await persist(world).list(), ['convo::42'])
})

it('the bot tries again where the store is down for a moment', async () => {
  await world.control('POST', '/faults', { status: 503, method: 'PUT' })

  assert.equal(await bot(persist(world)).hear('43'), 1)

  const { exchanges } = await world.control('GET', '/journal?method=PUT&key=convo::43')
  assert.deepEqual(exchanges.map(exchange => exchange.status), [503, 200])
})

it('the bot counts once where an acknowledgement is lost', async () => {
  await world.control('POST', '/faults', { sever: 'after', method: 'PUT' })

  assert.equal(await bot(persist(world)).hear('44'), 1)

  assert.equal(await persist(world).get('convo::44'), 1)
  const { exchanges } = await world.control('GET', '/journal?method=PUT&key=convo::44')
  assert.deepEqual(exchanges.map(exchange => exchange.status), [null, 200])
})

it('the same world has a Mattermost', async () => {
  assert.deepEqual(await mattermost(world, 'PUT', 'name', { first: 'Ada' }), { changed: true })
  assert.deepEqual(await mattermost(world, 'GET', 'name'), { first: 'Ada' })
})
