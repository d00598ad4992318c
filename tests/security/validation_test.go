package security_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

// TestValidation sends hostile values to everything that is served, as anybody, as a user, as an administrator and as the operator: the routes are those that the product describes
// itself, and the fields those that its GraphQL schema tells of, so what is new is covered as it comes. Each is to be answered, with success or with a refusal of 4xx, in bounded
// time and memory, and nothing that was planted is in the log.
func TestValidation(t *testing.T) {
	a := newAudit(t)
	t.Run("routes", a.routes)
	t.Run("fields", a.fields)
	t.Run("sockets", a.sockets)
	t.Run("lists", a.lists)
	a.sums()
}

// secretMark is in every hostile text: whatever field it was put into, no log may tell it.
const secretMark = "Planted!4711!secret#of(validation)"

// auditor is what asks.
type auditor struct {
	t       *testing.T
	n       *node
	callers []*caller
	turn    int
	asked   int
	worst   time.Duration
	by      map[int]int // answers by status
	deepest uint64
	shown   int
}

// caller is as whom it is asked.
type caller struct {
	name     string // empty: nobody
	operator bool
	token    string
	id       string
}

func newAudit(t *testing.T) *auditor {
	a := &auditor{t: t, n: one(t, plan{introspect: true}), by: map[int]int{}}
	a.n.user("keeper", account.RoleAdmin) // so that no other administrator is the last
	a.callers = []*caller{{}, {name: "ann"}, {name: "boss"}, {operator: true}}
	for _, c := range a.callers {
		if c.name != "" {
			c.id = a.n.user(c.name, map[bool]account.Role{true: account.RoleAdmin, false: account.RoleUser}[c.name == "boss"]).ID.String()
		}
		a.signIn(c)
	}
	return a
}

// signIn has a caller signed in, whatever became of them.
func (a *auditor) signIn(c *caller) {
	if c.name == "" || c.token != "" && a.n.get(v1+"/users/me", c.token).status == http.StatusOK {
		return
	}
	for range 2 {
		got := a.n.post(v1+"/auth/login", object{"username": c.name, "password": password}, "")
		if c.token = tokensOf(got).access; c.token != "" {
			return
		}
		// It may have been disabled, given another password or another role.
		as := func(path string, body object) {
			a.n.ask(request{method: "POST", path: v1 + "/admin/users/" + c.id + path, body: body, operator: true})
		}
		as("/enable", object{})
		as("/password", object{"password": password})
		as("/role", object{"role": map[bool]string{true: "admin", false: "user"}[c.name == "boss"]})
		a.n.ask(request{method: "DELETE", path: v1 + "/admin/blocked-ips?cidr=192.0.2.1", operator: true})
	}
	if c.token == "" {
		a.t.Fatalf("%s cannot be signed in any more", c.name)
	}
}

const (
	slowest   = 5 * time.Second
	greediest = 24 << 20 // bytes that are allocated for one request, beside eight times its own
)

