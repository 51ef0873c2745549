// The SDK and a terminal. Arguments: the gateway's address, a token for everything, and one that may read.
import assert from "node:assert/strict"
import { createOpencodeClient } from "@opencode-ai/sdk"
import WebSocket from "ws"

const [url, all, read] = process.argv.slice(2)
const basic = (token) => "Basic " + Buffer.from("opencode:" + token).toString("base64")

for (const Authorization of [`Bearer ${all}`, basic(all)]) {
  const client = createOpencodeClient({ baseUrl: url, headers: { Authorization } })
  assert.ok((await client.config.get()).data)
  const session = await client.session.create({ body: { title: "by the SDK" } })
  assert.match(session.data.id, /^ses_/)
  assert.ok((await client.session.list()).data.some(({ id }) => id === session.data.id))
  const events = await client.event.subscribe()
  const first = await events.stream.next()
  assert.equal(first.value.type, "server.connected")
  await events.stream.return()
  await client.session.delete({ path: { id: session.data.id } })
}
console.log("ok: the SDK, with Bearer and with Basic")

const reader = createOpencodeClient({ baseUrl: url, headers: { Authorization: basic(read) } })
assert.ok((await reader.session.list()).data)
const { error } = await reader.session.create({ body: { title: "not allowed" } })
assert.match(error.data.message, /requires write/)
console.log("ok: a token that may read, and why it may not write")

const headers = { authorization: basic(all), "content-type": "application/json" }
const post = async (path, body, extra) => {
  const response = await fetch(url + path, { method: "POST", headers: { ...headers, ...extra }, body })
  assert.equal(response.status, 200)
  return response.json()
}
const { id } = await post("/pty", JSON.stringify({ command: "/bin/sh", args: [] }))
const { ticket } = await post(`/pty/${id}/connect-token`, undefined, { "x-opencode-ticket": "1" })
const address = `${url.replace("http", "ws")}/pty/${id}/connect?cursor=0&ticket=${ticket}`
const socket = new WebSocket(address)
await new Promise((resolve, reject) => {
  let text = ""
  setTimeout(() => reject(new Error(`the terminal said: ${text}`)), 10000).unref()
  socket.on("open", () => socket.send("echo $((6*7))\n"))
  socket.on("error", reject)
  socket.on("message", (data) => {
    text += data.toString()
    if (text.includes("42")) resolve()
  })
})
socket.close()
const again = await new Promise((resolve) => {
  const second = new WebSocket(address)
  second.on("unexpected-response", (_, response) => resolve(response.statusCode))
  second.on("open", () => resolve("open"))
  second.on("error", () => {})
})
assert.equal(again, 403)
console.log("ok: a terminal by ticket, once")
process.exit(0)
