// The official mock server of Beep Boop Persist, as it lies in the package's tests, on a port.
//
//     node persist_mock.js PACKAGES PORT
//
// Law: it starts that server, and adds nothing.
'use strict'
const { createRequire } = require('module')

const [packages, port] = process.argv.slice(2)
const server = createRequire(packages + '/package.json')('beepboop-persist/test/mock-server')()
server.listen(Number(port), '127.0.0.1')
