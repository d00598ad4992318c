package interop_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const administrator = "root@example.com"

// soon is more than anything takes that is told at once, or not to be heard of for too long, on a slow machine too.
const soon = 15 * time.Second

// apiKey is a key that follows the revocations, made by an administrator.
func (p *program) apiKey() string {
	p.t.Helper()
	p.xteam(password+"\n", "users", "create", "--email", administrator, "--username", "root", "--role", "admin", "--password-stdin")
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+"/api/v1/api-keys", strings.NewReader(`{"name":"another service","scopes":["revocations:read"]}`))
	fatal(p.t, err)
	r.Header.Set("Authorization", "Bearer "+p.signIn(administrator))
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	fatal(p.t, err)
	defer func() { _ = resp.Body.Close() }()
	var got map[string]any
	fatal(p.t, json.NewDecoder(resp.Body).Decode(&got))
	text, _ := got["key"].(string)
	if resp.StatusCode != http.StatusCreated || text == "" {
		p.t.Fatalf("the key: %s %v", resp.Status, got["code"])
	}
	return text
}

// claimed is what a token says of itself.
func claimed(t *testing.T, text string) (c struct{ JTI, SID string }) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	fatal(t, err)
	fatal(t, json.Unmarshal(b, &c))
	return c
}

// becomes waits until the follower answers a token so; the empty code is that it is taken. Within no time is at once, but for a follower that a slow machine has kept from hearing: it says nothing of any token.
func (j *jose) becomes(within time.Duration, what, text, code string) {
	j.t.Helper()
	deadline, late := time.NewTimer(within), time.NewTimer(patience)
	defer deadline.Stop()
	defer late.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		got := j.ask(map[string]string{"token": text})
		if got.Code == code {
			return
		}
		if within == 0 && got.Code == "revocations_stale" {
			select {
			case <-late.C:
			case <-again.C:
				continue
			}
		}
		select {
		case <-deadline.C:
			j.t.Fatalf("%s: not within %v: it answers %q (%s), want %q", what, within, got.Code, got.Message, code)
		case <-again.C:
		}
	}
}

// TestTheFollower runs the program that the README shows, in front of the real binary: what is revoked is refused soon after the command, by whoever
// listened and by whoever comes later, and while XTeam is silent everything is.
func TestTheFollower(t *testing.T) {
	p := startProgram(t)
	start := func(key string) *jose {
		return startNode(t, []string{"XTEAM_API_KEY=" + key}, "followed.mjs", p.url, issuer, audience)
	}
	key := p.apiKey()
	f := start(key)
	byToken, bySession, byUser, others := p.token(), p.token(), p.token(), p.signIn(administrator)
	for _, text := range []string{byToken, bySession, byUser, others} {
		f.becomes(patience, "a good token", text, "")
	}
	for _, c := range []struct{ text, flag, value string }{
		{byToken, "--jti", claimed(t, byToken).JTI},
		{bySession, "--session", claimed(t, bySession).SID},
		{byUser, "--user", email},
	} {
		f.becomes(0, "before revoke "+c.flag, c.text, "")
		p.xteam("", "revoke", c.flag, c.value)
		f.becomes(soon, "revoke "+c.flag, c.text, "token_revoked")
	}
	f.becomes(0, "another's token", others, "")
	again := p.token()
	f.becomes(0, "a token of after", again, "")

	late := start(key)
	late.becomes(patience, "a good token, to one that came later", again, "")
	for _, text := range []string{byToken, bySession, byUser} {
		late.becomes(0, "one that came later", text, "token_revoked")
	}
	start("xt_dev_nonsense").becomes(0, "by one that has heard nothing, nor may", again, "revocations_stale")

	fatal(t, p.serves.Signal(syscall.SIGSTOP)) // connections stay open, and say nothing
	f.becomes(soon, "a silent feed", again, "revocations_stale")
	f.becomes(0, "a revoked token, while the feed is silent", byToken, "token_revoked")
	fatal(t, p.serves.Signal(syscall.SIGCONT))
	f.becomes(patience, "when it is heard again", again, "")

	p.xteam("", "revoke", "--all")
	f.becomes(soon, "revoke --all", again, "token_revoked")
	f.becomes(0, "revoke --all, another's", others, "token_revoked")
	f.becomes(0, "a token of the next epoch", p.token(), "")
}