// try asks, and judges the answer.
func (a *auditor) try(t *testing.T, c *caller, what string, r request, streams bool) answer {
	t.Helper()
	if a.turn++; racing && a.turn%41 != 0 { // every forty-first, which in the next route are others
		return answer{}
	}
	r.bearer, r.operator = c.token, c.operator
	req := r.build()
	req.Header["User-Agent"], req.Header["X-Request-Id"] = []string{"an agent\xff\u202e\x1b"}, []string{"\xff\x00"} // which are kept, and told
	within := 10 * time.Second
	if streams {
		within = 10 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(req.Context(), within)
	defer cancel()
	req = req.WithContext(ctx)
	h := a.n.api.Handler()
	if r.operator {
		h = httpapi.AsOperator(h)
	}
	w := httptest.NewRecorder()
	before, begun := allocations(), time.Now()
	h.ServeHTTP(w, req)
	took, taken := time.Since(begun), allocations()-before
	a.asked++
	a.by[w.Code]++
	a.worst, a.deepest = max(a.worst, took), max(a.deepest, taken)
	wrong := ""
	switch {
	case w.Code >= 500 && !(streams && w.Code == http.StatusServiceUnavailable && ctx.Err() != nil):
		wrong = "a fault"
	case took > slowest && !streams:
		wrong = fmt.Sprintf("it took %v", took)
	case taken > greediest+8*uint64(max(req.ContentLength, 0)):
		wrong = fmt.Sprintf("it took %d bytes", taken)
	case w.Code >= 400 && w.Body.Len() > 64<<10:
		wrong = fmt.Sprintf("the refusal has %d bytes", w.Body.Len())
	case w.Code >= 400 && strings.Contains(w.Body.String(), secretMark):
		wrong = "the refusal repeats what was sent"
	}
	got := answered(w.Code, w.Header(), w.Body.String())
	if wrong == "" && w.Code >= 400 && r.method != "HEAD" && got.code() == "" && got.text("error") == "" && got.problem() == "" {
		wrong = "the refusal has no code"
	}
	if wrong != "" {
		if a.shown++; a.shown <= 40 {
			t.Errorf("%s %.200s, %s as %s: %s: %d %.300s", r.method, r.path, what, c, wrong, w.Code, w.Body)
		}
	}
	if w.Code < 300 && r.method != "GET" && r.method != "HEAD" || w.Code == http.StatusUnauthorized || got.code() == "address_blocked" || got.code() == "forbidden" {
		for _, c := range a.callers {
			a.signIn(c)
		}
	}
	return got
}

func (c *caller) String() string {
	switch {
	case c.operator:
		return "the operator"
	case c.name == "":
		return "nobody"
	}
	return c.name
}

// allocations is how many bytes have been allocated by now.
func allocations() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// lists reads, page after page, everything that can be listed: nothing that was sent hides it.
func (a *auditor) lists(t *testing.T) {
	d := a.described(t)
	read := 0
	for _, path := range sorted(d.Paths) {
		op, ok := d.Paths[path]["get"]
		if _, streams := op.Responses["200"].Content["text/event-stream"]; !ok || streams || strings.Contains(path, "{") || path == "/ws" || path == "/graphql" || path == "/.well-known/jwks.json" || path == "/metrics" {
			continue
		}
		for _, c := range a.callers {
			if c.name == "" && !c.operator {
				continue
			}
			a.signIn(c)
			cursor := ""
			for pages := 0; pages < 400; pages++ {
				got := a.n.ask(request{method: "GET", path: path + cursor, bearer: c.token, operator: c.operator})
				if got.status >= 500 || cursor != "" && got.status != http.StatusOK {
					t.Errorf("GET %s as %s: %d %.300s", path+cursor, c, got.status, got.body)
				}
				if got.status == http.StatusOK {
					read++
				}
				next := got.text("next")
				if next == "" {
					break
				}
				cursor = "?limit=100&cursor=" + url.QueryEscape(next)
			}
		}
	}
	if read < 50 {
		t.Errorf("%d pages were read", read)
	}
}

// sums judges what all requests together have left.
func (a *auditor) sums() {
	log := a.n.log.String()
	for _, form := range []string{secretMark, base64.StdEncoding.EncodeToString([]byte(secretMark))[:30]} {
		if i := strings.Index(log, form); i >= 0 {
			a.t.Errorf("the log holds what was planted: …%s…", log[max(0, i-300):min(len(log), i+100)])
		}
	}
	if i := strings.Index(log, "panicked"); i >= 0 {
		a.t.Errorf("the log tells of a panic: %s", log[max(0, i-100):min(len(log), i+3000)])
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			a.t.Errorf("a line of the log is no JSON: %.300q", line)
		}
	}
	if a.shown > 40 {
		a.t.Errorf("%d more", a.shown-40)
	}
	a.t.Logf("%d requests; the longest took %v, the greediest %d KiB; answers by status: %v", a.asked, a.worst.Round(time.Millisecond), a.deepest>>10, a.by)
}

// named is a value with its name.
type named struct{ name, value string }

// sorted are the values of a map by their names.
func sorted[V any](m map[string]V) (names []string) { return slices.Sorted(maps.Keys(m)) }

// hostile are values in JSON that no field wants. The mark is in the texts, but for fields that are kept as they were said.
func hostile(field string) (all []named) {
	values := theHostile()
	for _, name := range sorted(values) {
		value := values[name]
		if slices.Contains([]string{"note", "reason", "name"}, field) { // whoever acts says these, and the log and the audit trail tell them
			value = strings.ReplaceAll(value, secretMark, "a note")
		}
		all = append(all, named{name, value})
	}
	return all
}

// theHostile and theBodies are made once: some are large.
var theHostile, theBodies = sync.OnceValue(hostileValues), sync.OnceValue(bodies)

