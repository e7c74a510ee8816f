// The JavaScript implementation of IPFS, driven by test_js_ipfs.py: one JSON request on stdin, one answer on stdout.
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CarReader, CarWriter } from '@ipld/car'
import { MemoryBlockstore } from 'blockstore-core'
import { exporter } from 'ipfs-unixfs-exporter'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const same = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index])

// Cut a file into blocks; with `car`, write them to that archive.
async function cut ({ file, chunk, width, rawLeaves, cidVersion, car }) {
  const blocks = new Map()
  const store = new MemoryBlockstore()
  const put = store.put.bind(store)
  store.put = (cid, bytes, options) => {
    blocks.set(cid.toString(), { cid, bytes })
    return put(cid, bytes, options)
  }
  const options = {
    cidVersion,
    rawLeaves,
    chunker: fixedSize({ chunkSize: chunk }),
    layout: balanced({ maxChildrenPerNode: width }),
    wrapWithDirectory: false,
    reduceSingleLeafToSelf: true
  }
  let root
  for await (const entry of importer([{ content: await readFile(file) }], store, options)) root = entry.cid
  if (car) {
    const { writer, out } = CarWriter.create([root])
    const written = pipeline(Readable.from(out), createWriteStream(car))
    for (const block of blocks.values()) await writer.put(block)
    await writer.close()
    await written
  }
  return { cid: root.toString(), blocks: [...blocks.keys()].sort() }
}

// Read an archive from a file or a gateway, hash every block, and put the file under its root together.
async function join ({ car, url, out }) {
  const response = url ? await fetch(url) : null
  if (response && !response.ok) throw new Error(`the gateway answered ${response.status}`)
  const source = response ? response.body : createReadStream(car)
  const reader = await CarReader.fromIterable(source)
  const [root] = await reader.getRoots()
  const store = new MemoryBlockstore()
  const blocks = []
  for await (const { cid, bytes } of reader.blocks()) {
    if (!same((await sha256.digest(bytes)).digest, cid.multihash.digest)) throw new Error(`${cid} has other bytes`)
    blocks.push(cid.toString())
    await store.put(cid, bytes)
  }
  const parts = []
  for await (const part of (await exporter(root, store)).content()) parts.push(part)
  await writeFile(out, Buffer.concat(parts))
  return { cid: root.toString(), blocks }
}

// Every way to write a CID that the implementation knows by itself.
async function spell ({ digest }) {
  const multihash = (await import('multiformats/hashes/digest')).create(0x12, Buffer.from(digest, 'hex'))
  const v0 = CID.createV0(multihash)
  return { v0: v0.toString(), dagPb: v0.toV1().toString(), raw: CID.createV1(0x55, multihash).toString() }
}

const commands = { cut, join, spell }
const { command, cases } = JSON.parse(await readFile('/dev/stdin', 'utf8'))
const answers = []
for (const one of cases) answers.push(await commands[command](one))
process.stdout.write(JSON.stringify(answers))
