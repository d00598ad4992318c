// Asks follow.mjs for each token that is read, one JSON object a line, and answers one a line.
import { createInterface } from 'node:readline';
import { follow } from './follow.mjs';

const verify = follow(process.argv[2], process.env.XTEAM_API_KEY, { issuer: process.argv[3], audience: process.argv[4], maxStaleness: 3000 });

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    told = { sub: (await verify(JSON.parse(line).token)).sub };
  } catch (err) {
    told = { code: err.code ?? 'none', message: String(err.message) };
  }
  process.stdout.write(JSON.stringify(told) + '\n');
}
process.exit(0); // for what follows never ends
