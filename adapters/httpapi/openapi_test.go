package httpapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/app"
)

// served are the routes of a system that has everything, those of other transports as their docs have them.
func served() []route {
	a := &API{Services: Services{Disowner: &app.Disowner{}, Incidents: &app.Incidents{}, Alerts: &app.Alerts{}, Uploads: &app.Uploads{}, Blocks: &app.Blocks{}, SetUp: &app.SetUp{}, Trail: &app.Trail{}, Tethers: &app.Tethers{}, Live: &app.Live{}, Feed: &app.Feed{}, Tickets: &app.Tickets{}, JWKS: http.NotFoundHandler(), Metrics: http.NotFoundHandler()}}
	for _, key := range slices.Sorted(maps.Keys(docs())) {
		if method, path, _ := strings.Cut(key, " "); docs()[key].mounted {
			a.Mounts = append(a.Mounts, Mount{Method: method, Path: path})
		}
	}
	return a.routes()
}

// mounts are the methods and paths of all Mounts that the sources of this module write.
func mounts(t *testing.T) (all []string) {
	t.Helper()
	for _, folder := range []string{"../../adapters", "../../app", "../../cmd"} {
		err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if of, ok := n.(*ast.CompositeLit); ok && isMount(of.Type) {
					all = append(all, mountIn(t, name, of.Elts))
				} else if ok {
					if list, ok := of.Type.(*ast.ArrayType); ok && isMount(list.Elt) {
						for _, e := range of.Elts {
							if one, ok := e.(*ast.CompositeLit); ok && one.Type == nil {
								all = append(all, mountIn(t, name, one.Elts))
							}
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

func isMount(t ast.Expr) bool {
	of, ok := t.(*ast.SelectorExpr)
	if !ok || of.Sel.Name != "Mount" {
		return false
	}
	from, ok := of.X.(*ast.Ident)
	return ok && from.Name == "httpapi"
}

// mountIn is the method and path of a Mount, which must be written out.
func mountIn(t *testing.T, file string, fields []ast.Expr) string {
	t.Helper()
	written := map[string]string{}
	for _, e := range fields {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			if text, ok := pair.Value.(*ast.BasicLit); ok {
				written[pair.Key.(*ast.Ident).Name], _ = strconv.Unquote(text.Value)
			}
		}
	}
	if written["Path"] == "" {
		t.Errorf("%s: a Mount whose Path is no string in its place: it cannot be held against docs.go", file)
	}
	return written["Method"] + " " + written["Path"]
}

// TestEveryRouteIsDocumented: each route has its doc, each doc its route, no two operations one id, and what is read and answered is said.
func TestEveryRouteIsDocumented(t *testing.T) {
	routes := mounts(t)
	for _, r := range served() {
		if !r.mounted {
			routes = append(routes, r.method+" "+r.path)
		}
	}
	slices.Sort(routes)
	if diff := gocmp.Diff(routes, slices.Sorted(maps.Keys(docs()))); diff != "" {
		t.Fatalf("docs.go must have what routes.go has (-routes +docs):\n%s", diff)
	}
	ids := map[string]string{}
	for key, d := range docs() {
		if d.within != "" {
			if _, ok := docs()[d.within]; !ok {
				t.Errorf("%s is within %q, which is documented nowhere", key, d.within)
			}
			continue
		}
		if ids[d.id] != "" {
			t.Errorf("%s and %s are both called %s", key, ids[d.id], d.id)
		}
		ids[d.id] = key
		if d.id == "" || d.title == "" || d.status == 0 || (d.body == nil) != (d.example == "") || d.answer != nil && d.media != "" || d.secured && !d.mounted {
			t.Errorf("%s: the doc lacks something: %+v", key, d)
		}
	}
}

// TestEveryCodeHasAdvice: problems.go knows exactly the codes that the page explains.
func TestEveryCodeHasAdvice(t *testing.T) {
	if diff := gocmp.Diff(slices.Sorted(maps.Keys(codes(t))), slices.Sorted(maps.Keys(advice()))); diff != "" {
		t.Errorf("(-problems.go +docs.go):\n%s", diff)
	}
	for code, text := range advice() {
		if text[0] == "" || text[1] == "" {
			t.Errorf("%s lacks a sentence", code)
		}
	}
}

// codes are the codes of problems.go, each with its status.
func codes(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{"internal": 500}
	for _, s := range sentinels {
		all[s.code] = s.status
	}
	source, err := os.ReadFile("problems.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`Status: (\d+), Code: "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		all[m[2]], _ = strconv.Atoi(m[1])
	}
	return all
}

// TestOpenAPI: the description and the pages are what the code says; UPDATE_DOCS=1 writes them.
func TestOpenAPI(t *testing.T) {
	text := append(describe(t), '\n')
	for name, want := range map[string][]byte{"openapi.json": text, "home.html": page(t, homeTemplate, text), "docs.html": page(t, docsTemplate, text), "problems.html": page(t, problemsTemplate, text)} {
		file := filepath.Join("pages", name)
		if os.Getenv("UPDATE_DOCS") != "" {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says: go generate ./adapters/httpapi", file)
		}
	}
	sum := sha256.Sum256([]byte(style))
	if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(pagePolicy[0], "style-src "+hash+";") {
		t.Errorf("pagePolicy must have style-src %s", hash)
	}
}

// object is a JSON object whose members stand in their order.
type object []member

type member struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		var value bytes.Buffer
		enc := json.NewEncoder(&value)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value.Bytes()...)
	}
	return append(b, '}'), nil
}

func (o *object) set(name string, value any) { *o = append(*o, member{name, value}) }

// ref points to a component.
func ref(kind, name string) object { return object{{"$ref", "#/components/" + kind + "/" + name}} }

// writer makes the description.
type writer struct {
	t        *testing.T
	comments map[string]string // of types, and of their fields as type.field
	schemas  map[string]object
	needs    map[string]string // of schemas of what is read: the members that must be there
	status   map[string]int    // of codes
}

// describe writes the description.
func describe(t *testing.T) []byte {
	t.Helper()
	w := &writer{t: t, comments: comments(t), schemas: map[string]object{}, needs: map[string]string{}, status: codes(t)}
	w.schema(reflect.TypeFor[problem](), false)
	paths := map[string]object{}
	for _, r := range served() {
		d := docs()[r.method+" "+r.path]
		if d.within != "" {
			continue
		}
		p := paths[r.path]
		p.set(strings.ToLower(cmp.Or(r.method, "GET")), w.operation(r, d))
		paths[r.path] = p
	}
	order := func(m map[string]object) (o object) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			o.set(k, m[k])
		}
		return o
	}
	o := object{
		{"openapi", "3.1.1"},
		{"info", object{
			{"title", "XTeam"}, {"version", "1"},
			{"summary", "Tokens that can be revoked, now and everywhere."},
			{"description", "A request carries its credential in `Authorization: Bearer`, an API key as well in `X-API-Key`, or, where cookies are on, in a cookie. Every answer that is no success is a problem (RFC 9457) with a `code`, " +
				"which [a page](/docs/problems) explains. Answers to limited requests tell in `RateLimit` how much is left; a refusal tells in `Retry-After` when to come again. In what is sent, null is as a member that is not given. GET is served to HEAD too."},
			{"license", object{{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}},
		}},
		{"servers", []object{{{"url", "/"}, {"description", "Where this description is served"}}}},
		{"tags", tags()},
		{"paths", order(paths)},
		{"components", object{
			{"securitySchemes", object{
				{"token", object{{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}, {"description", "An access token of a sign-in. An API key is taken here too, where it has the scope."}}},
				{"key", object{{"type", "apiKey"}, {"in", "header"}, {"name", ownHeader}, {"description", "An API key."}}},
				{"cookie", object{{"type", "apiKey"}, {"in", "cookie"}, {"name", accessCookie}, {"description", "Where COOKIE_MODE is on: of a browser, from a page of this service or of CORS_ORIGINS. What changes something is then called `application/json`."}}},
			}},
			{"headers", headers()},
			{"responses", w.problems()},
			{"schemas", order(w.schemas)},
		}},
	}
	text, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", " "); err != nil {
		t.Fatal(err)
	}
	return indented.Bytes()
}

