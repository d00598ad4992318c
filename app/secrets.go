package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// The secrets that are read through ports.Secrets.
const (
	SecretKey         = "SECRET_KEY"
	SecretKeyPrevious = "SECRET_KEY_PREVIOUS"
	RootKey           = "ROOT_KEY"
	RootKeyPrevious   = "ROOT_KEY_PREVIOUS"
)

// secretsWithin bounds one reading of all secrets.
const secretsWithin = 15 * time.Second

// settling is how long a change is left alone before it is read again, and believed.
const settling = 300 * time.Millisecond

// maxPause is the longest that a source that fails is left alone.
const maxPause = 5 * time.Minute

// SecretValues are the secrets as they were last read. The zero value of each says that there is none.
type SecretValues struct {
	Signing  secret.Text   // SECRET_KEY
	Previous []secret.Text // SECRET_KEY_PREVIOUS
	Root     secret.Text   // ROOT_KEY
	RootWas  secret.Text   // ROOT_KEY_PREVIOUS
}

func (v SecretValues) equal(o SecretValues) bool {
	if v.Signing != o.Signing || v.Root != o.Root || v.RootWas != o.RootWas || len(v.Previous) != len(o.Previous) {
		return false
	}
	for i := range v.Previous {
		if v.Previous[i] != o.Previous[i] {
			return false
		}
	}
	return true
}

