'use strict'

const assert = require('node:assert/strict')
const { execFile } = require('node:child_process')
const { after, before, beforeEach, test } = require('node:test')
const { promisify } = require('node:util')
const { mattermost, openWorld, persist } = require('../world.js')

let world, checkpoint

async function greeter (who) {
  const env = { ...process.env, ...world.env }
  const { stdout } = await promisify(execFile)(process.execPath, [require.resolve('../app/greeter.js'), who], { env })
  return stdout.trim()
}

before(async () => {
  world = await openWorld()
  await world.control('POST', '/clock', { freeze: true, move_to: '2016-12-31T23:59:59.5Z' })
  assert.equal(await greeter('Ada'), 'Nice to meet you, Ada');
  ({ checkpoint } = await world.control('POST', '/checkpoints'))
})
beforeEach(() => world.control('POST', `/checkpoints/${checkpoint}/rollback`))
after(() => world.end())

test('an app in another process at the turn of a year', async () => {
  assert.equal(await greeter('Ada'), 'Hello again, Ada')
  await world.control('POST', '/clock', { shift: 1 })
  assert.equal(await greeter('Ada'), 'Happy 2017, Ada')
  assert.equal(await greeter('Grace'), 'Nice to meet you, Grace')
})

test('the next test finds the old year, and those who were there', async () => {
  assert.equal(await greeter('Ada'), 'Hello again, Ada')
  assert.equal(await greeter('Grace'), 'Nice to meet you, Grace')
})

test('what other files do is not seen here', async () => {
  assert.deepEqual(await persist(world).list(), ['seen::Ada'])
  assert.deepEqual(await mattermost(world, 'GET', 'name'), {})
})