func tags() []object {
	return []object{
		{{"name", "Sign-in"}, {"description", "Sign up, in and out, and your sessions."}},
		{{"name", "Account"}, {"description", "Your account."}},
		{{"name", "API keys"}, {"description", "Keys for programs, in the name of who makes them."}},
		{{"name", "Files"}, {"description", "Files of your own."}},
		{{"name", "Proxies"}, {"description", "What a proxy asks."}},
		{{"name", "Administration"}, {"description", "For administrators, and keys of theirs with the scope `admin`."}},
		{{"name", "Service"}, {"description", "About the service itself."}},
	}
}

// tagOf is the tag of a path.
func tagOf(path string) string {
	for _, p := range [][2]string{{verifyPath, "Proxies"}, {"/api/v1/admin/", "Administration"}, {"/api/v1/api-keys", "API keys"}, {filesPath, "Files"}, {"/api/v1/users/", "Account"}, {"/api/v1/auth/", "Sign-in"}} {
		if strings.HasPrefix(path, p[0]) {
			return p[1]
		}
	}
	return "Service"
}

var classes = map[class]string{unclassed: "address", exempt: "none", auth: "auth", read: "read", write: "write", refresh: "refresh", verifying: "verify", app.Expensive: "expensive"}

func (w *writer) operation(r route, d doc) (o object) {
	o.set("operationId", d.id)
	o.set("tags", []string{tagOf(r.path)})
	o.set("summary", d.title)
	if d.about != "" {
		o.set("description", d.about)
	}
	if r.mounted {
		o.set("x-rate-limit-class", "its own")
		if d.secured {
			r.access = signedIn
		}
	} else {
		o.set("x-rate-limit-class", classes[r.class])
	}
	if r.access != anyone && r.needs() != 0 {
		o.set("x-api-key-scope", r.needs().String())
	}
	o.set("security", security(r))
	if p := parameters(r, d); len(p) > 0 {
		o.set("parameters", p)
	}
	if d.body != nil {
		media := "application/json"
		if d.form {
			media = "application/x-www-form-urlencoded"
		}
		o.set("requestBody", object{{"required", !d.without}, {"content", object{{media, object{
			{"schema", w.input(d)}, {"examples", object{{"one", object{{"value", json.RawMessage(d.example)}}}}},
		}}}}})
	}
	if d.upload {
		file := object{{"type", "string"}, {"format", "binary"}, {"description", "The file, with a name."}}
		o.set("requestBody", object{{"required", true}, {"content", object{{"multipart/form-data", object{{"schema", object{{"type", "object"}, {"required", []string{"file"}}, {"properties", object{{"file", file}}}}}}}}}})
	}
	o.set("responses", w.responses(r, d))
	return o
}

