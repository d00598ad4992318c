package httpapi_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// told is how a refusal is to be answered.
type told struct {
	err    error
	status int
	code   string
	reason string
}

// answers names every exported refusal behind the transport.
var answers = map[string]told{
	"account.ErrCredentials":  {account.ErrCredentials, 401, "credentials_invalid", ""},
	"account.ErrLastAdmin":    {account.ErrLastAdmin, 409, "last_admin", ""},
	"account.ErrOwnAccount":   {account.ErrOwnAccount, 409, "own_account", ""},
	"account.ErrNotOne":       {account.ErrNotOne, 422, "validation_failed", ""},
	"account.InvalidError":    {&account.InvalidError{Field: "email", Detail: "d"}, 422, "validation_failed", ""},
	"app.ErrAddressBlocked":   {app.ErrAddressBlocked, 403, "address_blocked", ""},
	"app.ErrBlockTime":        {app.ErrBlockTime, 422, "validation_failed", ""},
	"alert.ErrFull":           {alert.ErrFull, 409, "too_many_silences", ""},
	"incident.ErrUnknown":     {incident.ErrUnknown, 404, "not_found", ""},
	"incident.ErrNone":        {incident.ErrNone, 409, "incident_state", ""},
	"incident.ErrSeveral":     {incident.ErrSeveral, 409, "incident_state", ""},
	"incident.ErrResolved":    {incident.ErrResolved, 409, "incident_state", ""},
	"incident.ErrFull":        {incident.ErrFull, 409, "incident_state", ""},
	"incident.ErrHeld":        {incident.ErrHeld, 409, "incident_state", ""},
	"incident.ErrIsolated":    {incident.ErrIsolated, 409, "incident_state", ""},
	"incident.ErrUndone":      {incident.ErrUndone, 409, "incident_state", ""},
	"incident.ErrNotAlone":    {incident.ErrNotAlone, 409, "incident_state", ""},
	"incident.ErrName":        {incident.ErrName, 422, "validation_failed", ""},
	"incident.ErrPercent":     {incident.ErrPercent, 422, "validation_failed", ""},
	"app.ErrOnlyNode":         {app.ErrOnlyNode, 409, "incident_state", ""},
	"app.ErrDrilling":         {app.ErrDrilling, 409, "incident_state", ""},
	"app.ErrUnknownNode":      {app.ErrUnknownNode, 404, "not_found", ""},
	"app.ErrNoTrail":          {app.ErrNoTrail, 404, "not_found", ""},
	"app.ErrIsolated":         {app.ErrIsolated, 503, "unavailable", ""},
	"app.ErrDisown":           {app.ErrDisown, 403, "link_refused", ""},
	"app.ErrHeldBack":         {app.ErrHeldBack, 503, "sign_in_held", ""},
	"alert.ErrUnknown":        {alert.ErrUnknown, 404, "not_found", ""},
	"app.ErrNotContainable":   {app.ErrNotContainable, 409, "not_containable", ""},
	"app.ErrSilence":          {app.ErrSilence, 422, "validation_failed", ""},
	"block.ErrFull":           {block.ErrFull, 409, "too_many_blocks", ""},
	"block.ErrInvalid":        {block.ErrInvalid, 422, "validation_failed", ""},
	"block.ErrUnknown":        {block.ErrUnknown, 404, "not_found", ""},
	"block.RiskyError":        {&block.RiskyError{Detail: "d"}, 409, "block_risky", ""},
	"app.ErrForeignToken":     {app.ErrForeignToken, 400, "malformed_request", ""},
	"app.ErrTokenType":        {app.ErrTokenType, 400, "malformed_request", ""},
	"app.ErrPasswordNeeded":   {app.ErrPasswordNeeded, 422, "validation_failed", ""},
	"app.AttemptsError":       {&app.AttemptsError{}, 429, "too_many_attempts", ""},
	"audit.ErrEncoding":       {audit.ErrEncoding, 500, "internal", ""}, // what is kept is damaged
	"audit.ErrDisorder":       {audit.ErrDisorder, 500, "internal", ""},
	"audit.DamagedError":      {&audit.DamagedError{At: 1, Err: ports.ErrUnavailable}, 503, "unavailable", ""},
	"app.ErrEmptySpan":        {app.ErrEmptySpan, 422, "validation_failed", ""},
	"app.ErrTrailBroken":      {app.ErrTrailBroken, 500, "internal", ""},
	"app.ErrTrailForged":      {app.ErrTrailForged, 500, "internal", ""},
	"app.ErrTrailLost":        {app.ErrTrailLost, 500, "internal", ""},
	"audit.ErrKey":            {audit.ErrKey, 500, "internal", ""},
	"audit.ErrLine":           {audit.ErrLine, 500, "internal", ""},
	"apikey.ErrEnded":         {apikey.ErrEnded, 409, "key_state", ""},
	"apikey.ErrEnvironment":   {apikey.ErrEnvironment, 401, "token_invalid", ""},
	"apikey.ErrExpired":       {apikey.ErrExpired, 401, "token_expired", ""},
	"apikey.ErrInvalid":       {apikey.ErrInvalid, 401, "token_invalid", ""},
	"apikey.ErrMalformed":     {apikey.ErrMalformed, 401, "token_malformed", ""},
	"apikey.ErrRotated":       {apikey.ErrRotated, 409, "key_state", ""},
	"apikey.InvalidError":     {&apikey.InvalidError{Field: "name", Detail: "d"}, 422, "validation_failed", ""},
	"apikey.LimitError":       {&apikey.LimitError{Limit: 50}, 409, "too_many_api_keys", ""},
	"app.ErrTwoCredentials":   {app.ErrTwoCredentials, 400, "malformed_request", ""},
	"app.ErrCrossOrigin":      {app.ErrCrossOrigin, 403, "cross_origin", ""},
	"app.ErrHandshakeHeader":  {app.ErrHandshakeHeader, 400, "malformed_request", ""},
	"app.ErrUpgrade":          {app.ErrUpgrade, 426, "upgrade_required", ""},
	"app.ErrStopping":         {app.ErrStopping, 503, "unavailable", ""},
	"app.CrowdedError":        {&app.CrowdedError{Own: true, Max: 1}, 429, "too_many_connections", ""},
	"app.ErrGap":              {app.ErrGap, 500, "internal", ""}, // these two are told on what is open already
	"app.ErrSlow":             {app.ErrSlow, 500, "internal", ""},
	"app.ErrClock":            {app.ErrClock, 503, "unavailable", ""},
	"app.ErrForbidden":        {app.ErrForbidden, 403, "forbidden", ""},
	"app.NotDurableError":     {&app.NotDurableError{Cause: ports.ErrNoSpace}, 503, "not_yet_durable", ""},
	"app.ErrSetUp":            {app.ErrSetUp, 403, "setup_refused", ""},
	"app.ScopeError":          {&app.ScopeError{Scope: apikey.Admin}, 403, "forbidden", ""},
	"app.StrangeFilesError":   {&app.StrangeFilesError{Want: "m"}, 503, "unavailable", ""},
	"app.SelectorError":       {&app.SelectorError{Field: "kid", Detail: "d"}, 422, "validation_failed", ""},
	"id.ErrInvalid":           {id.ErrInvalid, 422, "validation_failed", ""},
	"id.ErrNotRandom":         {id.ErrNotRandom, 503, "unavailable", ""},
	"keyset.ErrDuplicate":     {keyset.ErrDuplicate, 409, "taken", ""},
	"keyset.KeyError":         {&keyset.KeyError{KeyID: "k", Err: keyset.ErrSigns}, 409, "key_state", ""},
	"app.UnconfirmedError":    {&app.UnconfirmedError{What: "a key", Nodes: []string{"n2"}}, 409, "key_state", ""},
	"keyset.EarlyError":       {&keyset.EarlyError{KeyID: "k"}, 409, "key_state", ""},
	"keyset.ErrLast":          {keyset.ErrLast, 409, "key_state", ""},
	"keyset.ErrPending":       {keyset.ErrPending, 409, "key_state", ""},
	"keyset.ErrSigns":         {keyset.ErrSigns, 409, "key_state", ""},
	"keyset.ErrTransition":    {keyset.ErrTransition, 409, "key_state", ""},
	"keyset.ErrUnknown":       {keyset.ErrUnknown, 404, "not_found", ""},
	"ports.BusyError":         {&ports.BusyError{What: "w", RetryAfter: time.Second}, 503, "unavailable", ""},
	"ports.ErrDamaged":        {ports.ErrDamaged, 503, "unavailable", ""},
	"ports.ErrNoSpace":        {ports.ErrNoSpace, 507, "no_space", ""},
	"ports.ErrNotFound":       {ports.ErrNotFound, 404, "not_found", ""},
	"ports.ErrTaken":          {ports.ErrTaken, 409, "taken", ""},
	"ports.ErrUnavailable":    {ports.ErrUnavailable, 503, "unavailable", ""},
	"ratelimit.ErrInvalid":    {ratelimit.ErrInvalid, 422, "validation_failed", ""},
	"ratelimit.LimitedError":  {&ratelimit.LimitedError{}, 429, "rate_limited", ""},
	"revocation.ErrInvalid":   {revocation.ErrInvalid, 422, "validation_failed", ""},
	"revocation.ErrStale":     {revocation.ErrStale, 503, "revocations_stale", ""},
	"revocation.RevokedError": {&revocation.RevokedError{Verdict: revocation.Verdict{Reason: revocation.Logout}}, 401, "token_revoked", "logout"},
	"session.EndedError":      {&session.EndedError{Reason: revocation.RefreshReuse}, 401, "token_revoked", "refresh_reuse"},
	"session.ErrExpired":      {session.ErrExpired, 401, "token_expired", ""},
	"session.ErrInvalid":      {session.ErrInvalid, 401, "token_invalid", ""},
	"session.ErrMalformed":    {session.ErrMalformed, 401, "token_invalid", ""},
	"system.ErrFuture":        {system.ErrFuture, 422, "validation_failed", ""},
	"upload.InvalidError":     {&upload.InvalidError{Detail: "d"}, 422, "validation_failed", ""},
	"upload.SizeError":        {&upload.SizeError{Most: 1}, 413, "body_too_large", ""},
	"upload.QuotaError":       {&upload.QuotaError{Bytes: 1}, 409, "quota_exceeded", ""},
	"token.ErrExpired":        {token.ErrExpired, 401, "token_expired", ""},
	"token.ErrInvalid":        {token.ErrInvalid, 401, "token_invalid", ""},
	"token.ErrMalformed":      {token.ErrMalformed, 401, "token_malformed", ""},
	"token.ErrMissing":        {token.ErrMissing, 401, "token_missing", ""},
	"token.ErrUnknownKey":     {token.ErrUnknownKey, 401, "token_invalid", ""},
}

