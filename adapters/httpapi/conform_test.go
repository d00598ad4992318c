package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/keyset"
)

// contract is the description as it is served, with objects that have no more members than it says.
type contract struct {
	doc        map[string]any
	operations []operation
	schemas    *jsonschema.Compiler
	compiled   sync.Map
}

// operation is one of them. Its path is parted at slashes.
type operation struct {
	id, method, path string
	at               string // where it stands in the document, as a JSON pointer
	says             map[string]any
}

var described = sync.OnceValues(func() (*contract, error) {
	text, err := os.ReadFile("pages/openapi.json")
	if err != nil {
		return nil, err
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := &contract{doc: whole.(map[string]any), schemas: jsonschema.NewCompiler()}
	for _, s := range c.doc["components"].(map[string]any)["schemas"].(map[string]any) {
		s.(map[string]any)["additionalProperties"] = false
	}
	c.schemas.AssertFormat()
	if err := c.schemas.AddResource("openapi.json", c.doc); err != nil {
		return nil, err
	}
	for path, item := range c.doc["paths"].(map[string]any) {
		for method, says := range item.(map[string]any) {
			at := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + method
			c.operations = append(c.operations, operation{says.(map[string]any)["operationId"].(string), strings.ToUpper(method), path, at, says.(map[string]any)})
		}
	}
	slices.SortFunc(c.operations, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return c, nil
})

// of is the operation that a request is for.
func (c *contract) of(method, path string) (operation, bool) {
	for _, o := range c.operations {
		if strings.HasPrefix(path, verify) && o.path == verify && (len(path) == len(verify) || path[len(verify)] == '/' || path[len(verify)] == ',') && method != http.MethodTrace {
			return o, true
		}
		if (method == o.method || method == http.MethodHead && o.method == http.MethodGet) && fits(o.path, path) {
			return o, true
		}
	}
	return operation{}, false
}

// fits reports whether a path is one of a template. A template without parameters wins over one with them, as net/http has it; here no two fit one path.
func fits(template, path string) bool {
	a, b := strings.Split(template, "/"), strings.Split(path, "/")
	return slices.EqualFunc(a, b, func(s, is string) bool { return s == is || strings.HasPrefix(s, "{") && is != "" })
}

// valid holds a JSON text against the schema at a pointer.
func (c *contract) valid(at string, text []byte) error {
	schema, known := c.compiled.Load(at)
	if !known {
		s, err := c.schemas.Compile("openapi.json#" + at)
		if err != nil {
			return err
		}
		schema, _ = c.compiled.LoadOrStore(at, s)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.(*jsonschema.Schema).Validate(value)
}

// answers is where the answer of a status is described. What any request can get, whatever the route, is described once for all.
func (c *contract) answers(o operation, status int) (at string, says map[string]any, ok bool) {
	responses := o.says["responses"].(map[string]any)
	key := strconv.Itoa(status)
	r, ok := responses[key].(map[string]any)
	if !ok {
		if key, ok = "default", slices.Contains([]int{404, 405, 408, 413, 415, 500}, status); !ok {
			return "", nil, false
		}
		r = responses[key].(map[string]any)
	}
	at = o.at + "/responses/" + key
	if to, is := r["$ref"].(string); is {
		at = strings.TrimPrefix(to, "#")
		r = c.doc["components"].(map[string]any)["responses"].(map[string]any)[to[strings.LastIndexByte(to, '/')+1:]].(map[string]any)
	}
	return at, r, true
}

// unreal is a header of requests whose answers no route gives: those of refusals that a test has put where they do not belong.
const unreal = "X-Unreal"

// conform demands of an answer what is documented of its route, and of the body of a request that was taken too. Every call of this package's tests passes here.
func conform(t testing.TB, r *http.Request, body string, w *httptest.ResponseRecorder) {
	if _, fuzzing := t.(*testing.F); fuzzing || r.Header.Get(unreal) != "" { // the fuzzing test's own t is not at hand
		return
	}
	t.Helper()
	c, err := described()
	check(t, err)
	o, ok := c.of(r.Method, r.URL.Path)
	if !ok || w.Code == http.StatusTeapot || w.Code == http.StatusNoContent && r.Method == http.MethodOptions { // of a test's own handler; a preflight
		return
	}
	at, says, ok := c.answers(o, w.Code)
	if !ok {
		t.Errorf("%s %s: %d is not documented: %s", r.Method, r.URL.Path, w.Code, w.Body)
		return
	}
	kind := w.Header().Get("Content-Type")
	content, _ := says["content"].(map[string]any)
	media, _, _ := mime.ParseMediaType(kind)
	switch {
	case content == nil:
		if w.Body.Len() > 0 {
			t.Errorf("%s %s: %d has a body that is not documented: %s", r.Method, r.URL.Path, w.Code, w.Body)
		}
	case r.Method == http.MethodHead, content["*/*"] != nil:
	case content[kind] == nil && content[media] == nil:
		t.Errorf("%s %s: %d is %q, documented %v", r.Method, r.URL.Path, w.Code, kind, slices.Collect(maps.Keys(content)))
	case strings.HasSuffix(media, "json"):
		if err := c.valid(at+"/content/"+strings.ReplaceAll(media, "/", "~1")+"/schema", w.Body.Bytes()); err != nil {
			t.Errorf("%s %s: %d %s is not as documented: %v", r.Method, r.URL.Path, w.Code, w.Body, err)
		}
	}
	var sent map[string]any
	if w.Code/100 == 2 && o.says["requestBody"] != nil && json.Unmarshal([]byte(body), &sent) == nil {
		maps.DeleteFunc(sent, func(_ string, v any) bool { return v == nil }) // as not given
		text, err := json.Marshal(sent)
		check(t, err)
		if err := c.valid(o.at+"/requestBody/content/application~1json/schema", text); err != nil {
			t.Errorf("%s %s took %s, which is not as documented: %v", r.Method, r.URL.Path, body, err)
		}
	}
}

// full is a system that serves everything, with a user ann and, unless it waits for its first administrator, one called root.
func full(t *testing.T, waits bool) (s *service, link string) {
	t.Helper()
	s = newService(t)
	s.user("ann", account.RoleUser)
	if !waits {
		s.user("root", account.RoleAdmin)
	}
	s.block("203.0.113.0/24")
	s.all.SetUp = app.NewSetUp(s.core, s.accounts)
	if waits {
		offered, err := s.all.SetUp.Offer(t.Context())
		check(t, err)
		link = offered.RevealPlaintext()
	}
	s.all.JWKS = jwks.NewHandler(func() []keyset.Key { return nil })
	s.all.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintln(w, "xteam_figure 1")
	})
	s.h = httpapi.New(s.all, httpapi.Options{}).Handler()
	return s, link
}

// TestDocumentedExamples: each operation, asked in a system of its own as its example says, answers as it is documented to; and without a credential it is
// 401 where one is documented to be needed, and nowhere else.
func TestDocumentedExamples(t *testing.T) {
	c, err := described()
	check(t, err)
	for _, o := range c.operations {
		if o.says["x-rate-limit-class"] == "its own" { // another transport's, which is not in this package's system
			continue
		}
		t.Run(o.id, func(t *testing.T) {
			s, link := full(t, o.id == "setUp")
			p := s.signIn("ann")
			target, queried := s.target(o, p), ""
			who := p
			if strings.Contains(o.path, "/admin/") || strings.HasSuffix(o.path, "/revocations") || o.path == "/metrics" {
				who = s.signIn("root")
			}
			if o.id == "ownEvents" || o.id == "followRevocations" {
				o.method = http.MethodHead // their bodies have no end
			}
			body := example(t, o)
			body = strings.ReplaceAll(body, "xr_live_token", p.RefreshToken)
			body = strings.ReplaceAll(body, "of the link", link)
			if o.id == "disownSignIn" {
				body = strings.ReplaceAll(body, "what follows #token= in the notice", s.disowning(p))
			}
			parameters, _ := o.says["parameters"].([]any)
			for _, q := range parameters {
				q := q.(map[string]any)
				value, has := q["example"].(string)
				if q["in"] != "query" || !has {
					continue
				}
				if one := q["name"].(string) + "=" + value; q["required"] == true {
					target += "?" + one
				} else {
					queried = one
				}
			}
			heads := []string{asJSON}
			if o.id == "uploadFile" {
				body, heads = asFile("notes.md", "# Notes\n"), []string{asMultipart}
			}
			if strings.HasPrefix(o.path, "/api/v1/oauth/") {
				var members map[string]string
				check(t, json.Unmarshal([]byte(body), &members))
				form := url.Values{}
				for name, value := range members {
					form.Set(name, value)
				}
				body, heads, who = form.Encode(), []string{asForm}, pair{AccessToken: s.key(p, "introspect", "tokens:revoke").Key}
			}
			secured := len(o.says["security"].([]any)) > 0
			if w := s.call(o.method, target, body, heads...); (w.Code == 401) != secured {
				t.Errorf("without a credential: %d %s", w.Code, w.Body)
			} else if !secured {
				success(t, o, w)
				return
			}
			if o.id == "eraseAudit" { // for the operator alone
				s.h = httpapi.AsOperator(s.h)
			} else {
				heads = append(heads, bearer(who))
			}
			success(t, o, s.call(o.method, target, body, heads...))
			if queried == "" {
				return
			}
			again := s.target(o, p)
			success(t, o, s.call(o.method, again+"?"+queried, body, heads...))
		})
	}
}

// success demands an answer that is no problem; conform has seen that it is documented.
func success(t *testing.T, o operation, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code/100 != 2 {
		t.Errorf("%s %s: %d %s", o.method, o.path, w.Code, w.Body)
	}
}

// example is the documented body of an operation, or empty.
func example(t *testing.T, o operation) string {
	t.Helper()
	body, ok := o.says["requestBody"].(map[string]any)
	if !ok {
		return ""
	}
	for media, content := range body["content"].(map[string]any) {
		if media == "multipart/form-data" {
			return ""
		}
		text, err := json.Marshal(content.(map[string]any)["examples"].(map[string]any)["one"].(map[string]any)["value"])
		check(t, err)
		return string(text)
	}
	return ""
}

// target is the path of an operation, with something that is there in the place of its parameters.
func (s *service) target(o operation, p pair) string {
	s.t.Helper()
	switch {
	case strings.Contains(o.path, "/sessions/{id}"):
		return strings.Replace(o.path, "{id}", sessionOf(s.t, s.signIn("ann")), 1)
	case strings.Contains(o.path, "/files/{id}"):
		return strings.Replace(o.path, "{id}", s.uploaded(p, "notes.md", "# Notes\n").ID, 1)
	case strings.Contains(o.path, "/alerts/{id}"):
		return strings.Replace(o.path, "{id}", s.alert("ann").ID, 1)
	case strings.Contains(o.path, "/incidents/{id}"):
		return strings.Replace(o.path, "{id}", s.incident(), 1)
	case strings.Contains(o.path, "/api-keys/{id}"):
		w := s.post("/api/v1/api-keys", `{"name":"made for the example"}`, bearer(p))
		var made struct{ ID string }
		check(s.t, json.Unmarshal(w.Body.Bytes(), &made))
		return strings.Replace(o.path, "{id}", made.ID, 1)
	case strings.Contains(o.path, "{kid}"):
		w := s.call("GET", "/api/v1/admin/keys", "", bearer(s.signIn("root")))
		var keys struct{ Items []struct{ KID string } }
		check(s.t, json.Unmarshal(w.Body.Bytes(), &keys))
		if o.id == "retireSigningKey" {
			if w := s.post("/api/v1/admin/keys/rotate", `{"alg":"HS256"}`, bearer(s.signIn("root"))); w.Code != 200 {
				s.t.Fatalf("rotate: %d %s", w.Code, w.Body)
			}
			s.core.Now = func() time.Time { return time.Now().Add(time.Hour) }
		}
		return strings.Replace(o.path, "{kid}", keys.Items[0].KID, 1)
	}
	return strings.Replace(o.path, "{user}", "ann", 1)
}

// TestDocumentedAnswers: the examples of answers are such answers.
func TestDocumentedAnswers(t *testing.T) {
	c, err := described()
	check(t, err)
	seen := 0
	for _, o := range c.operations {
		for status, r := range o.says["responses"].(map[string]any) {
			content, _ := r.(map[string]any)["content"].(map[string]any)
			for media, of := range content {
				examples, ok := of.(map[string]any)["examples"].(map[string]any)
				if !ok {
					continue
				}
				text, err := json.Marshal(examples["one"].(map[string]any)["value"])
				check(t, err)
				if err := c.valid(o.at+"/responses/"+status+"/content/"+strings.ReplaceAll(media, "/", "~1")+"/schema", text); err != nil {
					t.Errorf("%s, %s: %v", o.id, status, err)
				}
				seen++
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d examples were seen", seen)
	}
}

// TestPages: they are served as they are described, without a credential; they run nothing, and lead where something is.
func TestPages(t *testing.T) {
	s, _ := full(t, false)
	for _, path := range []string{"/", "/openapi.json", "/docs", "/docs/problems"} {
		w := s.call("GET", path, "")
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != 200 || w.Header().Get("Cache-Control") != "no-cache" || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		for _, forbidden := range []string{"<script", "onclick", "http://", "@import", "url("} {
			if strings.Contains(w.Body.String(), forbidden) && path != "/openapi.json" {
				t.Errorf("%s has %s", path, forbidden)
			}
		}
		for _, quoted := range strings.Split(w.Body.String(), `href="`)[1:] {
			link, _, _ := strings.Cut(quoted, `"`)
			to, fragment, _ := strings.Cut(link, "#")
			if to == "" {
				to = path
			}
			if at := s.call("GET", to, ""); at.Code != 200 || fragment != "" && !strings.Contains(at.Body.String(), `id="`+fragment+`"`) {
				t.Errorf("%s leads to %s: %d", path, link, at.Code)
			}
		}
	}
	if w := s.call("POST", "/", "{}"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %d %v", w.Code, w.Header())
	}
	wants(t, s.call("GET", "/index.html", ""), 404, "not_found")
	page := s.call("GET", "/docs/problems", "").Body.String()
	for _, refused := range []*httptest.ResponseRecorder{s.call("GET", me, ""), s.call("GET", "/nothing", ""), s.post("/api/v1/auth/login", "{}")} {
		var p struct{ Type string }
		check(t, json.Unmarshal(refused.Body.Bytes(), &p))
		if _, fragment, _ := strings.Cut(p.Type, "#"); !strings.HasPrefix(p.Type, "/docs/problems#") || !strings.Contains(page, `<tr id="`+fragment+`">`) {
			t.Errorf("the type %s leads nowhere", p.Type)
		}
	}
}
