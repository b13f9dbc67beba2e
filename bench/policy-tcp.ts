/** The two ends of bench:policy's TCP: `serve ADDRESS` echoes until its standard input ends; `ask ADDRESS MILLISECONDS` prints rates as JSON. */
import { connect, createServer, type Socket } from "node:net";

const PORT = 8080;
const [role, host = "", milliseconds = "1000"] = process.argv.slice(2);

if (role === "serve") {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("data", (bytes) => socket.write(bytes));
    socket.on("error", () => socket.destroy());
  });
  process.stdin.on("end", () => process.exit()).resume(); // whoever started it is gone
  server.listen({ port: PORT, host, backlog: 1024 }, () => console.log("ready"));
} else {
  const transactions = await rate(await transact());
  const connections = await rate(reconnect);
  console.log(JSON.stringify({ transactions, connections }));
  process.exit();
}

/** How often a second `once` can be done, one after the other. */
async function rate(once: () => Promise<void>): Promise<number> {
  for (let i = 0; i < 50; i++) await once();
  const began = performance.now();
  let count = 0;
  for (; performance.now() - began < Number(milliseconds); count++) await once();
  return (count * 1000) / (performance.now() - began);
}

async function opened(): Promise<Socket> {
  const socket = connect({ host, port: PORT, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

async function transact(): Promise<() => Promise<void>> {
  const socket = await opened();
  return () => echo(socket);
}

function echo(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("data", () => resolve());
    socket.write("x");
  });
}

async function reconnect(): Promise<void> {
  const socket = await opened();
  await echo(socket);
  // A reset leaves no port in TIME_WAIT, of which there are not enough.
  socket.resetAndDestroy();
}