// security is what a request must carry: one of these.
func security(r route) []object {
	if r.access == anyone {
		return []object{}
	}
	all := []object{{{"token", []string{}}}, {{"cookie", []string{}}}}
	if r.needs() != 0 {
		all = append(all, object{{"key", []string{r.needs().String()}}})
	}
	return all
}

func parameters(r route, d doc) (all []object) {
	about := map[string]string{"id": "An id.", "user": "An id, an e-mail address or a user name.", "kid": "A signing key's id."}
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(r.path, -1) {
		all = append(all, object{{"name", m[1]}, {"in", "path"}, {"required", true}, {"description", about[m[1]]}, {"schema", object{{"type", "string"}}}})
	}
	for _, q := range d.query {
		schema := object{{"type", "string"}}
		if q.name == "limit" {
			schema = object{{"type", "integer"}, {"minimum", 1}, {"maximum", pageMost}, {"default", pageUsual}}
			q.example = ""
		}
		p := object{{"name", q.name}, {"in", "query"}, {"required", strings.HasSuffix(q.about, "must be given")}, {"description", q.about}, {"schema", schema}}
		if q.example != "" {
			p.set("example", q.example)
		}
		all = append(all, p)
	}
	return all
}

func header(about string, schema object) object {
	return object{{"description", about}, {"schema", schema}}
}