// SecretsOptions tune Secrets. The zero value works, but for Random.
type SecretsOptions struct {
	Every  time.Duration    // how often the source is read again; 0: 30 s
	Random io.Reader        // spreads the tries of many nodes
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Secrets keeps what a source of secrets last answered, so that no request waits for it and no outage of it is felt: the last good values are used for as long as the
// process runs, and Status says how old they are. A value that changes is taken up without a restart. All methods may be called at once.
type Secrets struct {
	source ports.Secrets
	o      SecretsOptions
	turn   chan struct{} // held by the one who reads
	kick   chan struct{}

	mu     sync.Mutex
	values SecretValues
	read   time.Time // when they were last read, with its monotonic reading; zero: never
	fault  error     // why they could not be read since, or taken up
	torn   bool      // whether some have taken up a change, and others have not
	adopt  []func(ctx context.Context, was, is SecretValues) error
	needs  func(name string) bool
}

// NewSecrets reads nothing yet.
func NewSecrets(source ports.Secrets, o SecretsOptions) *Secrets {
	if o.Every <= 0 {
		o.Every = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Secrets{source: source, o: o, turn: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

// Values answers the secrets as they were last read.
func (s *Secrets) Values() SecretValues {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values
}

// Status answers how long ago the secrets were last read, and why they could not be read or taken up since.
func (s *Secrets) Status() (age time.Duration, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Now().Sub(s.read), s.fault
}

// OnChange has f called with every change, before the change is seen in Values. When f fails, the values from before stay, and the change is tried again:
// so f may be called with what it has taken up already. It is to be called before Run.
func (s *Secrets) OnChange(f func(ctx context.Context, was, is SecretValues) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adopt = append(s.adopt, f)
}

// Read reads all secrets now. An error is that of the source, in one sentence, or of a change that was not taken up; what was read before stays. Callers come in turn.
func (s *Secrets) Read(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	was := s.Values()
	is, missing, err := s.round(ctx, was)
	if err == nil && !is.equal(was) && s.readBefore() {
		err = s.settled(ctx, was, is)
	}
	if err == nil && (s.torn || !is.equal(was)) {
		err = s.take(ctx, was, is)
		s.torn = err != nil
	}
	if err == nil {
		s.mu.Lock()
		s.values, s.read = is, s.o.Now()
		s.mu.Unlock()
		err = missing
	}
	if ctx.Err() == nil {
		s.tell(err)
	}
	return err
}

func (s *Secrets) readBefore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.read.IsZero()
}

// settled reads once more what has changed, a moment later, and refuses what is not the same then: somebody may be writing it.
func (s *Secrets) settled(ctx context.Context, was, is SecretValues) error {
	pause := time.NewTimer(settling)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	again, _, err := s.round(ctx, was)
	if err == nil && !again.equal(is) {
		err = errors.New("they change while they are read: write them whole, by a rename")
	}
	return err
}

// judge refuses secrets that cannot stand beside one another.
func (v SecretValues) judge() error {
	switch {
	case v.Root.IsZero():
	case v.Root == v.Signing:
		return fmt.Errorf("%s is the value of %s: give it one of its own, for other services may know that one", RootKey, SecretKey)
	case slices.Contains(v.Previous, v.Root):
		return fmt.Errorf("%s is a value of %s: give it one of its own, for other services may know that one", RootKey, SecretKeyPrevious)
	}
	return nil
}

// round asks the source for every secret. One that was there and is gone is answered as it was, and told of: nothing good comes of going on without it.
func (s *Secrets) round(ctx context.Context, was SecretValues) (is SecretValues, missing, err error) {
	ctx, cancel := context.WithTimeout(ctx, secretsWithin)
	defer cancel()
	get := func(name string) secret.Text {
		if err != nil {
			return secret.Text{}
		}
		text, failed := s.source.Get(ctx, name)
		if failed != nil && !errors.Is(failed, ports.ErrNotFound) {
			err = failed
		}
		return text
	}
	is.Signing, is.Root, is.RootWas = get(SecretKey), get(RootKey), get(RootKeyPrevious)
	for one := range strings.SplitSeq(get(SecretKeyPrevious).RevealPlaintext(), ",") {
		if one = strings.TrimSpace(one); one != "" {
			is.Previous = append(is.Previous, secret.New(one))
		}
	}
	for _, kept := range []struct {
		name    string
		was, is *secret.Text
	}{{SecretKey, &was.Signing, &is.Signing}, {RootKey, &was.Root, &is.Root}} {
		if err == nil && kept.is.IsZero() && !kept.was.IsZero() && s.needed(kept.name) {
			*kept.is = *kept.was
			missing = fmt.Errorf("%s is not there any more: the value from before is used on; put it back before the next start", kept.name)
		}
	}
	if err == nil {
		err = is.judge()
	}
	return is, missing, err
}

// Needs has needs say whether there is a use for the secret of that name: one that there is none for may vanish. It is to be called before Run.
func (s *Secrets) Needs(needs func(name string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needs = needs
}

func (s *Secrets) needed(name string) bool {
	s.mu.Lock()
	needs := s.needs
	s.mu.Unlock()
	return needs == nil || needs(name)
}

func (s *Secrets) take(ctx context.Context, was, is SecretValues) error {
	s.mu.Lock()
	adopt := s.adopt
	s.mu.Unlock()
	for _, f := range adopt { // each sees by itself what is new to it
		if err := f(ctx, was, is); err != nil {
			return err
		}
	}
	return nil
}

// tell notes how a reading ended, and logs when that is another way than before.
func (s *Secrets) tell(err error) {
	s.mu.Lock()
	was, since, never := s.fault, s.o.Now().Sub(s.read), s.read.IsZero()
	s.fault = err
	s.mu.Unlock()
	switch {
	case never: // whoever starts is told by the error itself
	case err != nil && (was == nil || was.Error() != err.Error()):
		s.o.Logger.Error("The secrets could not be read; the last good ones are used on", "error", err.Error(), "age", since.Round(time.Second).String())
	case err == nil && was != nil:
		s.o.Logger.Info("The secrets can be read again")
	}
}

// Again has Run read the secrets now.
func (s *Secrets) Again() {
	select {
	case s.kick <- struct{}{}:
	default: // it is about to
	}
}

// Run reads the secrets again and again until ctx ends; a source that fails ever more seldom, up to every five minutes, and each node at a moment of its own.
func (s *Secrets) Run(ctx context.Context) {
	pause := s.o.Every
	for {
		timer := time.NewTimer(s.spread(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.kick:
			timer.Stop()
		case <-timer.C:
		}
		if err := s.Read(ctx); err != nil {
			pause = min(2*pause, max(maxPause, s.o.Every))
		} else {
			pause = s.o.Every
		}
	}
}

// spread is d, or up to a fifth less.
func (s *Secrets) spread(d time.Duration) time.Duration {
	var b [1]byte
	if _, err := io.ReadFull(s.o.Random, b[:]); err != nil {
		return d
	}
	return d - d/5*time.Duration(b[0])/255
}
