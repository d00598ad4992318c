package graphqlapi

import "github.com/vektah/gqlparser/v2/ast"

// Prepare is how a document is judged by what it costs, and what it may cost at most in fields.
func Prepare(text string, introspection bool) (fields, most int, err error) {
	fields, refusal := prepare(text, introspection)
	if refusal != nil {
		return 0, maxFields, refusal
	}
	return fields, maxFields, nil
}

// Schema is what documents are validated against.
func Schema() *ast.Schema { return NewExecutableSchema(Config{}).Schema() }

// Message reports whether a socket takes a message, and of which type.
func Message(b []byte) (kind string, ok bool) {
	m, ok := parse(b)
	return m.Type, ok
}

// Body is what a request's body asks for, if it is taken.
func Body(raw []byte) (query, operation string, variables map[string]any, ok bool) {
	in, bad := new(exchange).parse(raw)
	if bad != nil {
		return "", "", nil, false
	}
	return in.query, in.operation, in.variables, true
}

// FaultsOf are the members that a refusal of an input names.
func FaultsOf(err error) (names []string) {
	r, _ := refusalOf(err)
	for _, f := range r.Fields {
		names = append(names, f.Field)
	}
	return names
}
