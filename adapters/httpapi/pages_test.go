package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const style = `:root{color-scheme:light dark;--line:#8886}body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}h1,h2,h3{line-height:1.2}h2{margin-top:3rem}
h3{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:1rem}code,pre{font:.88em/1.5 ui-monospace,monospace}pre{overflow:auto;padding:.75rem;border:1px solid var(--line);border-radius:.4rem}
table{border-collapse:collapse;width:100%;display:block;overflow:auto}td,th{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line)}.method{font-weight:700}:target{outline:2px solid;outline-offset:.3rem}
nav ul{columns:2 18rem;padding-left:1.2rem}`

const docsTemplate = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>XTeam API</title><style>{{style}}</style></head><body>
<h1>{{.info.title}} API</h1>
<p>{{text .info.description}}</p>
<p>The same for programs: <a href="/openapi.json">openapi.json</a>, OpenAPI {{.openapi}}.</p>
<nav aria-label="Operations">{{range .groups}}<h2>{{.Name}}</h2><p>{{text .About}}</p><ul>{{range .Operations}}<li><a href="#{{.ID}}">{{.Title}}</a></li>{{end}}</ul>{{end}}</nav>
<main>{{range .groups}}{{range .Operations}}
<h3 id="{{.ID}}">{{.Title}}</h3>
<p><code><span class="method">{{.Method}}</span> {{.Path}}</code></p>
{{with .About}}<p>{{text .}}</p>{{end}}
<p>For: {{.For}}. Rate limit: <code>{{.Class}}</code>.</p>
{{with .Parameters}}<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>{{range .}}<tr><td><code>{{.name}}</code></td><td>{{.in}}</td><td>{{text .description}}</td></tr>{{end}}</table>{{end}}
{{with .Body}}<p>Body, {{.Media}}{{if .Optional}}, or none{{end}}:</p>{{template "members" .Members}}<pre>{{.Example}}</pre>{{end}}
{{range .Answers}}<p><strong>{{.Status}}</strong> {{text .About}}</p>{{template "members" .Members}}{{with .Example}}<pre>{{.}}</pre>{{end}}{{end}}
<p>Problems: {{range $i, $p := .Problems}}{{if $i}}, {{end}}{{$p}}{{end}}; <a href="/docs/problems">what they mean</a>.</p>
{{end}}{{end}}</main></body></html>
{{define "members"}}{{with .}}<table><tr><th>member</th><th>type</th><th>meaning</th></tr>{{range .}}<tr><td><code>{{.Name}}</code></td><td>{{.Type}}</td><td>{{.About}}</td></tr>{{end}}</table>{{end}}{{end}}`

const problemsTemplate = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>XTeam problems</title><style>{{style}}</style></head><body>
<h1>Problems</h1>
<p>An answer that is no success has the form of RFC 9457, <code>application/problem+json</code>. Its <code>code</code> is one of these, its <code>type</code> is the line here; clients decide by the code, people read <code>detail</code>, and <code>request_id</code> finds the line in the server's log. <a href="/docs">The whole API</a>.</p>
<table><tr><th>code</th><th>status</th><th>what it means</th><th>what to do</th></tr>
{{range .problems}}<tr id="{{.Code}}"><td><code>{{.Code}}</code></td><td>{{.Status}}</td><td>{{.Means}}</td><td>{{.Do}}</td></tr>
{{end}}</table></body></html>
`

// homeTemplate names nothing that the pages behind it do not tell: no version, and nobody.
const homeTemplate = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex"><title>{{.info.title}}</title><style>{{style}}</style></head><body>
<h1>{{.info.title}}</h1>
<p>A service for programs: it signs users in, hands out tokens, and revokes them. On this page there is nothing to sign in to.</p>
<ul><li><a href="/docs">What it answers</a>; the same for programs: <a href="/openapi.json">openapi.json</a></li>
<li><a href="/docs/problems">What a refusal means, and what to do</a></li>
<li><a href="/healthz">Does it live?</a> <a href="/readyz">Can it answer?</a></li></ul></body></html>
`

// page writes a page from the description, and from nothing else.
func page(t *testing.T, text string, description []byte) []byte {
	t.Helper()
	var spec map[string]any
	if err := json.Unmarshal(description, &spec); err != nil {
		t.Fatal(err)
	}
	spec["groups"] = groups(spec)
	type line struct {
		Code, Means, Do string
		Status          int
	}
	var lines []line
	for code, status := range codes(t) {
		lines = append(lines, line{code, advice()[code][0], advice()[code][1], status})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code)) })
	spec["problems"] = lines
	tmpl := template.Must(template.New("page").Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(style) }, "text": marked}).Parse(text))
	var out bytes.Buffer
	if err := tmpl.Execute(&out, spec); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var marks = regexp.MustCompile("`([^`]*)`|\\[([^\\]]*)\\]\\((/[^)]*)\\)")

// marked is a text with its code and its links.
func marked(v any) template.HTML {
	text, _ := v.(string)
	out, at := "", 0
	for _, m := range marks.FindAllStringSubmatchIndex(text, -1) {
		out += template.HTMLEscapeString(text[at:m[0]])
		if m[2] >= 0 {
			out += "<code>" + template.HTMLEscapeString(text[m[2]:m[3]]) + "</code>"
		} else {
			out += `<a href="` + template.HTMLEscapeString(text[m[6]:m[7]]) + `">` + template.HTMLEscapeString(text[m[4]:m[5]]) + "</a>"
		}
		at = m[1]
	}
	return template.HTML(out + template.HTMLEscapeString(text[at:])) // all of it is escaped above
}

