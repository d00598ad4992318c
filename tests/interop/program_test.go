package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/keyset"
)

// patience is how long anything may take that is sure to come.
const patience = 60 * time.Second

const email, password = "ann@example.com", "correct horse battery staple"

// program is the real binary, serving, with one user.
type program struct {
	t      *testing.T
	binary string
	env    []string
	url    string
	serves *os.Process
}

func startProgram(t *testing.T) *program {
	t.Helper()
	folder := t.TempDir()
	p := &program{t: t, binary: filepath.Join(folder, "xteam")}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", p.binary, "github.com/xteam/xteam/cmd/xteam")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	p.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DATA_DIR=" + filepath.Join(folder, "data"), "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10",
		"RATE_LIMIT_ENABLED=false", "JWT_ALGORITHM=ES256", "JWT_ISSUER=" + issuer, "JWT_AUDIENCE=" + audience}
	p.xteam(password+"\n", "users", "create", "--email", email, "--username", "ann", "--password-stdin")

	cmd := exec.Command(p.binary, "serve")
	var log bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr = p.env, folder, &log
	out, err := cmd.StdoutPipe()
	fatal(t, err)
	fatal(t, cmd.Start())
	p.serves = cmd.Process
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "ready "); ok {
				ready <- url
				return
			}
		}
	}()
	select {
	case p.url = <-ready:
	case <-time.After(patience):
	}
	if p.url == "" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("the server is not ready: %s", log.String())
	}
	return p
}

// xteam runs a command to its end, as an operator does.
func (p *program) xteam(stdin string, args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = p.env, p.t.TempDir(), strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("xteam %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (p *program) token() string { p.t.Helper(); return p.signIn(email) }

func (p *program) signIn(as string) string {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"email": as, "password": password})
	fatal(p.t, err)
	resp, err := http.Post(p.url+"/api/v1/auth/login", "application/json", bytes.NewReader(body))
	fatal(p.t, err)
	defer func() { _ = resp.Body.Close() }()
	var got struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Access == "" {
		p.t.Fatalf("sign-in: %s, %v", resp.Status, err)
	}
	return got.Access
}

// TestTheProgram: tokens that the program hands out are verified from the key set that it serves, while an operator rotates through all the public
// algorithms and, in the end, revokes a key.
func TestTheProgram(t *testing.T) {
	p := startProgram(t)
	url := p.url + "/.well-known/jwks.json"
	verifiers := map[string]verifier{"jose": startJose(t, url), "jwx": startJWX(t, url)}
	var all []string
	signed := map[string]bool{} // by which keys
	verifyAll := func(when string) {
		t.Helper()
		all = append(all, p.token())
		for name, v := range verifiers {
			for i, text := range all {
				kid, refused := v.verify(text)
				signed[kid] = true
				if refused != "" {
					t.Fatalf("%s, %s: token %d of %d is refused: %s", when, name, i+1, len(all), refused)
				}
			}
		}
	}
	verifyAll("at first")
	for _, algorithm := range []string{keyset.EdDSA, keyset.RS256, keyset.PS256, keyset.ES256} {
		p.xteam("", "keys", "rotate", "--alg", algorithm)
		for _, v := range verifiers {
			v.later(31 * time.Second)
		}
		verifyAll("after the rotation to " + algorithm)
	}
	if len(signed) != 5 {
		t.Errorf("the tokens are of %d keys, want 5", len(signed))
	}

	var keys struct {
		Items []struct{ KID, State string }
	}
	fatal(t, json.Unmarshal([]byte(p.xteam("", "keys", "list", "--json")), &keys))
	primary := ""
	for _, k := range keys.Items {
		if k.State == "primary" {
			primary = k.KID
		}
	}
	p.xteam("", "keys", "revoke", primary)
	for name, v := range verifiers {
		v.later(15 * time.Minute)
		if kid, _ := v.verify(all[len(all)-1]); kid != "" {
			t.Errorf("%s takes a token of the key that was revoked", name)
		}
		if _, refused := v.verify(all[0]); refused != "" {
			t.Errorf("%s refuses a good token of another key: %s", name, refused)
		}
		if _, refused := v.verify(p.token()); refused != "" {
			t.Errorf("%s refuses a token of the key that signs now: %s", name, refused)
		}
	}
}