func hostileValues() map[string]string {
	text := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	return map[string]string{
		"null": "null", "true": "true", "zero": "0", "minus one": "-1", "a fraction": "1.5", "beyond int64": "9223372036854775808", "beyond int64 below": "-9223372036854775809", "int64's greatest": "9223372036854775807",
		"int64's least": "-9223372036854775808", "a great exponent": "1e999999", "a small exponent": "1e-999999", "many digits": strings.Repeat("9", 5000), "NaN": "NaN", "Infinity": "-Infinity", "NaN as text": `"NaN"`, "minus zero": "-0", "leading zeros": "007", "hexadecimal": "0x10",
		"an empty text": `""`, "a blank": `" "`, "the mark": text(secretMark), "NUL": `"` + secretMark + `\u0000"`, "raw NUL": "\"" + secretMark + "\x00\"", "CR and LF": text(secretMark + "\r\nSet-Cookie: a=b\r\n"), "right to left": text("\u202e" + secretMark + "\u2066"),
		"a lone surrogate": `"` + secretMark + `\ud800"`, "invalid UTF-8": "\"" + secretMark + "\xff\xc0\x80\"", "no character": text("\ufffe\uffff" + secretMark), "ESC": text("\x1b]0;" + secretMark + "\x07"),
		"64 KiB": text(strings.Repeat(secretMark, 2000)), "1 MiB": text(strings.Repeat("x", 1<<20)), "900 KiB": text(strings.Repeat("x", 900<<10)), "combining marks": text("a" + strings.Repeat("\u0301", 10_000)),
		"a path": text("../../../../etc/passwd"), "a path of Windows": text(`..\..\C:\x`), "a URL": text("http://127.0.0.1:1/"), "SQL": text("' OR 1=1--"), "a parameter": text("$1"), "dollars": text("$$;drop table accounts;$$"), "a template": text("{{7*7}}${7*7}<%=7*7%>"), "a format": text("%s%n%x%d%!"), "HTML": text("<script>alert(1)</script>"),
		"an array": "[]", "an array of arrays": "[[[]]]", "an array of null": "[null]", "an array of a text": text("x") + ",", "many items": "[" + strings.TrimSuffix(strings.Repeat(`"x",`, 20_000), ",") + "]", "an object": "{}", "an object of objects": `{"a":{"a":{"a":{}}}}`, "names of JavaScript": `{"__proto__":{"admin":true},"constructor":{}}`,
		"deep arrays": strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000), "deep objects": strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000), "unclosed": "[[[", "a comment": "/* */ 1", "nothing": "", "single quotes": "'x'", "unquoted": "x",
		"the first time": text("0001-01-01T00:00:00Z"), "the last time": text("9999-12-31T23:59:59.999999999Z"), "beyond time": text("292278994-08-17T07:12:55Z"), "a leap second": text("2016-12-31T23:59:60Z"), "a time elsewhere": text("2026-01-01T00:00:00+23:59"), "a negative span": text("-1s"),
		"every address": text("0.0.0.0/0"), "every address of IPv6": text("::/0"), "a mapped network": text("::ffff:0:0/96"), "a zone": text("fe80::1%eth0"), "a strange address": text("010.0.0.1"),
		"an id that never was": text(strings.Repeat("ab", 16)), "the zero id": text(strings.Repeat("0", 32)), "an id in capitals": text(strings.Repeat("AB", 16)), "dots": text(strings.Repeat(".", 9000)), "a token without parts": text("e30.e30.e30"), "an API key without": text("xt_prd_" + strings.Repeat("A", 84)),
		"a long local part": text(strings.Repeat("a", 64<<10) + "@example.com"), "a quoted local part": text(`"` + strings.Repeat(`\"`, 3000) + `"@example.com`), "a comment in an address": text(strings.Repeat("(", 5000) + "a@example.com"),
	}
}