type group struct {
	Name, About string
	Operations  []shownOperation
}

type shownOperation struct {
	ID, Title, About, Method, Path, For, Class string
	Parameters                                 []any
	Body                                       *shownBody
	Answers                                    []shownAnswer
	Problems                                   []string
}

type shownBody struct {
	Media    string
	Optional bool
	Members  []shownMember
	Example  string
}

type shownAnswer struct {
	Status, About, Example string
	Members                []shownMember
}

type shownMember struct{ Name, Type, About string }

// groups are the operations of a description by tag.
func groups(spec map[string]any) (all []group) {
	paths := spec["paths"].(map[string]any)
	for _, tag := range spec["tags"].([]any) {
		g := group{Name: tag.(map[string]any)["name"].(string), About: tag.(map[string]any)["description"].(string)}
		for _, r := range served() { // in this order
			item, _ := paths[r.path].(map[string]any)
			method := strings.ToLower(cmp.Or(r.method, "GET"))
			if op, ok := item[method].(map[string]any); ok && op["tags"].([]any)[0] == g.Name {
				g.Operations = append(g.Operations, shownOf(spec, r.path, method, op))
			}
		}
		all = append(all, g)
	}
	return all
}

func shownOf(spec map[string]any, path, method string, op map[string]any) shownOperation {
	s := shownOperation{ID: op["operationId"].(string), Title: op["summary"].(string), Method: strings.ToUpper(method), Path: path, Class: op["x-rate-limit-class"].(string), For: "anyone"}
	s.About, _ = op["description"].(string)
	s.Parameters, _ = op["parameters"].([]any)
	if len(op["security"].([]any)) > 0 {
		s.For = "who is signed in"
		if strings.Contains(path, "/admin/") || path == "/metrics" {
			s.For = "administrators"
		}
		if scope, ok := op["x-api-key-scope"].(string); ok {
			s.For += ", and API keys with the scope " + scope
		}
	}
	if body, ok := op["requestBody"].(map[string]any); ok {
		for media, c := range body["content"].(map[string]any) {
			s.Body = &shownBody{media, !body["required"].(bool), membersOf(spec, c.(map[string]any)["schema"]), exampleOf(c)}
		}
	}
	responses := op["responses"].(map[string]any)
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		r := responses[status].(map[string]any)
		if r["$ref"] != nil {
			if status != "default" {
				s.Problems = append(s.Problems, status)
			}
			continue
		}
		a := shownAnswer{Status: status, About: r["description"].(string)}
		content, _ := r["content"].(map[string]any)
		for _, c := range content {
			a.Members, a.Example = membersOf(spec, c.(map[string]any)["schema"]), exampleOf(c)
		}
		s.Answers = append(s.Answers, a)
	}
	return s
}

func exampleOf(content any) string {
	all, ok := content.(map[string]any)["examples"].(map[string]any)
	if !ok {
		return ""
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(all["one"].(map[string]any)["value"]) // it was decoded a moment ago
	return strings.TrimSpace(b.String())
}

// resolved follows a reference.
func resolved(spec map[string]any, schema any) (name string, s map[string]any) {
	s, _ = schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		name = ref[strings.LastIndexByte(ref, '/')+1:]
		s = spec["components"].(map[string]any)["schemas"].(map[string]any)[name].(map[string]any)
	}
	return name, s
}

// membersOf are the members of an object, and of those within its list, by the description.
func membersOf(spec map[string]any, schema any) (all []shownMember) {
	_, s := resolved(spec, schema)
	required, _ := s["required"].([]any)
	_, input := s["additionalProperties"]
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p := properties[name].(map[string]any)
		m := shownMember{Name: name, Type: typeOf(spec, p)}
		m.About, _ = p["description"].(string)
		must := slices.Contains(required, any(name))
		switch {
		case input && must:
			m.About = strings.TrimSpace("Required. " + m.About)
		case !input && !must:
			m.About = strings.TrimSpace("May be missing. " + m.About)
		}
		all = append(all, m)
		if items, ok := p["items"]; ok && name == "items" {
			for _, inner := range membersOf(spec, items) {
				inner.Name = "items[]." + inner.Name
				all = append(all, inner)
			}
		}
	}
	return all
}

func typeOf(spec map[string]any, p map[string]any) string {
	if values, ok := p["enum"].([]any); ok {
		var all []string
		for _, v := range values {
			all = append(all, fmt.Sprint(v))
		}
		return strings.Join(all, ", ")
	}
	if name, _ := resolved(spec, p); name != "" {
		return name
	}
	switch kind := p["type"].(type) {
	case string:
		if kind == "array" {
			return "list of " + typeOf(spec, p["items"].(map[string]any))
		}
		if format, ok := p["format"].(string); ok && format == "date-time" {
			return "time"
		}
		return kind
	case []any:
		inner := maps.Clone(p)
		inner["type"] = kind[0]
		return typeOf(spec, inner) + " or null"
	}
	if either, ok := p["anyOf"].([]any); ok {
		return typeOf(spec, either[0].(map[string]any)) + " or null"
	}
	return "object"
}
