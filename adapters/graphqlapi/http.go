package graphqlapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/xteam/xteam/app"
)

// The media types of answers (GraphQL over HTTP, section 4.2). In plain JSON only what is no request at all has another status than 200.
const (
	typeJSON     = "application/json"
	typeResponse = "application/graphql-response+json"
)

// contentTypes are shared and never changed.
var contentTypes = map[string][]string{typeJSON: {typeJSON + "; charset=utf-8"}, typeResponse: {typeResponse + "; charset=utf-8"}}

// ServeHTTP serves one operation, or upgrades to a socket.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, ok := app.VisitOf(r.Context())
	if !ok {
		http.Error(w, errNoVisit.Error(), http.StatusInternalServerError)
		return
	}
	if r.Method == http.MethodGet && asksToUpgrade(r) {
		a.serveSocket(w, r, v)
		return
	}
	x := &exchange{a, w, r, v, typeOf(r.Header["Accept"])}
	in, bad := x.read()
	if bad != nil {
		x.refuse(bad)
		return
	}
	op, wrong := a.prepared(r.Context(), in)
	switch {
	case len(wrong) > 0:
		x.refuse(&badRequestError{status: x.invalid(), all: wrong})
	case op.Operation.Operation == ast.Subscription:
		x.refuse(x.bad(http.StatusBadRequest, "subscriptions go over a WebSocket, as graphql-transport-ws"))
	case op.Operation.Operation == ast.Mutation && r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		x.refuse(x.bad(http.StatusMethodNotAllowed, "a mutation must be sent by POST"))
	case useless(op):
		if _, err := v.Admit(app.Rule{Class: app.Read}); err != nil {
			x.limited(err)
			return
		}
		x.answer(http.StatusOK, x.api.respond(r.Context(), op))
	default:
		x.execute(op)
	}
}

// exchange is one request over HTTP and its answer.
type exchange struct {
	api   *API
	w     http.ResponseWriter
	r     *http.Request
	visit app.Visit
	kind  string // the media type of the answer
}

// typeOf chooses the media type of the answer. Whoever wants neither gets plain JSON all the same: an answer is better than none.
func typeOf(accept []string) string {
	for _, line := range accept {
		for one := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(one, ";")
			if strings.Contains(strings.ReplaceAll(params, " ", ""), "q=0") && !strings.Contains(params, "q=0.") {
				continue
			}
			switch strings.ToLower(strings.TrimSpace(name)) {
			case typeResponse:
				return typeResponse
			case typeJSON, "*/*", "application/*":
				return typeJSON
			}
		}
	}
	return typeJSON
}