// bodies are whole bodies that are none, with their content type.
func bodies() map[string][2]string {
	const asJSON = "application/json"
	return map[string][2]string{
		"empty": {"", asJSON}, "blank": {" \n\t", asJSON}, "null": {"null", asJSON}, "an array": {"[]", asJSON}, "an empty object": {"{}", asJSON}, "a text": {`"x"`, asJSON}, "a number": {"1", asJSON}, "cut off": {`{"a`, asJSON}, "two values": {"{}{}", asJSON}, "trailing text": {"{} x", asJSON},
		"a byte order mark": {"\xef\xbb\xbf{}", asJSON}, "UTF-16": {"\xff\xfe{\x00}\x00", asJSON}, "NUL": {"\x00", asJSON}, "500,000 brackets": {strings.Repeat("[", 500_000), asJSON}, "500,000 objects": {strings.Repeat(`{"a":`, 150_000), asJSON}, "a name twice": {`{"a":1,"a":2}`, asJSON}, "1 MiB of names": {manyNames(), asJSON},
		"2 MiB": {`{"a":"` + strings.Repeat("x", 2<<20) + `"}`, asJSON}, "text": {"{}", "text/plain"}, "XML": {`<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`, "application/xml"}, "UTF-16 as it says": {"{}", "application/json; charset=utf-16"}, "a form": {"a=" + secretMark, "application/x-www-form-urlencoded"},
		"a sparse form": {"token[999999999]=1&a[b][c][d]=1", "application/x-www-form-urlencoded"}, "100,000 parameters": {strings.Repeat("&a", 100_000), "application/x-www-form-urlencoded"}, "bad escapes": {"token=%zz%", "application/x-www-form-urlencoded"}, "parts without a boundary": {"--x\r\n\r\n", "multipart/form-data"},
		"parts cut off": {"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.py\"\r\n\r\nabc", "multipart/form-data; boundary=x"}, "a content type of no sense": {"{}", "a/b/c;;;="}, "a long content type": {"{}", "application/" + strings.Repeat("x", 9000)}, "no content type": {"{}", ""}, "binary": {"\x7fELF\x02\x01\x01", "application/octet-stream"},
	}
}

func manyNames() string {
	var b strings.Builder
	b.WriteString("{")
	for i := range 70_000 {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	return strings.TrimSuffix(b.String(), ",") + "}"
}

// inPath are values of a path's parameter, as they stand in it.
var inPath = []string{"%00", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..", "%ff%fe", "%e2%80%ae", "a%0d%0aSet-Cookie:%20a=b", "%27%20OR%201=1--", "null", "-1", "0", "9223372036854775808", strings.Repeat("0", 32), strings.Repeat("ab", 16), strings.Repeat("AB", 16), strings.Repeat("a", 7000), "%25s%25n", "%2f", "*", "ann%20", "%F0%9F%92%A9", ".", "a;b=c", "a,b", "a@b@c"}

// described is what of OpenAPI is read.
type described struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas map[string]schema
	}
}

type operation struct {
	Parameters []struct {
		Name, In string
		Ref      string `json:"$ref"`
	}
	RequestBody struct {
		Content map[string]struct {
			Schema   schema
			Example  any
			Examples map[string]struct{ Value any }
		}
	}
	Responses map[string]struct{ Content map[string]any }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Format     string
	Properties map[string]schema
}

func (d *described) resolve(s schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return d.Components.Schemas[name]
	}
	return s
}

// value is one that a field may have.
func (s *schema) value(name string) any {
	known := map[string]any{"username": "bea", "email": "bea@example.com", "password": password, "current_password": password, "new_password": "another password of the tests", "cidr": "203.0.113.7", "user_id": "ann", "user": "ann", "dry_run": true}
	if v, ok := known[name]; ok {
		return v
	}
	switch s.Type {
	case "integer", "number":
		return 1
	case "boolean":
		return false
	case "array":
		return []any{}
	case "object":
		return object{}
	}
	return "x"
}

func (a *auditor) described(t *testing.T) (d described) {
	t.Helper()
	w := a.n.get("/openapi.json", "")
	if err := json.Unmarshal([]byte(w.body), &d); err != nil || len(d.Paths) < 50 {
		t.Fatalf("%v, %d paths", err, len(d.Paths))
	}
	return d
}

func (a *auditor) routes(t *testing.T) {
	d := a.described(t)
	for _, path := range sorted(d.Paths) {
		for _, method := range sorted(d.Paths[path]) {
			op := d.Paths[path][method]
			method = strings.ToUpper(method)
			if slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, method) {
				a.route(t, &d, method, path, op)
			}
		}
	}
}

// standing is a path with values in the place of its parameters that may be there.
func standing(path string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "":
			continue
		case "{user}":
			part = "ann"
		case "{kid}":
			part = keyIDOf() + "x"
		}
		if strings.HasPrefix(part, "{") {
			part = strings.Repeat("ab", 16)
		}
		b.WriteString("/" + part)
	}
	return b.String()
}

