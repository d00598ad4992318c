package audit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/audit"
)

// declared are the constants of that type as the source has them, so that one without a message is found.
func declared(t *testing.T, typ string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, s := range group.Specs {
			v, ok := s.(*ast.ValueSpec)
			if named, is := v.Type.(*ast.Ident); ok && is && named.Name == typ {
				all[v.Names[0].Name] = v.Values[0].(*ast.BasicLit).Value
			}
		}
	}
	return all
}

func TestEveryKindHasAMessage(t *testing.T) {
	var want []audit.Kind
	for name, value := range declared(t, "Kind") {
		text, err := strconv.Unquote(value)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, audit.Kind(text))
		message := audit.Kind(text).Message()
		if message == "" || message == text || message[:1] != strings.ToUpper(message[:1]) || strings.ContainsAny(message, "_\n") {
			t.Errorf("%s (%q) has the message %q, want a phrase", name, text, message)
		}
		if text != strings.ToLower(text) || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%s is stored as %q, want small letters and underscores", name, text)
		}
	}
	got := audit.Kinds()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 16 {
		t.Errorf("Kinds, against the constants (-want +got):\n%s", diff)
	}
}

func TestMessagesTellKindsApart(t *testing.T) {
	by := map[string]audit.Kind{}
	for _, k := range audit.Kinds() {
		if other, taken := by[k.Message()]; taken {
			t.Errorf("%s and %s both say %q", k, other, k.Message())
		}
		by[k.Message()] = k
	}
}

func TestTheTextsThatOthersSearchFor(t *testing.T) {
	for k, want := range map[audit.Kind]string{audit.AuthenticationFailed: "Authentication failed", audit.TokenRevoked: "Token revoked", audit.RateLimited: "Rate limit exceeded"} {
		if got := k.Message(); got != want {
			t.Errorf("%s says %q, want %q, word for word", k, got, want)
		}
	}
	if got := audit.Kind("of_a_later_version").Message(); got != "of_a_later_version" {
		t.Errorf("a kind that this version does not know says %q, want itself", got)
	}
}

func TestSeverity(t *testing.T) {
	for s, want := range map[audit.Severity]string{0: "unknown", audit.Info: "info", audit.Warning: "warning", audit.Critical: "critical", 4: "unknown"} {
		if got := s.String(); got != want {
			t.Errorf("severity %d is called %q, want %q", uint8(s), got, want)
		}
	}
	if audit.Info != 1 || audit.Warning != 2 || audit.Critical != 3 {
		t.Errorf("the numbers that are stored are %d, %d and %d, want 1, 2 and 3", audit.Info, audit.Warning, audit.Critical)
	}
	if audit.Success != "success" || audit.Failure != "failure" {
		t.Errorf("the outcomes are %q and %q", audit.Success, audit.Failure)
	}
}
