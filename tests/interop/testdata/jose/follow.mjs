// Judges XTeam's access tokens in another service: by its public keys, and by what it says was revoked. While that is not known it refuses every token.
import { createRemoteJWKSet, jwtVerify } from 'jose';

const kinds = ['jti', 'sid', 'user', 'kid', 'epoch', 'issued_before', 'api_key'];

// base is an https URL; apiKey has the scope revocations:read. What comes back throws for a token that is not to be taken, else answers its claims.
export function follow(base, apiKey, { issuer = 'xteam', audience = 'xteam', maxStaleness = 5000 } = {}) {
  if (!/^(https:|http:\/\/(localhost|127\.0\.0\.1)(:|\/|$))/.test(base)) throw new Error('base must be https: the API key is sent there, and what it says is believed');
  if (!/^[\w.-]+$/.test(apiKey)) throw new Error('apiKey has characters that no API key has');
  const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', base));
  const revoked = new Map(); // kind:value to the least generation that is good, and the time after which it may be forgotten
  let epoch = 0, before = -Infinity, goodUntil = -Infinity;

  function add({ kind, value, min_gen = Infinity, until }) {
    if (!kinds.includes(kind)) throw new Error(`a kind of revocation that is not known here: ${kind}`);
    if (kind === 'epoch') epoch = Math.max(epoch, Number(value));
    if (kind === 'issued_before') before = Math.max(before, Date.parse(value));
    const old = revoked.get(`${kind}:${value}`) ?? { least: 0, until: 0 };
    revoked.set(`${kind}:${value}`, { least: Math.max(old.least, min_gen), until: Math.max(old.until, until ? Date.parse(until) : Infinity) });
  }
  async function listen() { // without Last-Event-ID each connection begins with everything, so a reset is no news
    const asked = performance.now(), quiet = new AbortController(), timer = setTimeout(() => quiet.abort(), maxStaleness);
    try {
      const answer = await fetch(new URL('/api/v1/revocations', base), { headers: { 'X-API-Key': apiKey }, redirect: 'error', signal: quiet.signal });
      if (!answer.ok) throw Object.assign(new Error(`the feed answers ${answer.status}`), { wait: 1000 * answer.headers.get('retry-after') });
      let rest = '';
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
        const events = (rest + text).split('\n\n');
        rest = events.pop();
        for (const [, event, data] of events.map(e => /^event: (.*)\ndata: (.*)$/m.exec(e)).filter(Boolean)) {
          const said = JSON.parse(data);
          if (event === 'snapshot') said.entries.forEach(add);
          if (event === 'revocation') add(said);
          if (event === 'heartbeat') goodUntil = asked + said.elapsed_ms - said.age_ms + maxStaleness; // so what it was on its way counts too
        }
        timer.refresh();
        if (performance.now() - asked > 900_000) return; // two clocks part
      }
    } finally { clearTimeout(timer); quiet.abort(); }
  }
  (async () => { for (;;) { // chance parts those who lost one server
    const wait = await listen().catch(err => { console.error('revocations:', err.message); return err.wait; });
    await new Promise(done => setTimeout(done, (wait || 500) * (1 + Math.random())));
  } })();
  setInterval(() => revoked.forEach((r, name) => r.until < Date.now() && revoked.delete(name)), 60_000);

  return async function verify(token) {
    const { payload: c, protectedHeader: { kid } } = await jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt', algorithms: ['ES256'], clockTolerance: 30 });
    const named = ['jti:' + c.jti, 'sid:' + c.sid, 'kid:' + kid].some(name => revoked.has(name)) || !(c.gen >= (revoked.get('user:' + c.sub)?.least ?? 0));
    if (named || !(c.ep >= epoch) || !(Math.floor(c.iat * 1000) > before)) throw Object.assign(new Error('the token was revoked'), { code: 'token_revoked' });
    if (!(performance.now() < goodUntil)) throw Object.assign(new Error('what is revoked is not known'), { code: 'revocations_stale' });
    return c;
  };
}