func (a *auditor) route(t *testing.T, d *described, method, path string, op operation) {
	_, streams := op.Responses["200"].Content["text/event-stream"]
	plain, whole := standing(path), theBodies()
	for _, c := range a.callers {
		a.try(t, c, "as it should be", request{method: method, path: plain}, streams)
		if strings.Contains(path, "{") {
			before, after, _ := strings.Cut(path, "{")
			_, after, _ = strings.Cut(after, "}")
			for _, value := range inPath {
				a.try(t, c, "with a hostile path", request{method: method, path: before + value + standing(after), body: map[bool]any{true: "{}"}[method != "GET"]}, streams)
			}
		}
		for _, p := range op.Parameters {
			if p.In != "query" {
				continue
			}
			for _, h := range hostile(p.Name) {
				value := h.value[:min(len(h.value), 8<<10)]
				a.try(t, c, h.name+" as "+p.Name, request{method: method, path: plain + "?" + p.Name + "=" + url.QueryEscape(strings.Trim(value, `"`))}, streams)
			}
			a.try(t, c, p.Name+" twice", request{method: method, path: plain + "?" + p.Name + "=1&" + p.Name + "=2"}, streams)
		}
		for _, query := range []string{"?%zz", "?" + strings.Repeat("&a", 3000), "?=", "?a;b", "?%00=%00", "?unknown=" + url.QueryEscape(secretMark)} {
			a.try(t, c, "with a hostile query", request{method: method, path: plain + query}, streams)
		}
		if method == "GET" {
			continue
		}
		for _, name := range sorted(whole) {
			b := whole[name]
			h := http.Header{"Content-Type": {b[1]}}
			a.try(t, c, name+" as the body", request{method: method, path: plain, body: b[0], header: h}, streams)
		}
		a.try(t, c, "compressed", request{method: method, path: plain, body: "\x1f\x8b\x08\x00", header: http.Header{"Content-Encoding": {"gzip"}}}, streams)
		for _, kind := range sorted(op.RequestBody.Content) {
			content := op.RequestBody.Content[kind]
			a.body(t, c, request{method: method, path: plain}, kind, d, d.resolve(content.Schema), content.Example, content.Examples)
		}
	}
}

// body puts every hostile value into every field of a body that is good in all others.
func (a *auditor) body(t *testing.T, c *caller, r request, kind string, d *described, s schema, example any, examples map[string]struct{ Value any }) {
	for _, e := range examples {
		example = e.Value
	}
	good, _ := example.(map[string]any)
	if good == nil {
		good = object{}
	}
	for name, of := range s.Properties {
		of = d.resolve(of)
		if _, ok := good[name]; !ok && kind != "application/json" || name == "username" || strings.Contains(name, "password") || name == "email" || name == "user_id" {
			good[name] = of.value(name)
		}
	}
	r.header = http.Header{"Content-Type": {kind}}
	for _, field := range sorted(s.Properties) {
		for _, h := range hostile(field) {
			name, value := h.name, h.value
			switch {
			case strings.HasPrefix(kind, "multipart/"):
				r.body, r.header = multipartOf(field, value)
			case kind == "application/x-www-form-urlencoded":
				form := url.Values{}
				for other, v := range good {
					form.Set(other, fmt.Sprint(v))
				}
				form.Set(field, strings.Trim(value, `"`))
				r.body = form.Encode()
			default:
				r.body = func() string { return jsonWith(good, field, value) }
			}
			a.try(t, c, name+" as "+field, r, false)
		}
		if kind == "application/json" {
			a.try(t, c, field+" twice", request{method: r.method, path: r.path, header: r.header, body: strings.TrimSuffix(jsonWith(good, field, "1"), "}") + `,"` + field + `":2}`}, false)
			a.try(t, c, field+" in capitals", request{method: r.method, path: r.path, header: r.header, body: jsonWith(good, strings.ToUpper(field), "1")}, false)
		}
	}
}

// jsonWith is an object with one member whose value is a text of JSON, or none.
func jsonWith(good object, field, value string) string {
	rest, _ := json.Marshal(with(good, object{field: gone}))
	member := fmt.Sprintf("{%q:%s", field, value)
	if len(rest) > 2 {
		member += ","
	}
	return member + string(rest[1:])
}

// multipartOf is a form with one file, whose name and content are hostile.
func multipartOf(field, value string) (io.Reader, http.Header) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, _ := w.CreateFormFile(field, strings.Trim(value[:min(len(value), 5000)], `"`))
	_, _ = io.WriteString(part, value)
	part, _ = w.CreateFormFile(field, "x.py")
	_, _ = io.WriteString(part, value)
	_ = w.WriteField(field, value)
	_ = w.Close()
	return &b, http.Header{"Content-Type": {w.FormDataContentType()}}
}