func headers() object {
	text, number := object{{"type", "string"}}, object{{"type", "integer"}}
	return object{
		{"Request-Id", header("The request's id, which a client may choose itself: 1 to 64 of A–Z a–z 0–9 . _ -", text)},
		{"RateLimit", header("What is left of the tightest limit, and in how many seconds there is more (draft-ietf-httpapi-ratelimit-headers). Missing where nothing is counted.", text)},
		{"RateLimit-Policy", header("That limit: its name, how many, in how many seconds.", text)},
		{"RateLimit-Limit", header("How many requests a minute.", number)},
		{"RateLimit-Remaining", header("How many of them are left.", number)},
		{"Retry-After", header("In how many seconds to come again.", object{{"type", "integer"}, {"minimum", 1}})},
		{"Challenge", header("Which credential is missing, or what is wrong with the one that came (RFC 6750).", text)},
		{"User", header("The id of the bearer.", text)},
		{"Session", header("The id of their sign-in; empty for an API key.", text)},
		{"Scope", header("Words parted by spaces; may be empty.", text)},
		{"Roles", header("Names parted by commas.", text)},
	}
}

// told are the headers of an answer.
func told(r route, status int) object {
	o := object{{requestIDHeader, ref("headers", "Request-Id")}}
	if r.class != exempt {
		o = append(o, member{"RateLimit", ref("headers", "RateLimit")}, member{"RateLimit-Policy", ref("headers", "RateLimit-Policy")},
			member{"X-RateLimit-Limit", ref("headers", "RateLimit-Limit")}, member{"X-RateLimit-Remaining", ref("headers", "RateLimit-Remaining")})
	}
	if r.class == verifying && r.path != introspectPath && status == 200 {
		o = append(o, member{identityUser, ref("headers", "User")}, member{identitySession, ref("headers", "Session")}, member{identityScope, ref("headers", "Scope")}, member{identityRoles, ref("headers", "Roles")})
	}
	return o
}

func (w *writer) responses(r route, d doc) object {
	all := map[int]object{}
	add := func(status int, about string, answer any) {
		o := object{{"description", about}, {"headers", told(r, status)}}
		switch {
		case answer != nil:
			s := w.schema(reflect.TypeOf(answer), false)
			o.set("content", object{{"application/json", object{{"schema", s}, {"examples", object{{"one", object{{"value", w.sample(reflect.TypeOf(answer))}}}}}}}})
		case d.media != "" && status < 300:
			schema := object{{"type", "string"}}
			if strings.HasSuffix(strings.Split(d.media, ";")[0], "json") {
				schema = object{{"type", "object"}}
			}
			o.set("content", object{{d.media, object{{"schema", schema}}}})
		}
		all[status] = o
	}
	add(d.status, "Done.", d.answer)
	for _, a := range d.also {
		add(a.status, a.about, a.answer)
	}
	for _, status := range w.refusals(r, d) {
		if all[status] == nil {
			all[status] = ref("responses", "Problem"+strconv.Itoa(status))
		}
	}
	var o object
	for _, status := range slices.Sorted(maps.Keys(all)) {
		o.set(strconv.Itoa(status), all[status])
	}
	o.set("default", ref("responses", "Problem"))
	return o
}

