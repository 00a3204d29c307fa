'use strict'

// An app to be tested: a bot that counts the steps of a conversation. Where the store fails it tries once more.
module.exports = function bot (kv) {
  return {
    async hear (conversation) {
      const key = `convo::${conversation}`
      const step = (await kv.get(key) || 0) + 1
      await kv.set(key, step).catch(() => kv.set(key, step))
      return step
    }
  }
}
