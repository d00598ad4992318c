// Package vaultsecrets reads secrets from HashiCorp Vault: the fields of one secret of its KV engine, version 2.
package vaultsecrets

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// lookBack is how many versions before the current one are asked for a previous value.
const lookBack = 5

// Secrets reads one secret of Vault, a field for each name. It holds a token, which it keeps alive by itself, and no value: each Get asks Vault.
type Secrets struct {
	o    Options
	door *door
	open *api.Client // without a token: for what anybody may ask
	held *api.Client // with the token
	now  func() time.Time

	signed atomic.Pointer[secret.Text] // the service account's token that was shown last
	turn   chan struct{}               // held while somebody logs in or renews

	mu        sync.Mutex
	lease     lease
	pause     time.Duration // after the last failed login
	notBefore time.Time     // when the next may be
	failed    error         // how the last failed
}

var _ ports.Secrets = (*Secrets)(nil)

// Open logs in and reads the secret once, so that whatever is wrong is told now: an error says in one sentence what, where, and what to do. Nothing runs
// afterwards; Close gives the token back.
func Open(ctx context.Context, o Options) (*Secrets, error) { return open(ctx, o, time.Now) }

func open(ctx context.Context, o Options, now func() time.Time) (*Secrets, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	s := &Secrets{o: o, now: now, turn: make(chan struct{}, 1)}
	s.signed.Store(&secret.Text{})
	if s.door, err = newDoor(o); err != nil {
		return nil, err
	}
	if s.open, err = newClient(o, s.door); err != nil {
		return nil, err
	}
	if s.held, err = newClient(o, s.door); err != nil {
		return nil, err
	}
	if err = s.login(ctx); err == nil {
		_, err = s.read(ctx, 0)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives back the token that a login got, within a second and if Vault answers; one that was given is left as it is. Nothing may be asked afterwards.
func (s *Secrets) Close() {
	if s.logsIn() && s.held.Token() != "" {
		ctx, cancel := context.WithTimeout(context.Background(), min(time.Second, s.o.Timeout))
		defer cancel()
		_, _ = s.ask(ctx, s.held, "auth/token/revoke-self", nil, map[string]any{}) // what is not given back ends with its lease
		s.held.ClearToken()
	}
	s.door.base.CloseIdleConnections()
}

// Get implements ports.Secrets: name is a field of the secret as it is now. A name that ends in _PREVIOUS and is no field, not even an empty one, is the value that
// its base name had before: in the newest of the last few versions that is neither deleted nor destroyed and has another. To end such a previous value, delete its
// version or write the empty field.
//
// A current version that is deleted, a secret that is gone, a denial, a server that is sealed or silent and a value that nobody means as a secret are errors that
// match ports.ErrUnavailable, so that the caller goes on with what it has.
func (s *Secrets) Get(ctx context.Context, name string) (secret.Text, error) {
	if err := ctx.Err(); err != nil {
		return secret.Text{}, err
	}
	now, err := s.read(ctx, 0)
	if err != nil {
		return secret.Text{}, err
	}
	value, err := now.field(name)
	if err != nil {
		return secret.Text{}, refuse("%s: %s", s.place(), err)
	}
	if value != "" {
		return secret.New(value), nil
	}
	base, previous := strings.CutSuffix(name, "_PREVIOUS")
	if _, own := now.fields[name]; previous && !own {
		return s.before(ctx, now, name, base)
	}
	return secret.Text{}, s.absent(name)
}

func (s *Secrets) absent(name string) error {
	return fmt.Errorf("%s has no field %s: %w", s.place(), name, ports.ErrNotFound)
}

func (s *Secrets) place() string { return s.door.name + ", " + s.o.Mount + "/" + s.o.Path }

// before looks for the last value of base that differs from the current one. A value that could not be used is passed over: it never was in use.
func (s *Secrets) before(ctx context.Context, now version, name, base string) (secret.Text, error) {
	current, err := now.field(base)
	if err != nil || current == "" {
		return secret.Text{}, s.absent(name)
	}
	for n := now.number - 1; n > 0 && n >= now.number-lookBack; n-- {
		v, err := s.read(ctx, n)
		if err != nil {
			return secret.Text{}, err
		}
		if value, err := v.field(base); err == nil && value != "" && value != current {
			return secret.New(value), nil
		}
	}
	return secret.Text{}, s.absent(name)
}

// version is one version of the secret. An earlier one that is gone has no fields.
type version struct {
	number int
	fields map[string]any
}

// field answers the text of a field, or none when it is absent or empty.
func (v version) field(name string) (string, error) {
	value, ok := v.fields[name]
	if !ok || value == nil {
		return "", nil
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("%s is not a text: write it as a string", name)
	}
	return text, secret.Check(name, text)
}

// read asks for a version, 0 being the current one. A denial may be an expired token, so that it is believed of a fresh one only.
func (s *Secrets) read(ctx context.Context, number int) (version, error) {
	if err := s.keep(ctx); err != nil {
		return version{}, err
	}
	var query url.Values
	if number > 0 {
		query = url.Values{"version": {strconv.Itoa(number)}}
	}
	for again := false; ; again = true {
		token := s.current().number
		a, err := s.ask(ctx, s.held, s.o.Mount+"/data/"+s.o.Path, query, nil)
		if err != nil {
			return version{}, err
		}
		if a.status != http.StatusForbidden {
			return s.parse(ctx, a, number)
		}
		denied := s.denied(a)
		if again || !s.logsIn() {
			s.pauseAfter(denied)
			return version{}, denied
		}
		if err := s.loginAgain(ctx, token, denied); err != nil {
			return version{}, err
		}
	}
}

func (s *Secrets) denied(a answer) error {
	const policy = "let a policy of it read the path %s/data/%s"
	rule := fmt.Sprintf(policy, s.o.Mount, s.o.Path)
	switch {
	case s.logsIn():
		return refuse("%s does not let the token of this login read (403): %s", s.place(), rule)
	case slices.ContainsFunc(a.errors, func(e string) bool { return strings.Contains(e, "invalid token") }):
		return refuse("%s does not know the token (403), which is wrong, has expired or was revoked: give another in VAULT_TOKEN", s.place())
	default:
		return refuse("%s does not let the token read (403): give one in VAULT_TOKEN that has not expired, and %s", s.place(), rule)
	}
}

// parse reads the answer for a version.
func (s *Secrets) parse(ctx context.Context, a answer, number int) (version, error) {
	switch a.status {
	case http.StatusOK:
	case http.StatusNotFound:
		return s.missing(a, number)
	default:
		return version{}, s.state(ctx, a)
	}
	v, metadata := version{}, map[string]any{}
	ok := a.secret != nil
	if ok {
		v.fields, ok = a.secret.Data["data"].(map[string]any)
	}
	if ok {
		metadata, ok = a.secret.Data["metadata"].(map[string]any)
	}
	if ok {
		v.number, ok = numberOf(metadata["version"])
	}
	if !ok {
		return version{}, refuse("%s is not what the KV engine, version 2, answers: see the mount", s.place())
	}
	s.answered()
	return v, nil
}

// missing tells a version that is gone from a secret and from an engine that are not there.
func (s *Secrets) missing(a answer, number int) (version, error) {
	if number > 0 {
		return version{number: number}, nil
	}
	if a.secret != nil {
		if metadata, ok := a.secret.Data["metadata"].(map[string]any); ok {
			n, _ := numberOf(metadata["version"])
			if destroyed, _ := metadata["destroyed"].(bool); destroyed {
				return version{}, refuse("%s is destroyed in its current version, %d: write a new one", s.place(), n)
			}
			return version{}, refuse("%s is deleted in its current version, %d: undelete it (vault kv undelete), or write a new one", s.place(), n)
		}
	}
	if slices.ContainsFunc(a.errors, func(e string) bool { return strings.Contains(e, "no handler for route") }) {
		return version{}, refuse("%s: there is no secrets engine at %s/: enable KV, version 2, there, or correct SECRETS_URL", s.door.name, s.o.Mount)
	}
	return version{}, refuse("%s: there is no secret: write it (vault kv put), or correct SECRETS_URL", s.place())
}
