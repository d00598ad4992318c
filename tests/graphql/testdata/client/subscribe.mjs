// A client of the public package subscribes, is cut at the revocation of its user, and connects again with another token.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, password] = process.argv.slice(2);

async function ask(query, variables, token) {
  const res = await fetch(url + "/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(token ? { Authorization: "Bearer " + token } : {}) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await res.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

const login = async (username) =>
  (await ask("mutation($in: LoginInput!) { login(input: $in) { accessToken } }", { in: { username, password } })).login.accessToken;

let token = await login("ann");
const boss = await login("root");
const closed = [];
let connected = 0;
function later() {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
}
const first = later();
const again = later();
const kinds = [];
const client = createClient({
  url: url.replace("http", "ws") + "/graphql",
  webSocketImpl: WebSocket,
  connectionParams: () => ({ Authorization: "Bearer " + token }),
  on: {
    connected: () => {
      connected++;
      if (connected === 2) again.resolve();
    },
    closed: (e) => closed.push({ code: e.code, reason: e.reason, at: Date.now() }),
  },
});
// The client takes 4401 for final: whoever has another token subscribes again.
function subscribe() {
  client.subscribe(
    { query: "subscription { securityEvents { kind subject } }" },
    {
      next: ({ data }) => {
        kinds.push(data.securityEvents.kind);
        first.resolve();
      },
      error: async (e) => {
        if (e.code !== 4401 || connected > 1) {
          first.reject(e);
          again.reject(e);
          return;
        }
        token = await login("ann");
        subscribe();
      },
      complete: () => {},
    },
  );
}
subscribe();
// The subscription is under way when an event of one's own comes back.
const told = setInterval(() => login("ann").catch(() => {}), 200);
await first.promise;
clearInterval(told);
const before = Date.now();
const { revokeUserTokens } = await ask("mutation { revokeUserTokens(userId: \"ann\") { sessionsEnded } }", {}, boss);
await again.promise;
console.log(JSON.stringify({
  ended: revokeUserTokens.sessionsEnded > 0, code: closed[0]?.code, reason: closed[0]?.reason, within: closed[0]?.at - before, connected, kind: kinds[0],
}));
await client.dispose();
process.exit(0);
