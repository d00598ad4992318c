package azuresecrets_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/xteam/xteam/adapters/azuresecrets"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// TestMain hides the variables of whoever runs the tests from the chain of credentials.
func TestMain(m *testing.M) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AZURE_") || strings.HasPrefix(name, "IDENTITY_") || strings.HasPrefix(name, "MSI_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

func options(v *vault) azuresecrets.Options {
	return azuresecrets.Options{Vault: "prod-xteam", Credential: &azfake.TokenCredential{}, HTTPClient: v.client()}
}

func open(t testing.TB, o azuresecrets.Options) *azuresecrets.Secrets {
	t.Helper()
	s, err := azuresecrets.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func id(name string) string { return strings.ReplaceAll(name, "_", "-") }

func opened(t testing.TB) (ports.Secrets, func(name, value string)) {
	v := newVault()
	return open(t, options(v)), func(name, value string) { v.put(id(name), value) }
}

func TestSecrets(t *testing.T)  { porttest.Secrets(t, opened) }
func TestVersions(t *testing.T) { porttest.SecretVersions(t, opened) }

func TestOutages(t *testing.T) {
	t.Parallel()
	porttest.SecretOutages(t, func(t testing.TB) (ports.Secrets, func(name, value string), map[string]func() func()) {
		v := newVault()
		o := options(v)
		o.Timeout = 300 * time.Millisecond
		mends := map[string]func() func(){}
		for name, way := range ways {
			mends[name] = func() func() {
				v.change(func() { v.broken = way.broken })
				return func() { v.change(func() { v.broken = nil }) }
			}
		}
		return open(t, o), func(name, value string) { v.put(id(name), value) }, mends
	})
}

// TestWhatAStartSays proves that Open fails in one sentence, which names the vault and what to do.
func TestWhatAStartSays(t *testing.T) {
	for name, way := range ways {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, at the first request %v", name, first), func(t *testing.T) {
				t.Parallel()
				v := newVault()
				v.broken, v.first = way.broken, first
				o := options(v)
				o.Timeout = 2500 * time.Millisecond
				started := time.Now()
				s, err := azuresecrets.Open(t.Context(), o)
				if s != nil || !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) {
					t.Fatalf("Open = %v, want ErrUnavailable", err)
				}
				if took := time.Since(started); took > 15*time.Second {
					t.Errorf("Open took %v, where each Get has 2.5s", took)
				}
				text, says := err.Error(), way.says
				if first && name == "a challenge of elsewhere" {
					says = "cannot be asked" // nobody said what a token is to be for
				}
				for _, part := range []string{"the vault prod-xteam", "SECRET-KEY", says} {
					if !strings.Contains(text, part) {
						t.Errorf("the error is %q, want it to say %q", text, part)
					}
				}
				if strings.Contains(text, "planted") || strings.Contains(text, "\n") {
					t.Errorf("the error is %q, want one line with nothing that came from outside", text)
				}
			})
		}
	}
}

func TestTriesAreFew(t *testing.T) {
	for name, want := range map[string]int{"429": 3, "503": 3, "429 for long": 1, "403 by role": 1, "403 of something else": 1} {
		v := newVault()
		s := open(t, options(v))
		v.change(func() { v.broken, v.calls = ways[name].broken, 0 })
		if _, err := s.Get(t.Context(), "SECRET_KEY"); err == nil || !strings.Contains(err.Error(), ways[name].says) {
			t.Errorf("%s: %v, want %q", name, err, ways[name].says)
		}
		if v.calls != want {
			t.Errorf("%s: asked %d times, want %d", name, v.calls, want)
		}
	}
}

func TestVersionsThatAreDisabled(t *testing.T) {
	v := newVault()
	s := open(t, options(v))
	want := func(name, value string) {
		t.Helper()
		if got, err := s.Get(t.Context(), name); err != nil || got.RevealPlaintext() != value {
			t.Errorf("Get(%s) = %q, %v; want %q", name, got.RevealPlaintext(), err, value)
		}
	}
	for _, value := range []string{"first", "second", "third", "fourth", "fifth"} {
		v.put("SECRET-KEY", value)
	}
	of := v.secrets["SECRET-KEY"]
	want("SECRET_KEY_PREVIOUS", "fourth")
	v.change(func() { of[3].disabled = true })
	want("SECRET_KEY_PREVIOUS", "third")
	v.change(func() { of[2].disabled, of[1].disabled, of[0].disabled = true, true, true })
	if _, err := s.Get(t.Context(), "SECRET_KEY_PREVIOUS"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("with all earlier ones disabled: %v, want ErrNotFound", err)
	}
	want("SECRET_KEY", "fifth")
	v.change(func() { of[4].disabled, of[3].disabled = true, false })
	for _, name := range []string{"SECRET_KEY", "SECRET_KEY_PREVIOUS"} {
		if got, err := s.Get(t.Context(), name); !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) || !got.IsZero() || !strings.Contains(err.Error(), "is disabled: enable it") {
			t.Errorf("Get(%s) with the newest one disabled: %v, want ErrUnavailable", name, err)
		}
	}
	// Of one second: what is not the newest is earlier.
	v.change(func() {
		of[4].disabled = false
		of[3].created = of[4].created
	})
	want("SECRET_KEY_PREVIOUS", "fourth")
	if _, err := s.Get(t.Context(), "_PREVIOUS"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Get(_PREVIOUS) = %v, want ErrNotFound", err)
	}
}

func TestTooManyVersions(t *testing.T) {
	v := newVault()
	v.pages = 1
	for i := range 50 {
		v.put("SECRET-KEY", fmt.Sprint("planted-", i))
	}
	_, err := open(t, options(v)).Get(t.Context(), "SECRET_KEY_PREVIOUS")
	if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "store that as SECRET-KEY-PREVIOUS") || v.calls > 50 {
		t.Errorf("Get = %v after %d calls", err, v.calls)
	}
}