// invalid is the status of an answer to a document that is not executed.
func (x *exchange) invalid() int {
	if x.kind == typeResponse {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// badRequestError is why nothing is executed.
type badRequestError struct {
	status int
	all    gqlerror.List
	cause  error // an error of the body, of the transport around
}

func (x *exchange) bad(status int, message string) *badRequestError {
	return &badRequestError{status: status, all: gqlerror.List{{Message: message, Extensions: map[string]any{"code": badRequest}}}}
}

// refuse charges the address and answers.
func (x *exchange) refuse(bad *badRequestError) {
	if err := x.visit.Charge(app.Charge{Class: app.Unclassed}); err != nil {
		x.limited(err)
		return
	}
	if bad.cause != nil {
		x.visit.Refuse(bad.cause)
		return
	}
	x.answer(bad.status, &graphql.Response{Errors: bad.all})
}

// limited answers a request that was refused before it was read.
func (x *exchange) limited(err error) { x.visit.Refuse(err) }

// The members of a request. What else a client sends is refused, as everywhere.
var members = map[string]bool{"query": true, "variables": true, "operationName": true, "extensions": true}

func (x *exchange) read() (*request, *badRequestError) {
	switch x.r.Method {
	case http.MethodPost:
		return x.readBody()
	case http.MethodGet, http.MethodHead:
		return x.readQuery()
	}
	x.w.Header().Set("Allow", "GET, POST")
	return nil, x.bad(http.StatusMethodNotAllowed, "send an operation by POST, or a query by GET")
}

// readBody takes JSON alone, which no page of another origin can send without asking first, whatever credential comes with it.
func (x *exchange) readBody() (*request, *badRequestError) {
	if !saysJSON(x.r.Header.Get("Content-Type")) {
		return nil, x.bad(http.StatusUnsupportedMediaType, "send the operation as application/json")
	}
	b := answers.Get().(*bytes.Buffer)
	defer answers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(x.r.Body); err != nil {
		return nil, &badRequestError{cause: err}
	}
	return x.parse(b.Bytes())
}

func saysJSON(contentType string) bool {
	if contentType == typeJSON { // mostly
		return true
	}
	t, params, err := mime.ParseMediaType(contentType)
	charset := strings.ToLower(params["charset"])
	return err == nil && t == typeJSON && (charset == "" || charset == "utf-8")
}

// parse reads the body: one JSON object, each member once. It keeps none of it.
func (x *exchange) parse(raw []byte) (*request, *badRequestError) {
	var in request
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	switch dec.PeekKind() {
	case jsontext.KindBeginObject:
	case jsontext.KindBeginArray:
		return nil, x.bad(http.StatusBadRequest, "send one operation, not an array of them")
	default:
		return nil, x.bad(http.StatusBadRequest, "the body must be one JSON object")
	}
	if err := in.decode(dec); err != nil {
		if wrong := (*shapeError)(nil); errors.As(err, &wrong) {
			return nil, x.bad(http.StatusBadRequest, wrong.want)
		}
		return nil, x.bad(http.StatusBadRequest, "the body is not valid JSON, or names a member twice")
	}
	if rest := bytes.TrimLeft(dec.UnreadBuffer(), " \t\r\n"); len(rest) > 0 {
		return nil, x.bad(http.StatusBadRequest, "something follows the object")
	}
	if in.query == "" {
		return nil, x.bad(http.StatusBadRequest, "query is required")
	}
	return &in, nil
}

// decode reads the object of a request.
func (in *request) decode(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndObject {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		if !members[name] {
			if _, err := dec.ReadValue(); err != nil {
				return err
			}
			return &shapeError{"the members of a request are query, variables, operationName and extensions"}
		}
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := in.member(name, value); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (in *request) member(name string, value jsontext.Value) error {
	kind := value.Kind()
	switch {
	case name == "query" && kind == jsontext.KindString:
		in.query = unquoted(value)
		return nil
	case name == "query":
		return &shapeError{"query must be a string"}
	case kind == jsontext.KindNull:
		return nil
	case name == "operationName" && kind == jsontext.KindString:
		in.operation = unquoted(value)
		return nil
	case name == "operationName":
		return &shapeError{"operationName must be a string or null"}
	case kind != jsontext.KindBeginObject:
		return &shapeError{name + " must be an object or null"}
	case name == "variables":
		return in.decodeVariables(value)
	}
	return nil // no extension is known
}

// unquoted is a string that the decoder found good.
func unquoted(value jsontext.Value) string {
	b, _ := jsontext.AppendUnquote(nil, value)
	return string(b)
}

func (in *request) decodeVariables(raw []byte) error {
	if tooDeep(raw) {
		return &shapeError{"variables nest too deep"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(&in.variables)
}

// tooDeep reports whether a JSON value nests deeper than any type of the schema.
func tooDeep(raw []byte) bool {
	const most = 16
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == '['):
			if depth++; depth > most {
				return true
			}
		case !quoted && (c == '}' || c == ']'):
			depth--
		}
	}
	return false
}

// Headers by which a client shows that no form and no image asks: a page of another origin that sets one must ask first.
var preflighted = []string{"Apollo-Require-Preflight", "X-Requested-With", "Authorization", "X-Api-Key"}

// readQuery reads a query from the URL. Without a credential in a header the request may carry a cookie: then it must show that a script of an allowed origin made it.
func (x *exchange) readQuery() (*request, *badRequestError) {
	if len(x.r.Header["Cookie"]) > 0 {
		shown := false
		for _, h := range preflighted {
			shown = shown || x.r.Header.Get(h) != ""
		}
		if !shown {
			return nil, x.bad(http.StatusBadRequest, "a GET with cookies needs the header Apollo-Require-Preflight, or send POST")
		}
	}
	q := x.r.URL.Query()
	for name, values := range q {
		if !members[name] || len(values) != 1 {
			return nil, x.bad(http.StatusBadRequest, "the parameters of a request are query, variables, operationName and extensions, each once")
		}
	}
	in := request{query: q.Get("query"), operation: q.Get("operationName")}
	for _, name := range []string{"variables", "extensions"} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		value := jsontext.Value(text)
		if !value.IsValid() {
			return nil, x.bad(http.StatusBadRequest, name+" must be a JSON object")
		}
		if err := in.member(name, bytes.TrimSpace(value)); err != nil {
			return nil, x.bad(http.StatusBadRequest, name+" must be a JSON object")
		}
	}
	if in.query == "" {
		return nil, x.bad(http.StatusBadRequest, "query is required")
	}
	return &in, nil
}

func (a *API) respond(ctx context.Context, op *graphql.OperationContext) *graphql.Response {
	respond, ctx := a.run.DispatchOperation(ctx, op)
	return respond(ctx)
}

// execute runs an operation to its end and answers.
func (x *exchange) execute(op *graphql.OperationContext) {
	once := &counted{Visit: x.visit}
	out := x.api.respond(app.WithVisit(x.r.Context(), once), op)
	if !once.charged.Load() { // each argument was of a wrong shape
		if err := x.visit.Charge(app.Charge{Class: app.Unclassed}); err != nil {
			x.limited(err)
			return
		}
	}
	x.answer(http.StatusOK, out)
}

// counted is a visit that knows whether anything was charged.
type counted struct {
	app.Visit
	charged atomic.Bool
}

// Admit is of app.Visit.
func (c *counted) Admit(r app.Rule) (app.Caller, error) {
	c.charged.Store(true)
	return c.Visit.Admit(r)
}

// Charge is of app.Visit.
func (c *counted) Charge(h app.Charge) error {
	c.charged.Store(true)
	return c.Visit.Charge(h)
}

var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (x *exchange) answer(status int, out *graphql.Response) {
	b := answers.Get().(*bytes.Buffer)
	defer answers.Put(b)
	b.Reset()
	write(b, out)
	x.w.Header()["Content-Type"] = contentTypes[x.kind] // and no other: those of every answer are cheap as long as none is ours
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(b.Bytes()) // a client that has gone
	}
}

// write writes an answer as JSON. Errors come first, as the specification asks (section 7.1).
func write(b *bytes.Buffer, out *graphql.Response) {
	b.WriteByte('{')
	if len(out.Errors) > 0 {
		b.WriteString(`"errors":`)
		raw, err := json.Marshal(out.Errors)
		if err != nil {
			raw = []byte(`[]`) // strings, numbers and lists of them always marshal
		}
		b.Write(raw)
	}
	if len(out.Data) > 0 {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"data":`)
		b.Write(out.Data)
	}
	b.WriteByte('}')
}

// ended tells why a subscription is over, to whoever runs it.
func ended(ctx context.Context, err error) {
	if tell, ok := ctx.Value(endedKey{}).(func(error)); ok {
		tell(err)
	}
}

type endedKey struct{}
