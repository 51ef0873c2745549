// The web page in Chromium. Arguments: the browser, the gateway's address, the port of a page whose origin it was
// started with, a token for everything, and one that may read.
import assert from "node:assert/strict"
import { createServer } from "node:http"
import { chromium } from "playwright-core"

const [executablePath, url, port, all, read] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] })
const encode = (token) => Buffer.from("opencode:" + token).toString("base64")

/** Opens the page and reports the requests that failed. */
async function open(address, password) {
  const credentials = password && { username: "opencode", password }
  const context = await browser.newContext({ httpCredentials: credentials })
  const page = await context.newPage()
  const denied = []
  const events = page.waitForResponse((response) => response.url().includes("/event"), { timeout: 30000 })
  page.on("response", (response) => {
    if (response.status() >= 400) denied.push(`${response.status()} ${response.request().method()} ${new URL(response.url()).pathname}`)
  })
  await page.goto(address)
  assert.equal((await events).status(), 200)
  await page.waitForSelector("#root *, [data-component]", { timeout: 30000 })
  await page.waitForTimeout(2000)
  assert.equal(await page.title(), "OpenCode")
  return { page, denied, context }
}

for (const [name, token] of [["everything", all], ["read", read]]) {
  const dialog = await open(url, token)
  assert.deepEqual(dialog.denied.filter((line) => !line.startsWith("401 ")), [], name)
  await dialog.context.close()
  const link = await open(`${url}/?auth_token=${encodeURIComponent(encode(token))}`)
  assert.deepEqual(link.denied, [], name)
  assert.ok(!link.page.url().includes("auth_token"), link.page.url())
  await link.context.close()
  console.log(`ok: the web page with ${name}, by dialog and by link`)
}

const server = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<title>other</title>"))
await new Promise((resolve) => server.listen(Number(port), "localhost", resolve))
const elsewhere = async (host) => {
  const page = await (await browser.newContext()).newPage()
  await page.goto(`http://${host}:${port}`).catch(() => {})
  return page.evaluate(
    async ([url, token, basic]) => {
      const ask = async (method, path, authorization, body) => {
        const response = await fetch(url + path, { method, body, headers: { authorization, "content-type": "application/json" } })
        return response.status
      }
      const socket = (address) =>
        new Promise((resolve) => {
          const socket = new WebSocket(address)
          socket.onopen = () => resolve("open")
          socket.onerror = () => resolve("refused")
        })
      const events = new Promise((resolve) => {
        const source = new EventSource(`${url}/event?auth_token=${token}`)
        source.onmessage = (event) => resolve(JSON.parse(event.data).type)
        source.onerror = () => resolve("refused")
      })
      const headers = { authorization: basic, "content-type": "application/json" }
      const pty = await (await fetch(url + "/pty", { method: "POST", headers, body: JSON.stringify({ command: "/bin/sh", args: [] }) })).json()
      const ticket = await fetch(`${url}/pty/${pty.id}/connect-token`, { method: "POST", headers: { ...headers, "x-opencode-ticket": "1" } })
      const connect = `${url.replace("http", "ws")}/pty/${pty.id}/connect`
      const denied = await fetch(url + "/config", { headers: { authorization: "Bearer wrong" } })
      return {
        read: await ask("GET", "/config", basic),
        write: await ask("POST", "/session", basic, "{}"),
        denied: [denied.status, (await denied.json()).name],
        events: await events,
        ticket: await socket(`${connect}?ticket=${(await ticket.json()).ticket}`),
        link: await socket(`${connect}?auth_token=${token}`),
        nothing: await socket(connect),
      }
    },
    [url, all, "Basic " + encode(all)],
  )
}
assert.deepEqual(await elsewhere("localhost"), {
  read: 200,
  write: 200,
  denied: [401, "UnauthorizedError"],
  events: "server.connected",
  ticket: "open",
  link: "open",
  nothing: "refused",
})
console.log("ok: a page of another origin, its events and its terminals")
server.close()
await browser.close()
process.exit(0)
