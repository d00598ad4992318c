package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// ErrSetUp refuses a set-up. It does not say which of its reasons it is.
var ErrSetUp = errors.New("this set-up link is not good: one is good once, for 30 minutes, on the server that printed it, and while there is no administrator")

// SetUpLife is how long a set-up link is good.
const SetUpLife = 30 * time.Minute

// SetUp is the way to the first administrator of a new system: whoever has the token that this process showed to its operator makes one, once. Of the token it holds
// nothing but a hash, in memory: it ends with the process.
type SetUp struct {
	core     *Core
	accounts *Accounts
	one      chan struct{} // holds one while the token is made or used
	hash     [sha256.Size]byte
	until    instant.Instant // zero: none is good
}

// NewSetUp offers nothing yet.
func NewSetUp(c *Core, a *Accounts) *SetUp {
	return &SetUp{core: c, accounts: a, one: make(chan struct{}, 1)}
}

// Offer answers a token of 256 random bits for a store without an administrator, in the place of an earlier one; an empty text where there is one. Other accounts keep nobody
// from it: else a stranger who registers first would.
func (s *SetUp) Offer(ctx context.Context) (secret.Text, error) {
	if err := take(ctx, s.one); err != nil {
		return secret.Text{}, err
	}
	defer func() { <-s.one }()
	if some, err := s.accounts.administered(ctx); err != nil || some {
		return secret.Text{}, err
	}
	var random [32]byte
	if _, err := io.ReadFull(s.core.Random, random[:]); err != nil {
		return secret.Text{}, unavailable("draw a set-up token", err)
	}
	text := base64.RawURLEncoding.EncodeToString(random[:])
	s.hash, s.until = sha256.Sum256([]byte(text)), s.core.now().Add(SetUpLife)
	return secret.New(text), nil
}

// Use makes the first administrator for whoever has the token. Otherwise it fails with ErrSetUp, of which the journal is told. What is wrong with the registration does
// not use the token up.
func (s *SetUp) Use(ctx context.Context, r Request, token secret.Text, reg Registration) (account.Account, error) {
	made, err := s.use(ctx, r, token, reg)
	if errors.Is(err, ErrSetUp) {
		if e, eerr := s.core.event(r, audit.RegistrationRefused, audit.Warning, audit.Failure); eerr == nil {
			e.Email, e.Reason = reg.Email.String(), "set_up"
			s.core.Journal.Write(ctx, e)
		}
	}
	return made, err
}

func (s *SetUp) use(ctx context.Context, r Request, token secret.Text, reg Registration) (account.Account, error) {
	var none account.Account
	if err := take(ctx, s.one); err != nil {
		return none, err
	}
	defer func() { <-s.one }()
	given := sha256.Sum256([]byte(token.RevealPlaintext()))
	if s.until == 0 || s.core.now() >= s.until || subtle.ConstantTimeCompare(given[:], s.hash[:]) != 1 {
		return none, ErrSetUp
	}
	uid, err := s.first()
	if err != nil {
		return none, err
	}
	made, err := s.accounts.createAs(ctx, Actor{Request: r}, uid, reg, account.RoleAdmin, creation{details: map[string]string{"by": "set-up link"}, alone: true})
	if errors.Is(err, ports.ErrTaken) {
		if _, found := s.core.Stores.Accounts.Find(ctx, uid); found == nil {
			err = ErrSetUp // another node's link was used
		}
	}
	if err == nil || errors.Is(err, ErrSetUp) {
		s.hash, s.until = [sha256.Size]byte{}, 0
	}
	return made, err
}

// first is the id of an administrator who is made by a set-up link: the same on every node of one store, so that of several links one makes an account.
func (s *SetUp) first() (id.User, error) {
	mac, ok := s.core.MACs.MAC(s.core.MACs.Current(), []byte("the first administrator"))
	if uid := id.User(mac[:len(id.User{})]); ok && !uid.IsZero() {
		return uid, nil
	}
	return id.User{}, unavailable("name the first administrator", errors.New("the key of the codes is not held"))
}

// take waits for the one place in c.
func take(ctx context.Context, c chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
