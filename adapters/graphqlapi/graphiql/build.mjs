// Makes graphiql.html.gz, one page with all that it needs, of the packages in package-lock.json: `make graphiql`. With a folder it writes the page there, uncompressed.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const [modules, out] = process.argv.slice(2);
const read = (...path) => readFileSync(join(modules, ...path), "utf8").replace(/\n?\/[/*]# sourceMappingURL=.*$/gm, "").trimEnd();
const scripts = [
  read("react", "umd", "react.production.min.js"),
  read("react-dom", "umd", "react-dom.production.min.js"),
  read("graphql-ws", "umd", "graphql-ws.min.js"),
  read("graphiql", "graphiql.min.js"),
  readFileSync(new URL("page.js", import.meta.url), "utf8"),
];
const licences = ["react", "graphql", "graphql-ws", "graphiql"].map((name) => {
  const { version } = JSON.parse(read(name, "package.json"));
  let text = "";
  for (const file of ["LICENSE", "LICENSE.md"]) {
    try {
      text = read(name, file);
    } catch {}
  }
  if (!text) throw new Error(name + " has no licence");
  return name + " " + version + "\n\n" + text;
});
const style = read("graphiql", "graphiql.min.css") + "\nhtml,body,#graphiql{margin:0;height:100%}";
// In texts and patterns of a script a backslash more means the same, and ends no element.
const script = scripts.join("\n;\n").replace(/<\/(script)/gi, "<\\/$1").replaceAll("<!--", "<\\!--");
const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>GraphiQL</title>
<!--
${licences.join("\n\n").replaceAll("--", "- -")}
-->
<style>${style}</style></head>
<body><div id="graphiql"></div>
<script>${script}</script>
</body></html>
`;
writeFileSync(join(out, "graphiql.html"), page);
writeFileSync(join(out, "graphiql.html.gz"), gzipSync(page, { level: 9 }));
