package security_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// typeRef is a type of GraphQL as introspection tells of it.
type typeRef struct {
	Kind, Name string
	OfType     *typeRef
}

func (r *typeRef) text() string {
	switch r.Kind {
	case "NON_NULL":
		return r.OfType.text() + "!"
	case "LIST":
		return "[" + r.OfType.text() + "]"
	}
	return r.Name
}

func (r *typeRef) named() *typeRef {
	for r.OfType != nil {
		r = r.OfType
	}
	return r
}

type inputValue struct {
	Name string
	Type typeRef
}

type graphType struct {
	Kind, Name string
	Fields     []struct {
		Name string
		Args []inputValue
		Type typeRef
	}
	InputFields []inputValue
	EnumValues  []struct{ Name string }
}

const introspection = `{ __schema { types { kind name
  fields { name args { name type { ...T } } type { ...T } } inputFields { name type { ...T } } enumValues { name } } } }
fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`

func (a *auditor) schema(t *testing.T) map[string]graphType {
	t.Helper()
	var told struct {
		Data struct {
			Schema struct{ Types []graphType } `json:"__schema"`
		}
	}
	w := a.n.graphql(introspection, nil, "")
	if err := json.Unmarshal([]byte(w.body), &told); err != nil {
		t.Fatal(err)
	}
	all := map[string]graphType{}
	for _, g := range told.Data.Schema.Types {
		all[g.Name] = g
	}
	if len(all["Query"].Fields) < 5 || len(all["Mutation"].Fields) < 10 {
		t.Fatalf("%.1000s", w.body)
	}
	return all
}

// good is a value that an argument may have.
func good(types map[string]graphType, v *inputValue) any {
	of := v.Type
	required := of.Kind == "NON_NULL"
	if required {
		of = *of.OfType
	}
	known := map[string]any{"username": "bea", "email": "bea@example.com", "password": password, "currentPassword": password, "newPassword": "another password of the tests", "cidr": "203.0.113.7", "userId": "ann", "id": "ann", "user": "ann"}
	switch {
	case of.Kind == "LIST":
		return []any{}
	case types[of.Name].Kind == "INPUT_OBJECT":
		o := object{}
		for _, f := range types[of.Name].InputFields {
			if f.Type.Kind == "NON_NULL" {
				o[f.Name] = good(types, &f)
			}
		}
		return o
	case !required:
		return nil
	case known[v.Name] != nil:
		return known[v.Name]
	case of.Name == "Int":
		return 1
	case of.Name == "Boolean":
		return false
	case types[of.Name].Kind == "ENUM":
		return types[of.Name].EnumValues[0].Name
	}
	return "x"
}

// selection asks for something of a type.
func selection(types map[string]graphType, r *typeRef) string {
	of := types[r.named().Name]
	if of.Kind != "OBJECT" {
		return ""
	}
	for _, f := range of.Fields {
		if k := types[f.Type.named().Name].Kind; (k == "SCALAR" || k == "ENUM") && len(f.Args) == 0 {
			return " { " + f.Name + " }"
		}
	}
	return " { __typename }"
}

