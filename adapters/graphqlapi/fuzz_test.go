package graphqlapi_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/xteam/xteam/adapters/graphqlapi"
)

// patience is more than the machine needs for the dearest document, and far less than for one that the limits should have refused: 9,000 repeats took 12 s.
const patience = 10 * time.Second

// FuzzLimits, which looks for time and not for verdicts: a document is refused with a code, or it can be validated in time, and has no more fields than a document may.
func FuzzLimits(f *testing.F) {
	for _, text := range []string{
		"{ me { id } }", "query ($a: Int) { users(first: $a) { nodes { id email } } }", "{ a: me { id } b: me { ...f } } fragment f on User { username }", "fragment a on User { ...b } fragment b on User { ...a } { me { ...a } }",
		"mutation { logout }", "subscription { securityEvents { id } }", "{ __schema { types { name fields { name } } } }", strings.Repeat("{ me ", 30), "{" + strings.Repeat(" me { id }", 400) + "}", "{ me @skip(if: true) { id } }",
		`{ me { id(x: [[[{a: "\u0000"}]]]) } }`, "\ufeff#\n{", `{ a(b: """x""") }`,
	} {
		f.Add(text, true)
	}
	schema, all := graphqlapi.Schema(), rules.NewDefaultRules()
	f.Fuzz(func(t *testing.T, text string, introspection bool) {
		begin := time.Now()
		fields, most, err := graphqlapi.Prepare(text, introspection)
		if refusal := (*gqlerror.Error)(nil); errors.As(err, &refusal) {
			if refusal.Extensions["code"] == nil || strings.Contains(refusal.Message, "\n") {
				t.Errorf("%q is refused by %+v", text, refusal)
			}
		} else {
			doc, err := parser.ParseQuery(&ast.Source{Input: text})
			if err != nil {
				t.Fatalf("%q is taken, and does not parse: %v", text, err)
			}
			if len(doc.Operations) > 0 && fields == 0 || fields > most {
				t.Errorf("%q has %d fields, of at most %d", text, fields, most)
			}
			_ = validator.ValidateWithRules(schema, doc, all)
		}
		if took := time.Since(begin); took > patience {
			t.Errorf("%d bytes took %v: %.200q", len(text), took, text)
		}
	})
}

// FuzzBody: what is taken for a request is JSON for the standard library too, and says the same there.
func FuzzBody(f *testing.F) {
	for _, text := range []string{
		`{"query":"{ me { id } }"}`, `{"query":"q","variables":{"a":[1,2.5e300,null]},"operationName":"b","extensions":{}}`, `{"query":"a","query":"b"}`, `{"Query":"a"}`, `[{"query":"a"}]`, `{"query":"a"} {}`, `{"query":"\ud800"}`,
		`{"query":"a","variables":{"a":1,"a":2}}`, "{\"query\":\"\xff\"}", `{"query":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		query, operation, variables, ok := graphqlapi.Body(raw)
		if !ok {
			return
		}
		var std struct {
			Query         string         `json:"query"`
			OperationName string         `json:"operationName"`
			Variables     map[string]any `json:"variables"`
		}
		dec := json.NewDecoder(strings.NewReader(string(raw)))
		dec.UseNumber()
		if err := dec.Decode(&std); err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", raw, err)
		}
		ours, err := json.Marshal(variables)
		theirs, _ := json.Marshal(std.Variables)
		if query != std.Query || query == "" || operation != std.OperationName || err != nil || string(ours) != string(theirs) {
			t.Errorf("%q is read as %q, %q, %s, and by another as %q, %q, %s", raw, query, operation, ours, std.Query, std.OperationName, theirs)
		}
	})
}

// FuzzMessage: what a socket takes is one JSON object for the standard library too, and of the same type.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{`{"type":"connection_init"}`, `{"id":"1","type":"subscribe","payload":{"query":"subscription { securityEvents { id } }"}}`, `{"type":"ping","type":"pong"}`, `{"Type":"ping"}`, "[]", strings.Repeat("[", 50), `{"type":"a"}{}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		kind, ok := graphqlapi.Message(raw)
		if !ok {
			return
		}
		var std map[string]any
		if err := json.Unmarshal(raw, &std); err != nil {
			t.Fatalf("%q is taken, and is no JSON object: %v", raw, err)
		}
		if theirs, _ := std["type"].(string); theirs != kind {
			t.Errorf("%q is of type %q, and for another reader of type %q", raw, kind, theirs)
		}
	})
}