// refusals are the statuses of problems that this route may answer with; those that any request can get, whatever the route, are the default.
func (w *writer) refusals(r route, d doc) (all []int) {
	all = []int{400}
	if r.access != anyone {
		all = append(all, 401, 403, 503)
	}
	if r.class != exempt {
		all = append(all, 429)
	}
	if strings.Contains(r.path, "{") || r.class == verifying && r.path != introspectPath {
		all = append(all, 404)
	}
	if d.body != nil || d.upload {
		all = append(all, 413, 415, 422, 503)
	}
	if len(d.query) > 0 {
		all = append(all, 422)
	}
	for code := range strings.FieldsSeq(d.refuses) {
		status, known := w.status[code]
		if !known {
			w.t.Fatalf("%s: there is no code %s", d.id, code)
		}
		all = append(all, status)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// problems are the problems by status, each with the codes that it can have.
func (w *writer) problems() (o object) {
	byStatus := map[int][]string{}
	for code, status := range w.status {
		byStatus[status] = append(byStatus[status], code)
	}
	content := func(codes []string) object {
		schema := any(ref("schemas", "Problem"))
		if codes != nil {
			schema = object{{"allOf", []object{ref("schemas", "Problem"), {{"type", "object"}, {"properties", object{{"code", object{{"type", "string"}, {"enum", codes}}}}}}}}}
		}
		return object{{"application/problem+json", object{{"schema", schema}}}}
	}
	o.set("Problem", object{{"description", "Any other refusal or fault."}, {"headers", object{{requestIDHeader, ref("headers", "Request-Id")}}}, {"content", content(nil)}})
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		codes := byStatus[status]
		if status == 405 || status == 408 || status == 500 { // never of one route more than of another
			continue
		}
		slices.Sort(codes)
		h := object{{requestIDHeader, ref("headers", "Request-Id")}}
		switch status {
		case 401:
			h.set("WWW-Authenticate", ref("headers", "Challenge"))
		case 429, 503:
			h.set("Retry-After", ref("headers", "Retry-After"))
		}
		o.set("Problem"+strconv.Itoa(status), object{{"description", http.StatusText(status) + ": `" + strings.Join(codes, "`, `") + "`."}, {"headers", h}, {"content", content(codes)}})
	}
	return o
}

// nameOf is what a type is called outside.
func nameOf(t reflect.Type) string {
	name, of, generic := strings.Cut(t.Name(), "[")
	if generic {
		of = strings.TrimSuffix(of[strings.LastIndex(of, ".")+1:], "]")
		return outside(of) + outside(name)
	}
	return outside(name)
}

func outside(name string) string {
	if known := schemaNames()[name]; known != "" {
		return known
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// input is the schema of a body that is read.
func (w *writer) input(d doc) object {
	t := reflect.TypeOf(d.body)
	if t.NumField() == 0 {
		return object{{"type", "object"}, {"additionalProperties", false}}
	}
	name := nameOf(t)
	if needs, met := w.needs[name]; met && needs != d.needs {
		w.t.Fatalf("%s is read by two routes that need different members of it", name)
	}
	w.needs[name] = d.needs
	return w.schema(t, true)
}

// field is a field of a struct as JSON has it.
type field struct {
	name     string
	of       reflect.Type
	may      bool // it may be missing
	about    string
	in       string // the type that declares it
	nullable bool
}

// fields are those of a struct, and of those that are embedded in it.
func (w *writer) fields(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if option == "inline" {
			all = append(all, w.fields(f.Type)...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		may := option == "omitempty" || option == "omitzero"
		all = append(all, field{name, f.Type, may, w.comments[t.Name()+"."+f.Name], t.Name(), f.Type.Kind() == reflect.Pointer && !may})
	}
	return all
}

// schema is the schema of a type, in what is read or in what is answered.
func (w *writer) schema(t reflect.Type, in bool) object {
	switch {
	case t == reflect.TypeFor[hidden]():
		return object{{"type", "string"}, {"format", "password"}}
	case t == reflect.TypeFor[time.Time]():
		return object{{"type", "string"}, {"format", "date-time"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.schema(t.Elem(), in)
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return object{{"type", "integer"}}
	case reflect.Float64:
		return object{{"type", "number"}}
	case reflect.Map:
		return object{{"type", "object"}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", w.schema(t.Elem(), in)}}
	case reflect.Struct:
		if t.Name() == "" {
			return w.structure(t, in)
		}
		name := nameOf(t)
		if _, done := w.schemas[name]; !done {
			w.schemas[name] = nil // it may hold itself
			w.schemas[name] = w.structure(t, in)
		}
		return ref("schemas", name)
	}
	w.t.Fatalf("a member of type %v: openapi_test.go does not know it", t)
	return nil
}

func (w *writer) structure(t reflect.Type, in bool) (o object) {
	o.set("type", "object")
	name, _, _ := strings.Cut(t.Name(), "[")
	if about := w.comments[name]; about != "" {
		o.set("description", about)
	}
	var required []string
	var properties object
	for _, f := range w.fields(t) {
		s := w.schema(f.of, in)
		if values := w.valuesOf(t, f); values != nil {
			s.set("enum", values)
		}
		if f.nullable {
			s = nullable(s)
		}
		if about := meaning(t, f); about != "" {
			s = described(s, about)
		} else if s[0].name != "$ref" { // what it refers to says it
			w.t.Errorf("%s.%s has no meaning: give it a comment, or a line in memberMeanings", t.Name(), f.name)
		}
		properties.set(f.name, s)
		if !f.may {
			required = append(required, f.name)
		}
	}
	o.set("properties", properties)
	if in {
		o.set("additionalProperties", false)
		required = strings.Fields(w.needs[nameOf(t)])
	}
	if len(required) > 0 {
		o.set("required", required)
	}
	return o
}

// meaning is what a member means: its comment, or what docs.go says.
func meaning(t reflect.Type, f field) string {
	own := ""
	if t.Name() != "" {
		own = memberMeanings()[nameOf(t)+"."+f.name]
	}
	return cmp.Or(f.about, own, memberMeanings()[outside(cmp.Or(f.in, "-"))+"."+f.name], memberMeanings()[f.name])
}

// valuesOf are the only values of a member, by the name of the struct or of the one that declares it.
func (w *writer) valuesOf(t reflect.Type, f field) []string {
	if t.Name() != "" {
		if v := memberValues()[nameOf(t)+"."+f.name]; v != nil {
			return v
		}
	}
	if f.in == "" {
		return nil
	}
	return memberValues()[outside(f.in)+"."+f.name]
}

// nullable is s, or null.
func nullable(s object) object {
	if s[0].name == "$ref" {
		return object{{"anyOf", []object{s, {{"type", "null"}}}}}
	}
	o := slices.Clone(s)
	o[0].value = []any{o[0].value, "null"}
	return o
}

func described(s object, about string) object {
	return append(slices.Clone(s), member{"description", about})
}

// examples are the values of examples, by the member's name.
var examples = map[string]any{
	"id": "9f86d081884c7d659a2feaa0c55ad015", "session_id": "5feceb66ffc86f38d952786c6d696c79", "user_id": "6b86b273ff34fce19d6b804eff5a3f57", "email": "ann@example.com", "username": "ann", "full_name": "Ann Example", "role": "user",
	"access_token": "eyJhbGciOiJIUzI1NiIsImtpZCI6IngifQ.e30.x", "refresh_token": "xr_live_token", "token_type": "bearer", "expires_in": 1800, "sessions_ended": 2, "user_agent": "curl/8.5.0",
	"ip_address": "192.0.2.7", "last_ip_address": "192.0.2.7", "name": "deploy", "scopes": []string{"users:read"}, "environment": "dev", "status": "ok", "uses": 42, "usual_uses_per_hour": 12, "networks": []string{"192.0.2.0/24"}, "requests_per_minute": 30, "api_keys_revoked": 0, "session": "5feceb66ffc86f38d952786c6d696c79",
	"api_key": "9f86d081884c7d659a2feaa0c55ad015", "key": "xt_dev_live_key", "revoked": []string{"9f86d081884c7d659a2feaa0c55ad015"}, "filename": "notes.md", "size": 4711, "content_type": "text/plain; charset=utf-8", "deleted": 3, "replaced_by": "d4735e3a265e16eee03f59718b9b5d03", "reason": "user_revoked", "kid": "ugk2lXRX9xT1mwiBcMyPyK1hhkOZxDlJ9qnQyLWbFYw",
	"algorithm": "ES256", "state": "primary", "then": "retiring", "before": "hs-4e07408562bedb8b60ce05c1decfe3ad", "node": "node-1", "ms": 0.4, "latency_ms": 0.1, "age_ms": 12.5, "kind": "access_token",
	"code": "token_revoked", "detail": "the access token is revoked", "by": "operator", "note": "a lost laptop", "iss": "xteam", "sub": "6b86b273ff34fce19d6b804eff5a3f57", "aud": []string{"xteam"}, "client_id": "xteam",
	"jti": "4b227777d4dd1fc61c6f884f48641d02", "sid": "5feceb66ffc86f38d952786c6d696c79", "gen": 1, "ep": 0, "scope": "", "roles": []string{"user"}, "names": "user", "ended_reason": "user_revoked", "hint": "Revoke the keys of other services by hand.",
	"seq": 17, "next_after": 17, "last": 17, "first": 1, "last_good": 17, "head": "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9", "key_id": "6b86b273ff34fce1", "records": 17, "checkpoints": 2, "erased": 1, "lost": 0,
	"message": "Token revoked", "severity": "info", "outcome": "success", "actor": "6b86b273ff34fce19d6b804eff5a3f57", "subject": "5feceb66ffc86f38d952786c6d696c79", "request_id": "3f2a-1", "value": "read", "fault": "changed",
	"text": "record 17 was changed: record 18 holds another hash of it", "more": 0, "chain": "6b86b273ff34fce19d6b804eff5a3f57", "public": "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "lag_ms": 0,
	"rule": "password_spraying", "group": "", "count": 64, "raised": 1, "sample": []string{"9f86d081884c7d659a2feaa0c55ad015 authentication_failed 192.0.2.7"}, "contain": "xteam alerts contain 4f1c2b9a0d3e5f67", "acknowledged_by": "operator",
	"opened_by": "operator", "contained_ms": 4.2, "undone": 0, "missing_nodes": []string{}, "admitted_percent": 100, "passed": true, "incident": "4f1c2b9a0d3e5f67", "seen": "turned away", "signs": "hs-4e07408562bedb8b60ce05c1decfe3ad", "was": "hs-4e07408562bedb8b60ce05c1decfe3ad",
	"by_hand": []string{"DATABASE_URL: give its user another password at the server, then here."}, "markdown": "# Incident: a stolen laptop", "why": []string{"their account was contained"}, "failed": "it is not there", "findings": []string{},
	"blocked": []string{"192.0.2.7/32"}, "spared": []string{"192.0.2.8/32"}, "signed_in": []string{"6b86b273ff34fce19d6b804eff5a3f57"}, "meaning": "wrong passwords at so many accounts", "threshold": 50, "window_seconds": 600, "cooldown_seconds": 900,
	"missing": []string{"node-3"}, "version": "v1.0.0", "seen_ms": 312.5, "view_age_ms": 12.5, "fresh": true, "revocations_held": 42, "canary_refused": true,
	"cidr": "192.0.2.0/24", "active": true, "exp": 1777640400, "iat": 1777638600, "nbf": 1777638600, "error": "invalid_request", "error_description": "token is missing", "ticket": "AQAAAAAB", "next": "AZ-G0IGITH1lmi_qoMVa0BU", "is_active": true, "current": true,
}

// sample is an example of what is answered.
func (w *writer) sample(t reflect.Type) any {
	switch t.Kind() {
	case reflect.Pointer:
		return w.sample(t.Elem())
	case reflect.Slice:
		return []any{w.sample(t.Elem())}
	case reflect.Bool:
		return false
	case reflect.Map:
		return object{}
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return "2026-05-01T12:00:00Z"
		}
		var o object
		for _, f := range w.fields(t) {
			value, known := examples[f.name]
			if values := w.valuesOf(t, f); values != nil && !slices.Contains(values, fmt.Sprint(value)) {
				value, known = values[0], true
			}
			if kind := f.of; !known || kind.Kind() == reflect.Struct || kind.Kind() == reflect.Pointer && kind.Elem().Kind() == reflect.Struct || kind.Kind() == reflect.Bool && reflect.TypeOf(value).Kind() != reflect.Bool {
				value = w.sample(f.of)
			}
			o.set(f.name, value)
		}
		return o
	}
	w.t.Fatalf("no example of %v is known: openapi_test.go lists them by the member's name", t)
	return nil
}

// comments are those of the types of this package and of their fields, as sentences.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				s := spec.(*ast.TypeSpec)
				all[s.Name.Name] = sentence(cmp.Or(s.Doc.Text(), decl.Doc.Text()), s.Name.Name)
				if fields, ok := s.Type.(*ast.StructType); ok {
					for _, f := range fields.Fields.List {
						for _, n := range f.Names {
							all[s.Name.Name+"."+n.Name] = sentence(cmp.Or(f.Comment.Text(), f.Doc.Text()), "")
						}
					}
				}
			}
			return true
		})
	}
	return all
}

// sentence is a comment as a sentence, without the name that it begins with.
func sentence(text, name string) string {
	text = strings.Join(strings.Fields(text), " ")
	if name != "" {
		for _, verb := range []string{" is ", " are ", " tells ", " holds "} {
			if rest, ok := strings.CutPrefix(text, name+verb); ok {
				text = strings.TrimSpace(map[string]string{" tells ": "Tells "}[verb] + rest)
				break
			}
		}
	}
	if text == "" {
		return ""
	}
	runes := []rune(text)
	runes[0] = unicode.ToUpper(runes[0])
	return strings.TrimSuffix(string(runes), ".") + "."
}
