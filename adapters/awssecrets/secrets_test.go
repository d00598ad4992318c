package awssecrets_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xteam/xteam/adapters/awssecrets"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// TestMain hides the files and variables of whoever runs the tests from the default chain.
func TestMain(m *testing.M) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			_ = os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{"AWS_CONFIG_FILE": "/nonexistent/config", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials", "AWS_EC2_METADATA_DISABLED": "true"} {
		_ = os.Setenv(name, value)
	}
	os.Exit(m.Run())
}

func options(s *service) awssecrets.Options {
	return awssecrets.Options{Region: region, Prefix: "prod/xteam", Endpoint: s.url, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "secret-access-key"}, nil
	})}
}

func open(t testing.TB, o awssecrets.Options) *awssecrets.Secrets {
	t.Helper()
	s, err := awssecrets.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened(t testing.TB) (ports.Secrets, func(name, value string)) {
	service := serve(t)
	return open(t, options(service)), func(name, value string) { service.put("prod/xteam/"+name, value) }
}

func TestSecrets(t *testing.T)  { porttest.Secrets(t, opened) }
func TestVersions(t *testing.T) { porttest.SecretVersions(t, opened) }

func TestOutages(t *testing.T) {
	t.Parallel()
	porttest.SecretOutages(t, func(t testing.TB) (ports.Secrets, func(name, value string), map[string]func() func()) {
		service := serve(t)
		o := options(service)
		o.Timeout = 2 * time.Second
		mends := map[string]func() func(){}
		for name, way := range ways {
			mends[name] = func() func() {
				service.change(func() { service.broken = way.broken })
				return func() { service.change(func() { service.broken = nil }) }
			}
		}
		return open(t, o), func(name, value string) { service.put("prod/xteam/"+name, value) }, mends
	})
}

// TestWhatAStartSays proves that Open fails in one sentence, which names the secret and the region, and what to do.
func TestWhatAStartSays(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := serve(t)
			service.broken = way.broken
			o := options(service)
			o.Timeout = 3 * time.Second
			started := time.Now()
			s, err := awssecrets.Open(t.Context(), o)
			if s != nil || !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) {
				t.Fatalf("Open = %v, want ErrUnavailable", err)
			}
			if took := time.Since(started); took > 15*time.Second {
				t.Errorf("Open took %v, where each Get has 3s", took)
			}
			text := err.Error()
			for _, part := range []string{"prod/xteam/SECRET_KEY in eu-central-1", way.says} {
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

func TestTriesAreFew(t *testing.T) {
	for name, most := range map[string]int{"throttling": 3, "503": 3, "an internal error": 3, "a denial": 1, "a mark for deletion": 1} {
		service := serve(t)
		s := open(t, options(service))
		service.change(func() { service.broken, service.calls = ways[name].broken, 0 })
		if _, err := s.Get(t.Context(), "SECRET_KEY"); err == nil || !strings.Contains(err.Error(), ways[name].says) {
			t.Errorf("%s: %v, want %q", name, err, ways[name].says)
		}
		if service.calls != most {
			t.Errorf("%s: asked %d times, want %d", name, service.calls, most)
		}
	}
}

func TestOneThrottledTryIsNoFailure(t *testing.T) {
	service := serve(t)
	s := open(t, options(service))
	service.put("prod/xteam/SECRET_KEY", "value")
	once := true
	service.change(func() {
		service.broken = func(w http.ResponseWriter, r *http.Request) {
			service.change(func() { service.broken = nil })
			if once {
				once = false
				refuse(w, 400, "ThrottlingException", "Rate exceeded")
			}
		}
	})
	if got, err := s.Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != "value" {
		t.Errorf("Get = %v, want the second try's answer", err)
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	service := serve(t)
	o := options(service)
	service.put("SECRET_KEY", "alone")
	service.put("prod/xteam/SECRET_KEY", "first")
	service.put("prod/xteam/SECRET_KEY", "second")
	service.secrets["prod/xteam/SECRET_KEY"].stages["AWSPENDING"] = "not yet"
	s := open(t, o)
	service.asked = nil
	for name, want := range map[string]string{"SECRET_KEY": "second", "SECRET_KEY_PREVIOUS": "first"} {
		if got, err := s.Get(t.Context(), name); err != nil || got.RevealPlaintext() != want {
			t.Errorf("Get(%s) = %q, %v; want %q", name, got.RevealPlaintext(), err, want)
		}
	}
	for _, name := range []string{"_PREVIOUS", "ROOT_KEY_PREVIOUS"} {
		if _, err := s.Get(t.Context(), name); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Get(%s) = %v, want ErrNotFound", name, err)
		}
	}
	for _, asked := range service.asked {
		if !strings.HasPrefix(asked, "prod/xteam/") || strings.Contains(asked, "PENDING") {
			t.Errorf("asked for %q", asked)
		}
	}
	o.Prefix = ""
	if got, err := open(t, o).Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != "alone" {
		t.Errorf("without a prefix: %q, %v", got.RevealPlaintext(), err)
	}
}

func TestSecretsThatAreNoText(t *testing.T) {
	service := serve(t)
	s := open(t, options(service))
	service.put("prod/xteam/SECRET_KEY", "good")
	for name, c := range map[string]struct {
		kept kept
		says string
	}{
		"bytes":           {kept{binary: []byte("planted-value")}, "holds bytes (SecretBinary)"},
		"the console's":   {kept{stages: map[string]string{"AWSCURRENT": `{"SECRET_KEY":"planted-value"}`}}, "holds a JSON object"},
		"for deletion":    {kept{stages: map[string]string{"AWSCURRENT": "planted-value"}, deleted: true}, "restore-secret"},
		"with a line end": {kept{stages: map[string]string{"AWSCURRENT": "planted-value\n"}}, "ends with a line end"},
	} {
		service.change(func() { service.secrets["prod/xteam/SECRET_KEY"] = &c.kept })
		got, err := s.Get(t.Context(), "SECRET_KEY")
		if !errors.Is(err, ports.ErrUnavailable) || !got.IsZero() || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "prod/xteam/SECRET_KEY in eu-central-1") || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	service.change(func() {
		service.secrets["prod/xteam/SECRET_KEY"] = &kept{stages: map[string]string{"AWSPENDING": "planted-value"}}
	})
	if _, err := s.Get(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("a secret without a current version: %v, want ErrNotFound", err)
	}
	service.change(func() {
		service.secrets["prod/xteam/SECRET_KEY"] = &kept{stages: map[string]string{"AWSCURRENT": "{planted, and no JSON}"}}
	})
	if got, err := s.Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != "{planted, and no JSON}" {
		t.Errorf("a text in braces: %v", err)
	}
}

// role is a provider whose credentials expire, as those of an instance's role do.
type role struct {
	asked int
	next  func(n int) (aws.Credentials, error)
}

func (r *role) Retrieve(context.Context) (aws.Credentials, error) {
	r.asked++
	return r.next(r.asked)
}

func TestCredentialsThatExpire(t *testing.T) {
	service := serve(t)
	service.put("prod/xteam/SECRET_KEY", "value")
	keys := []string{"AKIDA", "AKIDB", "AKIDC"}
	r := &role{next: func(n int) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: keys[n-1], SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(time.Hour)}, nil
	}}
	o := options(service)
	o.Credentials = r
	service.keys = map[string]bool{"AKIDA": true}
	s := open(t, o)
	want := func(asked int) {
		t.Helper()
		if got, err := s.Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != "value" || r.asked != asked {
			t.Errorf("Get = %v, the provider was asked %d times, want %d", err, r.asked, asked)
		}
	}
	want(1)
	// The service may know before us.
	service.change(func() { service.keys = map[string]bool{"AKIDB": true} })
	want(2)
	want(2)
	// A provider that has nothing better is asked once a Get, and no more.
	service.change(func() { service.keys = map[string]bool{"AKIDC": true} })
	r.next = func(int) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDOLD", SecretAccessKey: "s"}, nil
	}
	service.calls = 0
	if _, err := s.Get(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "have expired") || r.asked != 3 || service.calls != 2 {
		t.Errorf("Get = %v, the provider was asked %d times, the service %d, want 3 and 2", err, r.asked, service.calls)
	}
	r.next = func(int) (aws.Credentials, error) { return aws.Credentials{}, errors.New("planted-value") }
	if _, err := s.Get(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "no credentials") || strings.Contains(err.Error(), "planted") {
		t.Errorf("Get without credentials = %v", err)
	}
	// Expired by their own word: nobody signs with them.
	r.next = func(n int) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDC", SecretAccessKey: "s", CanExpire: true, Expires: time.Now().Add(30 * time.Second)}, nil
	}
	before := r.asked
	want(before + 1)
	want(before + 2) // within a minute of their end they are asked for anew
}

