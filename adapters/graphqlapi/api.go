// Package graphqlapi is the GraphQL transport, which stands inside the chain of the REST transport: schema.graphql says what is served, rules in resolvers.go what each
// field asks, limits.go what a document may cost, http.go and socket.go how it comes, and refusals.go which refusal becomes which answer. It decides nothing; package app does.
//
// generated.go and models_gen.go are made by `go tool gqlgen`.
package graphqlapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/99designs/gqlgen/complexity"
	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/xteam/xteam/app"
)

// Path is where an API belongs.
const Path = "/graphql"

// Services are the use cases that are served. All but Uploads are needed.
type Services struct {
	Sessions  *app.Sessions
	Accounts  *app.Accounts
	Revoker   *app.Revoker
	Rotator   *app.Rotator
	APIKeys   *app.APIKeys
	Tethers   *app.Tethers
	Live      *app.Live
	Blocks    *app.Blocks
	Alerts    *app.Alerts
	Incidents *app.Incidents
	Disowner  *app.Disowner
	Uploads   *app.Uploads // nil: there are no files
}

// Options tune an API. The zero value works.
type Options struct {
	Logger        *slog.Logger // default: nothing is logged
	Introspection bool         // whether the schema can be asked for
}

// API serves GraphQL. Its only state is a bounded number of documents that were found good, and a counter.
type API struct {
	Services
	log           *slog.Logger
	introspection bool
	schema        graphql.ExecutableSchema
	run           *executor.Executor
	docs          *documents
	waiting       atomic.Uint64 // answers that told somebody to come again after an outage
}

var _ http.Handler = (*API)(nil)

// New serves the services.
func New(s Services, o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{Services: s, log: o.Logger, introspection: o.Introspection, docs: &documents{}}
	a.schema = NewExecutableSchema(Config{Resolvers: a, Complexity: pages()})
	a.run = executor.New(a.schema)
	a.run.SetErrorPresenter(a.present)
	a.run.SetRecoverFunc(a.recover)
	a.run.SetQueryCache(a.docs)
	a.run.SetDisableSuggestion(!o.Introspection)
	a.run.SetParserTokenLimit(maxTokens)
	return a
}

var errPanic = errors.New("a resolver panicked")

// recover ends a panic of a field: it is logged with its stack, and whoever asked learns nothing of it.
func (a *API) recover(ctx context.Context, p any) error {
	request := ""
	if v, ok := app.VisitOf(ctx); ok {
		request = v.Request().ID
	}
	a.log.Error("A GraphQL field panicked", "request_id", request, "field", graphql.GetPath(ctx).String(), "panic", p, "stack", string(debug.Stack()))
	return errPanic
}

// request is one operation as it is asked for.
type request struct {
	query, operation string
	variables        map[string]any
}

// prepared answers an operation that may be executed, or why not.
func (a *API) prepared(ctx context.Context, in *request) (*graphql.OperationContext, gqlerror.List) {
	small, known := a.docs.find(in.query)
	if !known {
		fields, err := prepare(in.query, a.introspection)
		if err != nil {
			return nil, gqlerror.List{err}
		}
		ctx = context.WithValue(ctx, fieldsKey{}, fields)
	}
	ctx = graphql.StartOperationTrace(ctx) // of which the executor insists on the start
	op, wrong := a.run.CreateOperationContext(ctx, &graphql.RawParams{Query: in.query, OperationName: in.operation, Variables: in.variables})
	if len(wrong) > 0 {
		return nil, rejected(wrong)
	}
	if op.Operation.Operation == ast.Subscription && len(graphql.CollectFields(op, op.Operation.SelectionSet, []string{"Subscription"})) != 1 { // the validation counts names, and skips nothing
		return nil, gqlerror.List{{Message: "a subscription asks for exactly one field", Extensions: map[string]any{"code": errcode.ValidationFailed}}}
	}
	op.DisableIntrospection = !a.introspection
	if !small && complexity.Calculate(graphql.WithOperationContext(ctx, op), a.schema, op.Operation, op.Variables) > maxComplexity {
		return nil, gqlerror.List{tooMuch("the operation may answer more than %d fields: ask for fewer, or for shorter pages", maxComplexity)}
	}
	return op, nil
}

// useless reports whether an operation asks nothing but what the library answers by itself: no field of it would be charged.
func useless(op *graphql.OperationContext) bool {
	return !asks(op.Operation.SelectionSet)
}

func asks(all ast.SelectionSet) bool {
	for _, s := range all {
		switch s := s.(type) {
		case *ast.Field:
			if !strings.HasPrefix(s.Name, "__") {
				return true
			}
		case *ast.InlineFragment:
			if asks(s.SelectionSet) {
				return true
			}
		case *ast.FragmentSpread:
			if s.Definition != nil && asks(s.Definition.SelectionSet) {
				return true
			}
		}
	}
	return false
}

var errNoVisit = errors.New("this handler belongs into another transport")

func visitOf(ctx context.Context) (app.Visit, error) {
	if v, ok := app.VisitOf(ctx); ok {
		return v, nil
	}
	return nil, errNoVisit
}

// admit has whoever asks identified and charged, once for each field at the top.
func admit(ctx context.Context, r app.Rule) (app.Visit, app.Caller, error) {
	v, err := visitOf(ctx)
	if err != nil {
		return nil, app.Caller{}, err
	}
	who, err := v.Admit(r)
	return v, who, err
}

// actor is who was admitted to an administrator's act; without claims it is the operator, whom Admit alone lets in so.
func actor(v app.Visit, who app.Caller) app.Actor {
	if who.Claims == nil {
		return app.Actor{Name: app.Operator, Request: v.Request()}
	}
	return who.Actor(v.Request())
}