// TestEveryRefusalHasAnAnswer has the hasher give each exported refusal of the packages behind the transport, bare and wrapped, and looks at the answer. A refusal
// that those packages have and this test does not know is a failure.
func TestEveryRefusalHasAnAnswer(t *testing.T) {
	found := exportedRefusals(t)
	for name := range found {
		if _, ok := answers[name]; !ok {
			t.Errorf("%s is new: give it an answer in problems.go, and a line here", name)
		}
	}
	s := newService(t)
	for name, want := range answers {
		if !found[name] {
			t.Errorf("%s is no more", name)
		}
		for _, err := range []error{want.err, fmt.Errorf("at /secret/place: %w", want.err)} {
			s.core.Passwords = failing{err}
			w := s.post("/api/v1/auth/login", `{"username":"ann","password":"hunter2hunter2"}`, unreal+": 1")
			got := wants(t, w, want.status, want.code)
			if reason, _ := got["reason"].(string); reason != want.reason {
				t.Errorf("%s: reason: got %q, want %q", name, reason, want.reason)
			}
			if strings.Contains(w.Body.String(), "secret/place") || strings.Contains(fmt.Sprint(w.Header()), "secret/place") {
				t.Errorf("%s: what wraps it is told: %s, %v", name, w.Body, w.Header())
			}
		}
	}
}

// exportedRefusals are the variables Err* and the types *Error that domain, ports and app export.
func exportedRefusals(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, dir := range []string{"domain", "ports", "app"} {
		check(t, filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "porttest" || d.Name() == "testdata" || d.Name() == "xteam"):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			f, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, decl := range f.Decls {
				if g, ok := decl.(*ast.GenDecl); ok {
					for _, spec := range g.Specs {
						for _, name := range refusals(spec) {
							found[f.Name.Name+"."+name] = true
						}
					}
				}
			}
			return nil
		}))
	}
	return found
}

func refusals(spec ast.Spec) (names []string) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if strings.HasPrefix(n.Name, "Err") {
				names = append(names, n.Name)
			}
		}
	case *ast.TypeSpec:
		if s.Name.IsExported() && strings.HasSuffix(s.Name.Name, "Error") {
			names = append(names, s.Name.Name)
		}
	}
	return names
}
