// Sockets of the official client, driven line by line: a command in JSON on standard input, an answer or an event in JSON on
// standard output.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const sockets = new Map();

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function open({ name, url, token, options }) {
  const socket = io(url, {
    path: "/v1/socket.io",
    transports: ["websocket"],
    auth: { token },
    forceNew: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 500,
    ...options,
  });
  sockets.set(name, socket);
  socket.on("connect", () => say({ name, event: "connect" }));
  socket.on("disconnect", (reason) => say({ name, event: "disconnect", data: reason }));
  socket.on("connect_error", ({ message, data }) => say({ name, event: "connect_error", data: { message, data } }));
  socket.onAny((event, data) => say({ name, event, data }));
}

const commands = {
  open,
  ask: async ({ id, name, event, data }) => say({ id, answer: await sockets.get(name).emitWithAck(event, data) }),
  close: ({ name }) => sockets.get(name).disconnect(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
for (const socket of sockets.values()) socket.disconnect();
