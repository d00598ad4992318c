// A verifier as jose's documentation has it, with its defaults. It reads one JSON object a line and answers one a line.
import { createInterface } from 'node:readline';
import { calculateJwkThumbprint, createRemoteJWKSet, jwtVerify } from 'jose';

// The clock that jose's caching asks, so that nobody has to wait for it.
const now = Date.now;
let later = 0;
Date.now = () => now() + later * 1000;

const [url, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(url));

async function answer(asked) {
  if (asked.later !== undefined) {
    later += asked.later;
    return {};
  }
  if (asked.thumbprints) {
    const set = await (await fetch(url)).json();
    return { thumbprints: await Promise.all(set.keys.map(k => calculateJwkThumbprint(k))) };
  }
  const { payload, protectedHeader } = await jwtVerify(asked.token, keys, { issuer, audience, typ: 'at+jwt' });
  return { sub: payload.sub, alg: protectedHeader.alg, kid: protectedHeader.kid };
}

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = await answer(JSON.parse(line));
  } catch (err) {
    told = { code: err.code ?? 'none', message: String(err.message) };
  }
  process.stdout.write(JSON.stringify(told) + '\n');
}