// operations are all fields at the top, each with what is hostile in the place of each of its arguments, and of each field of those that are objects.
func (a *auditor) operations(types map[string]graphType, each func(kind, field, what, query, variables string)) {
	for _, kind := range []string{"Query", "Mutation", "Subscription"} {
		for _, f := range types[kind].Fields {
			var declared, used []string
			plain := object{}
			for i := range f.Args {
				v := &f.Args[i]
				declared, used = append(declared, "$"+v.Name+": "+v.Type.text()), append(used, v.Name+": $"+v.Name)
				if value := good(types, v); value != nil {
					plain[v.Name] = value
				}
			}
			query := strings.ToLower(kind)
			if len(declared) > 0 {
				query += "(" + strings.Join(declared, ", ") + ") { " + f.Name + "(" + strings.Join(used, ", ") + ")"
			} else {
				query += " { " + f.Name
			}
			query += selection(types, &f.Type) + " }"
			each(kind, f.Name, "as it should be", query, jsonWith(plain, "unknown", "1"))
			for i := range f.Args {
				v := &f.Args[i]
				of := types[v.Type.named().Name]
				for _, h := range hostile(v.Name) {
					each(kind, f.Name, h.name+" as "+v.Name, query, jsonWith(plain, v.Name, h.value))
				}
				for _, in := range of.InputFields {
					inner, _ := plain[v.Name].(object)
					for _, h := range hostile(in.Name) {
						each(kind, f.Name, h.name+" as "+v.Name+"."+in.Name, query, jsonWith(plain, v.Name, jsonWith(inner, in.Name, h.value)))
					}
				}
				literals := map[string]string{"a great number": strings.Repeat("9", 400), "a great exponent": "1e999999", "a variable that is not there": "$nothing", "an enum": "NOTHING", "an object": "{a: {a: {a: 1}}}", "a block": `"""` + strings.Repeat("x\n", 2000) + `"""`, "deep": strings.Repeat("[", 150) + strings.Repeat("]", 150), "escapes": `"\u0000\u202e"`}
				for _, name := range sorted(literals) {
					literal := literals[name]
					each(kind, f.Name, name+" as a literal", strings.ToLower(kind)+" { "+f.Name+"("+v.Name+": "+literal+")"+selection(types, &f.Type)+" }", "{}")
				}
			}
		}
	}
}

func (a *auditor) fields(t *testing.T) {
	types := a.schema(t)
	a.operations(types, func(_, field, what, query, variables string) {
		text, _ := json.Marshal(query)
		body := `{"query":` + string(text) + `,"variables":` + variables + `}`
		for _, c := range a.callers {
			got := a.try(t, c, field+", "+what, request{method: "POST", path: "/graphql", body: body}, false)
			all, _ := got.json["errors"].([]any)
			for _, e := range all {
				one, _ := e.(map[string]any)
				ext, _ := one["extensions"].(map[string]any)
				if code := fmt.Sprint(ext["code"]); code == "INTERNAL_SERVER_ERROR" || code == "<nil>" || code == "UNAVAILABLE" || code == "INTERNAL" {
					if a.shown++; a.shown <= 40 {
						t.Errorf("%s, %s as %s: a fault: %.400s", field, what, c, got.body)
					}
				}
			}
			if len(all) > 0 && strings.Contains(got.body, secretMark) {
				if a.shown++; a.shown <= 40 {
					t.Errorf("%s, %s as %s: the refusal repeats what was sent: %.400s", field, what, c, got.body)
				}
			}
			if len(all) == 0 && strings.HasPrefix(query, "mutation") {
				for _, c := range a.callers {
					a.signIn(c)
				}
			}
		}
	})
	whole := map[string]string{
		"no query": `{}`, "a query of a number": `{"query":1}`, "variables of a text": `{"query":"{ me { id } }","variables":"x"}`, "variables of an array": `{"query":"{ me { id } }","variables":[]}`, "deep variables": `{"query":"{ me { id } }","variables":{"a":` + strings.Repeat("[", 100_000) + `}}`,
		"an operation that is not there": `{"query":"query a { me { id } }","operationName":"b"}`, "an operation of a number": `{"query":"query a { me { id } }","operationName":1}`, "a query of 900 KiB": `{"query":"{ ` + strings.Repeat("a ", 450<<10) + `}"}`, "invalid UTF-8": "{\"query\":\"{ me { id } } # \xff\"}",
		"a persisted query": `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + strings.Repeat("ab", 32) + `"}}}`, "an empty query": `{"query":""}`, "a comment": `{"query":"# nothing"}`, "a fragment alone": `{"query":"fragment F on Query { me { id } }"}`, "NUL": `{"query":"{ me\u0000 { id } }"}`, "a directive": `{"query":"{ me @include(if: 1) { id } }"}`,
		"a fragment of itself": `{"query":"{ ...F } fragment F on Query { ...F }"}`, "brackets": `{"query":"` + strings.Repeat("{", 100_000) + `"}`, "a schema": `{"query":"type Query { a: String } extend schema { mutation: M }"}`, "introspection in depth": `{"query":"{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }"}`,
		"a member twice": `{"query":"{ me { id } }","query":"{ users { nodes { id } } }"}`, "an unknown member": `{"query":"{ me { id } }","unknown":1}`,
	}
	for _, name := range sorted(whole) {
		body := whole[name]
		for _, c := range a.callers {
			a.try(t, c, name, request{method: "POST", path: "/graphql", body: body}, false)
		}
	}
}

