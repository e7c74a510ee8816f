// A js-ipfs node without any network: argv are its folder, the port of its RPC and a file to add. Ends with stdin.
import { readFile } from 'node:fs/promises'

// js-ipfs was written for a newer Node than 20 is in this one respect.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((...both) => { [resolve, reject] = both })
  return { promise, resolve, reject }
}
const { create } = await import('ipfs-core')
const { HttpApi } = await import('ipfs-http-server')

const [repo, port, file] = process.argv.slice(2)
const Addresses = { API: `/ip4/127.0.0.1/tcp/${port}`, Gateway: '', Swarm: [] }
const node = await create({ repo, offline: true, silent: true, config: { Addresses, Bootstrap: [] } })
await new HttpApi(node, {}).start()
const { cid } = await node.add(await readFile(file), { cidVersion: 1, rawLeaves: true })
console.log(cid.toString())
process.stdin.on('end', () => process.exit(0)).resume()
