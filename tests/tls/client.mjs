import { readFileSync } from "node:fs";
import { connect as connectHttp2, createSecureServer } from "node:http2";
import { createServer, request } from "node:https";
import { connect, createServer as createTcpServer } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";

const file = (name) => readFileSync(`${import.meta.dirname}/${name}`);
const [ca, identity] = [file("authority.pem"), { key: file("key.pem"), cert: file("certificate.pem") }];

const listen = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
const attempt = (promise) => promise.catch((error) => error.code ?? error.cause?.message ?? error.message);
const read = async (stream) => Buffer.concat(await Array.fromAsync(stream)).toString();

const https = (port, options) =>
  new Promise((resolve, reject) =>
    request({ host: "127.0.0.1", port, ...options }, (response) => resolve(read(response))).on("error", reject).end());

async function http2() {
  const server = createSecureServer(identity, (request, response) => response.end(`http2 ${request.url}`));
  const session = connectHttp2(`https://127.0.0.1:${await listen(server)}`, { ca });
  const answer = await read(session.request({ ":path": "/a" }));
  session.close();
  server.close();
  return answer;
}

// A connection that becomes secure after a first plain word, as drivers of databases do it.
async function upgraded() {
  const server = createTcpServer((socket) => {
    socket.once("data", () => {
      socket.write("S");
      const secure = new TLSSocket(socket, { isServer: true, ...identity });
      secure.on("data", (data) => secure.end(`secure ${data}`));
    });
  });
  const port = await listen(server);
  const plain = connect(port, "127.0.0.1", () => plain.write("S?"));
  await new Promise((resolve) => plain.once("data", resolve));
  const secure = connectTls({ socket: plain, ca, servername: "localhost" }, () => secure.write("word"));
  const answer = await read(secure);
  server.close();
  return answer;
}

export const handler = async () => {
  const server = createServer(identity, (request, response) => response.end("https"));
  const port = await listen(server);
  const answers = {
    named: await attempt(https(port, { ca })),
    unnamed: await attempt(https(port)),
    fetched: await attempt(fetch(`https://127.0.0.1:${port}`).then((response) => response.text())),
    http2: await attempt(http2()),
    upgraded: await attempt(upgraded()),
  };
  server.close();
  server.closeAllConnections();
  return answers;
};