func TestNoCredentialsAtAll(t *testing.T) {
	service := serve(t)
	o := options(service)
	o.Credentials = nil
	_, err := awssecrets.Open(t.Context(), o)
	if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "no credentials") || strings.Contains(err.Error(), "\n") || service.calls != 0 {
		t.Errorf("Open = %v, and the service was asked %d times", err, service.calls)
	}
}

func TestTheDefaultChain(t *testing.T) {
	service := serve(t)
	service.put("prod/xteam/SECRET_KEY", "value")
	o := options(service)
	o.Credentials = nil
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = AKIDTEST\naws_secret_access_key = s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	if got, err := open(t, o).Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != "value" {
		t.Errorf("Get = %v", err)
	}
	t.Setenv("AWS_PROFILE", "missing-profile")
	if _, err := awssecrets.Open(t.Context(), o); !errors.Is(err, ports.ErrUnavailable) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open with a profile that is not there = %v", err)
	}
}

func TestAContextEndsAHang(t *testing.T) {
	service := serve(t)
	s := open(t, options(service))
	service.change(func() { service.broken = hangs })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "SECRET_KEY"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Get = %v, want the caller's own deadline", err)
	}
}

func TestParse(t *testing.T) {
	for source, want := range map[string]awssecrets.Options{
		"awssm://eu-central-1":                 {Region: "eu-central-1"},
		"awssm://eu-central-1/":                {Region: "eu-central-1"},
		"awssm://us-gov-west-1/xteam":          {Region: "us-gov-west-1", Prefix: "xteam"},
		"awssm://eu-central-1/prod/xteam/":     {Region: "eu-central-1", Prefix: "prod/xteam"},
		"awssm://eu-central-1/a.b-c_d+e=f@g/h": {Region: "eu-central-1", Prefix: "a.b-c_d+e=f@g/h"},
	} {
		if got, err := awssecrets.Parse(source); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", source, got, err, want)
		}
	}
	for _, source := range []string{"", "awssm:", "awssm://", "awssm:///prod", "awssm:eu-central-1", "awssm://EU/x", "awssm://eu.evil.example/x", "awssm://eu-central-1:443/x", "awssm://AKID:planted@eu-central-1/x",
		"awssm://eu-central-1/x?y=planted", "awssm://eu-central-1/x#planted", "awssm://eu-central-1/a b", "awssm://eu-central-1/a//b", "awssm://eu-central-1/" + strings.Repeat("x", 300), "vault://x/y", "awssm://eu-central-1/%zz", "awssm://eu-central-1/a%0Ab"} {
		got, err := awssecrets.Parse(source)
		if !errors.Is(err, ports.ErrUnavailable) || fmt.Sprint(got) != fmt.Sprint(awssecrets.Options{}) || !strings.Contains(err.Error(), "AWS") || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%q) = %+v, %v; want one sentence", source, got, err)
		}
	}
	for _, name := range []string{"", "a", "A/B", "A-B", "..", "A\n"} {
		service := serve(t)
		if _, err := open(t, options(service)).Get(t.Context(), name); !errors.Is(err, ports.ErrUnavailable) || service.calls > 1 {
			t.Errorf("Get(%q) = %v", name, err)
		}
	}
}
