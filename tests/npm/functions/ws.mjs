// ws: talks to a server of its own over a WebSocket
// => {"echo":"hello"}
import { WebSocket, WebSocketServer } from "ws";

export const handler = async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  server.on("connection", (socket) => socket.on("message", (data) => socket.send(`${data}`)));
  await new Promise((resolve) => server.on("listening", resolve));
  const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}`);
  socket.on("open", () => socket.send("hello"));
  const echo = await new Promise((resolve, reject) => socket.on("message", (data) => resolve(`${data}`)).on("error", reject));
  socket.close();
  server.close();
  return { echo };
};