func TestSecretsThatAreDeleted(t *testing.T) {
	v := newVault()
	v.put("SECRET-KEY", "planted-value")
	s := open(t, options(v))
	v.change(func() { v.gone["SECRET-KEY"] = true })
	if _, err := s.Get(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "is deleted: recover it") {
		t.Errorf("Get of a deleted one = %v, want ErrUnavailable", err)
	}
	v.change(func() { v.nosy = false })
	if _, err := s.Get(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Get of a deleted one, where that may not be looked at = %v, want what the vault says", err)
	}
	v.change(func() { v.gone["SECRET-KEY-PREVIOUS"], v.gone["SECRET-KEY"], v.nosy = true, false, true })
	if _, err := s.Get(t.Context(), "SECRET_KEY_PREVIOUS"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Get of a previous one that was deleted, as when a rotation ends = %v, want ErrNotFound", err)
	}
}

// TestAListThatLeadsElsewhere proves that the token goes to nobody whom a page names.
func TestAListThatLeadsElsewhere(t *testing.T) {
	v := newVault()
	v.put("SECRET-KEY", "planted-value")
	s := open(t, options(v))
	v.change(func() {
		v.broken = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/versions") {
				return answer(r, 200, "application/json", `{"value":[],"nextLink":"https://planted.vault.azure.net/x"}`), nil
			}
			return v.server.Do(r)
		}
	})
	if _, err := s.Get(t.Context(), "SECRET_KEY_PREVIOUS"); !errors.Is(err, ports.ErrUnavailable) || strings.Contains(err.Error(), "planted") || len(v.strays) != 0 {
		t.Errorf("Get = %v, and %v were asked", err, v.strays)
	}
}

// identity hands out tokens that expire.
type identity struct {
	asked  int
	life   time.Duration
	failed error
	scopes []string
}

func (i *identity) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if i.failed != nil {
		return azcore.AccessToken{}, i.failed
	}
	i.asked++
	i.scopes = o.Scopes
	return azcore.AccessToken{Token: fmt.Sprint("token-", i.asked), ExpiresOn: time.Now().Add(i.life)}, nil
}

func TestTokensThatExpire(t *testing.T) {
	v := newVault()
	v.put("SECRET-KEY", "value")
	v.tokens = map[string]bool{"token-1": true, "token-2": true, "token-3": true}
	i := &identity{life: time.Hour}
	o := options(v)
	o.Credential = i
	s := open(t, o)
	get := func() error { _, err := s.Get(t.Context(), "SECRET_KEY"); return err }
	if err := get(); err != nil || i.asked != 1 || fmt.Sprint(i.scopes) != "[https://vault.azure.net/.default]" {
		t.Errorf("Get = %v, asked %d times for %v", err, i.asked, i.scopes)
	}
	i = &identity{life: -time.Minute}
	o.Credential = i
	s = open(t, o)
	before := i.asked
	if err := get(); err != nil || i.asked <= before {
		t.Errorf("Get with a token that has ended = %v, and no other was asked for", err)
	}
	i = &identity{failed: errors.New("planted-value")}
	o.Credential = i
	s, err := azuresecrets.Open(t.Context(), o)
	if s != nil || !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "no token for the vault prod-xteam") || strings.Contains(err.Error(), "planted") {
		t.Errorf("Open without a token = %v", err)
	}
}

func TestAContextEndsAHang(t *testing.T) {
	v := newVault()
	s := open(t, options(v))
	v.change(func() { v.broken = ways["a hang"].broken })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "SECRET_KEY"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Get = %v, want the caller's own deadline", err)
	}
}

func TestParse(t *testing.T) {
	for source, want := range map[string]string{"azurekv://prod-xteam": "prod-xteam", "azurekv://Prod1/": "Prod1", "azurekv://abc": "abc"} {
		if got, err := azuresecrets.Parse(source); err != nil || got.Vault != want || fmt.Sprint(got) != fmt.Sprint(azuresecrets.Options{Vault: want}) {
			t.Errorf("Parse(%q) = %+v, %v; want %q", source, got, err, want)
		}
	}
	for _, source := range []string{"", "azurekv:", "azurekv://", "azurekv:///x", "azurekv://ab", "azurekv://1ab", "azurekv://abc-", "azurekv://evil.example", "azurekv://abc:443", "azurekv://u:planted@abc",
		"azurekv://abc/planted", "azurekv://abc?planted", "azurekv://abc#planted", "azurekv://" + strings.Repeat("x", 25), "vault://abc", "azurekv://a%0Ab", "azurekv://%zz"} {
		got, err := azuresecrets.Parse(source)
		if !errors.Is(err, ports.ErrUnavailable) || got.Vault != "" || !strings.Contains(err.Error(), form) || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%q) = %+v, %v; want one sentence", source, got, err)
		}
	}
	for _, endpoint := range []string{"http://prod-xteam.vault.azure.net", "prod-xteam", "https://"} {
		o := options(newVault())
		o.Endpoint = endpoint
		if _, err := azuresecrets.Open(t.Context(), o); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "must be https") {
			t.Errorf("Open at %q = %v", endpoint, err)
		}
	}
	v := newVault()
	s := open(t, options(v))
	v.calls = 0
	for _, name := range []string{"", "a", "A/B", "A-B", "..", "A\n", strings.Repeat("A", 128)} {
		if _, err := s.Get(t.Context(), name); !errors.Is(err, ports.ErrUnavailable) || v.calls != 0 {
			t.Errorf("Get(%q) = %v", name, err)
		}
	}
}

const form = "azurekv://VAULT-NAME"