// sockets says to a socket of GraphQL, and to the feed, what nobody should: the server closes it with a code of the protocol, or answers, and goes on.
func (a *auditor) sockets(t *testing.T) {
	a.n.serve()
	types := a.schema(t)
	var subscriptions []string
	a.operations(types, func(kind, _, _, query, variables string) {
		if kind == "Subscription" {
			text, _ := json.Marshal(query)
			subscriptions = append(subscriptions, `{"id":"1","type":"subscribe","payload":{"query":`+string(text)+`,"variables":`+variables+`}}`)
		}
	})
	messages := append([]string{"", "null", "[]", "1", "{}", `{"type":1}`, `{"type":null}`, `{"type":"subscribe"}`, `{"type":"subscribe","id":1,"payload":{}}`, `{"type":"complete","id":{"a":1}}`, `{"type":"connection_init","payload":{"Authorization":{"a":1}}}`, `{"type":"connection_init","payload":"` + strings.Repeat("x", 60_000) + `"}`,
		strings.Repeat("[", 60_000), strings.Repeat(`{"a":`, 10_000), "{\"type\":\"\xff\"}", "\x00", `{"type":"ping","payload":{"a":1e999999}}`, `{"type":"subscribe","id":"` + strings.Repeat("i", 10_000) + `","payload":{"query":"{ __typename }"}}`}, subscriptions...)
	for _, h := range hostile("") {
		if value := h.value; len(value) < 60_000 {
			messages = append(messages, `{"id":"2","type":"subscribe","payload":{"query":"query($id: ID!) { user(id: $id) { id } }","variables":{"id":`+value+`}}}`, `{"id":`+value+`,"type":"subscribe","payload":`+value+`}`)
		}
	}
	for _, c := range a.callers {
		if c.operator {
			continue // who has a listener of their own
		}
		for i, m := range messages {
			if racing && i%41 != 0 {
				continue
			}
			a.asked++
			conn := a.n.dialGraphQL()
			init := object{"type": "connection_init"}
			if c.token != "" {
				init["payload"] = object{"Authorization": "Bearer " + c.token}
			}
			say(t, conn, init)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			_ = conn.Write(ctx, websocket.MessageText, []byte(m)) // it may be closed while it is written
			_ = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"ping"}`))
			for {
				_, b, err := conn.Read(ctx)
				if code := websocket.CloseStatus(err); err != nil {
					if code == websocket.StatusInternalError || ctx.Err() != nil {
						t.Errorf("%.200q as %s: %v", m, c, err)
					}
					break
				}
				if strings.Contains(string(b), "INTERNAL") || strings.Contains(string(b), `"error"`) && strings.Contains(string(b), secretMark) {
					t.Errorf("%.200q as %s: %s", m, c, b)
				}
				if strings.Contains(string(b), `"pong"`) {
					break
				}
			}
			cancel()
			_ = conn.CloseNow()
		}
	}
	for _, query := range []string{"?token=" + secretMark, "?token=%00", "?ticket=%ff", "?after=-1", "?after=" + strings.Repeat("A", 5000), "?token=a&token=b", "?token=a&ticket=b", "?%zz"} {
		if conn, got := a.n.dialFeed(strings.ReplaceAll(query, "#", "%23"), nil); conn != nil || got.status < 400 || got.status >= 500 {
			t.Errorf("/ws%.100s: %d %s", query, got.status, got.body)
		}
	}
	if got := a.n.get("/healthz", ""); got.status != http.StatusOK {
		t.Errorf("after all that: %d", got.status)
	}
}
