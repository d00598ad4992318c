// The audits of the public suite for servers of GraphQL over HTTP, as JSON.
import { auditServer } from "graphql-http";

const [url] = process.argv.slice(2);
const results = await auditServer({ url: url + "/graphql", fetchFn: fetch });
const report = [];
for (const r of results) {
  report.push({ id: r.id, name: r.name, status: r.status, reason: r.reason ?? "" });
  if (r.response?.body && !r.response.bodyUsed) await r.response.body.cancel();
}
console.log(JSON.stringify(report));
