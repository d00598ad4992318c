package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The paths of the tour.
const (
	loginPath  = "/api/v1/auth/login"
	mePath     = "/api/v1/users/me"
	revokePath = "/api/v1/admin/revoke-user-tokens"
)

// tour is the product in four requests: sign in, use the token, revoke it, use it again.
type tour struct {
	base  string // http://host:port
	who   newUser
	steps []step
}

// step is one request and what came of it.
type step struct {
	name, method, path string
	status             int
	took               time.Duration
	seen               string
}

// play sends the requests over HTTP, measures them, and answers an error at the first that did not go as it should.
func (t *tour) play(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer client.CloseIdleConnections()
	var signedIn struct {
		Token string `json:"access_token"`
		Life  int    `json:"expires_in"`
	}
	var me user
	var hit revoked
	try := func(name, method, path string, in, out any, want int, seen func(error) string) error {
		var body []byte
		if in != nil {
			var err error
			if body, err = json.Marshal(in); err != nil {
				return fmt.Errorf("write the request: %w", err)
			}
		}
		began := time.Now()
		status, err := exchange(ctx, client, method, t.base+path, signedIn.Token, body, out)
		s := step{name: name, method: method, path: path, status: status, took: time.Since(began), seen: seen(err)}
		t.steps = append(t.steps, s)
		if status != want {
			if err != nil {
				s.seen = err.Error()
			}
			return fmt.Errorf("the tour went wrong at %q: the answer was %d, not %d: %s", name, status, want, s.seen)
		}
		return nil
	}
	if err := try("sign in", http.MethodPost, loginPath, map[string]string{"email": t.who.Email, "password": t.who.Password}, &signedIn, http.StatusOK,
		func(error) string { return fmt.Sprintf("a token for %d minutes", signedIn.Life/60) }); err != nil {
		return err
	}
	if err := try("call", http.MethodGet, mePath, nil, &me, http.StatusOK, func(error) string { return "I am " + me.Email }); err != nil {
		return err
	}
	if err := try("revoke", http.MethodPost, revokePath, map[string]string{"user_id": me.ID}, &hit, http.StatusOK,
		func(error) string { return fmt.Sprintf("sessions ended: %d", hit.Sessions) }); err != nil {
		return err
	}
	var no *refusal
	err := try("call again", http.MethodGet, mePath, nil, &me, http.StatusUnauthorized, func(err error) string {
		if errors.As(err, &no) {
			return no.Code + ", reason " + no.Reason
		}
		return "not refused"
	})
	if err == nil && (no == nil || no.Code != "token_revoked") {
		err = errors.New("the tour went wrong at the end: the token was refused, but not as token_revoked")
	}
	return err
}

// String is a line for each step.
func (t *tour) String() string {
	var b strings.Builder
	b.WriteString("The tour, played just now:\n\n")
	for i, s := range t.steps {
		fmt.Fprintf(&b, "  %d  %-10s  %-4s %-32s  %d  %8.1f ms  %s\n", i+1, s.name, s.method, s.path, s.status, float64(s.took.Microseconds())/1000, s.seen)
	}
	return b.String()
}

// curl is the tour as lines for a shell: sign in, call, revoke, refused, why. The password is made of letters that need no quoting.
func (t *tour) curl() string {
	bearer := ` -H "Authorization: Bearer $TOKEN"`
	return strings.Join([]string{
		fmt.Sprintf(`TOKEN=$(curl -s %s%s -H 'Content-Type: application/json' -d '{"email":"%s","password":"%s"}' | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')`,
			t.base, loginPath, t.who.Email, t.who.Password),
		fmt.Sprintf(`curl -s %s%s%s; echo`, t.base, mePath, bearer),
		fmt.Sprintf(`curl -s -X POST %s%s%s -d '{"user_id": "%s"}'; echo`, t.base, revokePath, bearer, t.who.Email),
		fmt.Sprintf(`curl -s -o /dev/null -w '%%{http_code}\n' %s%s%s`, t.base, mePath, bearer),
		fmt.Sprintf(`curl -s %s%s%s; echo`, t.base, mePath, bearer),
	}, "\n") + "\n"
}
