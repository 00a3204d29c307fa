'use strict'

// Stories of an app that keeps its values with Beep Boop's official client, set up by the environment alone.
//
// Each story is run by test_real_clients.py, against a double of its own. What the client stored is looked at from Python
// afterwards.

const assert = require('node:assert/strict')
const test = require('node:test')
const { promisify } = require('node:util')
const beepboopPersist = require('beepboop-persist')

const KEYS = ['users:U1', 'convo::42', 'a key', 'a/b']

function client (options) {
  const kv = beepboopPersist(options)
  assert.equal(kv.type, 'beepboop', 'the environment names a token and an address')
  return {
    get: promisify(kv.get),
    mget: promisify(kv.mget),
    set: promisify(kv.set),
    del: promisify(kv.del),
    list: promisify(kv.list)
  }
}

test('the example of the documentation', async () => {
  const kv = client()

  await kv.set('a key', { khaled: 'water', life: 100 })

  assert.deepEqual(await kv.get('a key'), { khaled: 'water', life: 100 })
  assert.deepEqual(await kv.list('ke'), [])
  assert.deepEqual(await kv.list(), ['a key'])
  await kv.del('a key')
  assert.equal(await kv.get('a key'), undefined)
  assert.deepEqual(await kv.list(), [])
})

test('any JSON value comes back under any key', async () => {
  const kv = client()
  const values = [{ step: 2, said: ['hé', '🎉', '\u0000'] }, [], 'a text', 0.1, true, false, null, '']

  for (const key of KEYS) {
    for (const value of values) {
      assert.deepEqual(await kv.set(key, value), value)
      assert.deepEqual(await kv.get(key), value)
    }
    await kv.set(key, { under: key })
  }

  assert.deepEqual(await kv.list(), ['a key', 'a/b', 'convo::42', 'users:U1'])
  assert.deepEqual(await kv.mget(KEYS), KEYS.map(key => ({ under: key })))
})

test('texts are stored as they are with serialize false', async () => {
  const kv = client({ serialize: false })

  for (const key of KEYS) {
    assert.equal(await kv.set(key, `as "${key}" is`), `as "${key}" is`)
  }

  for (const key of KEYS) {
    assert.equal(await kv.get(key), `as "${key}" is`)
  }
  assert.deepEqual(await kv.mget(KEYS), KEYS.map(key => `as "${key}" is`))
  assert.equal(await kv.set('empty', ''), '')
  assert.equal(await kv.get('empty'), '')
})

test('a missing key is undefined', async () => {
  for (const kv of [client(), client({ serialize: false })]) {
    for (const key of KEYS) {
      assert.equal(await kv.get(key), undefined)
      await kv.del(key)
    }
    assert.deepEqual(await kv.mget(KEYS), KEYS.map(() => undefined))
    assert.deepEqual(await kv.mget([]), [])
    assert.deepEqual(await kv.list(), [])
  }
})

// Node writes the head of a request in the encoding of its body: UTF-8 for a text, Latin-1 where there is none.
test('a key beyond ASCII is another one with a body than without', async () => {
  const kv = client()

  await kv.set('é', 'set')

  assert.equal(await kv.get('é'), undefined)
  await kv.del('é')
  assert.deepEqual(await kv.list('é'), ['é'])
  assert.deepEqual(await kv.mget(['é']), ['set'])
  assert.equal(await kv.get(encodeURIComponent('é')), 'set')
})

test('mget keeps the order of the keys', async () => {
  const kv = client()
  await kv.set('one', 1)
  await kv.set('two', 2)

  assert.deepEqual(await kv.mget(['two', 'none', 'one', 'two']), [2, undefined, 1, 2])
})

test('list takes begins literally', async () => {
  const kv = client()
  for (const key of [...KEYS, 'a.b', 'axb', 'A', 'é', '10%', '1+1', '1 1']) {
    await kv.set(encodeURIComponent(key), key)
  }

  assert.deepEqual(await kv.list('a'), ['a key', 'a.b', 'a/b', 'axb'])
  assert.deepEqual(await kv.list('a.'), ['a.b'])
  assert.deepEqual(await kv.list('a '), ['a key'])
  assert.deepEqual(await kv.list('a/'), ['a/b'])
  assert.deepEqual(await kv.list('convo::'), ['convo::42'])
  assert.deepEqual(await kv.list('é'), ['é'])
  assert.deepEqual(await kv.list('10%'), ['10%'])
  assert.deepEqual(await kv.list('1+'), ['1+1'])
  assert.deepEqual(await kv.list('z'), [])
  assert.equal((await kv.list('')).length, 11)
})

test('what is deleted is gone', async () => {
  const kv = client()
  for (const key of [...KEYS, 'kept']) {
    await kv.set(key, key)
  }

  for (const key of KEYS) {
    await kv.del(key)
    assert.equal(await kv.get(key), undefined)
  }

  assert.deepEqual(await kv.list(), ['kept'])
})

test('many at once', async () => {
  const kv = client()
  const keys = Array.from({ length: 100 }, (_, number) => `many:${number}`)

  await Promise.all(keys.map(key => kv.set(key, { key })))

  assert.deepEqual(await Promise.all(keys.map(key => kv.get(key))), keys.map(key => ({ key })))
  assert.deepEqual(await kv.mget(keys), keys.map(key => ({ key })))
})

test('the largest value is 262144 bytes', async () => {
  const kv = client({ serialize: false })
  const largest = '\u0001'.repeat(262144) // six times as much on the wire

  assert.equal(await kv.set('large', largest), largest)
  await assert.rejects(kv.set('large', largest + 'x'), {
    message: 'value has 262145 bytes: expected at most 262144 bytes of UTF-8'
  })
  await assert.rejects(kv.set('large', 'é'.repeat(131073)), {
    message: 'value has 262146 bytes: expected at most 262144 bytes of UTF-8'
  })

  assert.equal(await kv.get('large'), largest)
})

test('the error of a refusal is shown', async () => {
  const kv = client()

  await assert.rejects(kv.mget(['one', 2]), { message: 'keys[1] is a number: expected {"keys": ["<string>", ...]}' })
  await assert.rejects(kv.mget(Array(10001).fill('key')), { message: 'keys holds 10001 keys: expected at most 10000' })
  await assert.rejects(kv.set('key', undefined), { message: 'cannot set a value of undefined' })
  await assert.rejects(kv.set('', 'no key'), { message: 'the key is empty: expected /persist/kv/<key>' })
})

test('an unknown token is refused', async () => {
  process.env.BEEPBOOP_TOKEN = 'nobody'
  const kv = client()
  const refused = { message: 'Unexpected response (401)' }

  await assert.rejects(kv.set('key', 1), refused)
  await assert.rejects(kv.get('key'), refused)
  await assert.rejects(kv.mget(['key']), refused)
  await assert.rejects(kv.list(), refused)
  await assert.rejects(kv.del('key'), refused)
})

test('reads what Python wrote', async () => {
  const kv = client()
  const plain = client({ serialize: false })

  for (const key of KEYS) {
    assert.deepEqual(await kv.get(key), { under: key, step: 2 })
  }
  assert.equal(await plain.get('name'), 'Ada Lovelace, née Byron 🧮')
  assert.equal(await plain.get('convo::42'), '{"under":"convo::42","step":2}')
  assert.deepEqual(await plain.mget(['none', 'name']), [undefined, 'Ada Lovelace, née Byron 🧮'])
  assert.deepEqual(await kv.list('convo::'), ['convo::42'])
  assert.equal(await kv.get('é'), 'Latin-1')
})
