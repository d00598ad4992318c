package keyset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/instant"
)

// Terms are how long the keys of a ring last beside one another.
type Terms struct {
	// Publish is how long others may go on with a key set that they fetched before: a key is published for so long before it signs, unless it has to sign at once.
	Publish time.Duration
	// Tokens is how long a token that is signed now may be taken, leeway included: a key that signs no longer verifies for so long.
	Tokens time.Duration
	// Rotate is the age at which another key takes the place of the one that signs, by itself; 0: by hand alone.
	Rotate time.Duration
}

// Why a change of the keys that sign is refused.
var (
	ErrPending = errors.New("a key is published already, and will sign: rotate at once to use it, or retire it")
	ErrSigns   = errors.New("the key that signs cannot be retired: rotate first")
)

// EarlyError refuses what may be done later.
type EarlyError struct {
	KeyID string
	At    instant.Instant // the earliest safe time
}

func (e *EarlyError) Error() string {
	return fmt.Sprintf("key %q cannot be retired before %s: tokens that it signed are good until then; revoke it if they must end now", e.KeyID, e.At)
}

// MaxGone is how many keys that are gone a ring remembers: the newest.
const MaxGone = 1000

// Rotate has k sign at once, whether it is Next already or new; the key before it retires. Any other that is Next goes: it was to sign in the place of k.
func (r Ring) Rotate(k Key, now instant.Instant) (Ring, error) {
	if was, ok := r.Find(k.ID); !ok || was.State != Next {
		var err error
		if r, err = r.Add(k, false, now); err != nil {
			return r, err
		}
		if added, _ := r.Find(k.ID); added.State == Primary {
			return r, nil // of a purpose that had none
		}
	}
	r, err := r.Promote(k.ID, now)
	if err != nil {
		return r, err
	}
	for _, other := range r.Keys {
		if other.State == Next && other.Purpose == k.Purpose {
			if err := r.move(other.ID, Gone, now); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// Prepare publishes k, which is to sign once it was published for Terms.Publish. One at a time.
func (r Ring) Prepare(k Key, now instant.Instant) (Ring, error) {
	if next, ok := r.next(k.Purpose); ok {
		return r, &KeyError{KeyID: next.ID, Err: ErrPending}
	}
	return r.Add(k, false, now)
}

// Retire ends a key that signs nothing any more, or that has never signed: it is Gone. A key that signed is refused with an *EarlyError while tokens of it may be good.
func (r Ring) Retire(kid string, t Terms, now instant.Instant) (Ring, error) {
	k, ok := r.Find(kid)
	switch {
	case !ok:
		return r, &KeyError{KeyID: kid, Err: ErrUnknown}
	case k.State == Primary:
		return r, &KeyError{KeyID: kid, Err: ErrSigns}
	case k.State == Retiring && now < k.Changed.Add(t.Tokens):
		return r, &EarlyError{kid, k.Changed.Add(t.Tokens)}
	}
	return r.Drop(kid, now)
}

// Step does what is due by itself: a key that was published for long enough signs, and those whose tokens are over go. It answers the keys that changed, as they
// are then. Calling it more often, or on several nodes, does nothing twice.
func (r Ring) Step(p Purpose, t Terms, now instant.Instant) (Ring, []Key) {
	was := r
	if k, ok := r.next(p); ok && now >= k.Created.Add(t.Publish) {
		if promoted, err := r.Promote(k.ID, now); err == nil {
			r = promoted
		}
	}
	r.Keys = slices.Clone(r.Keys)
	for _, k := range r.Keys {
		if k.Purpose == p && k.State == Retiring && now >= k.Changed.Add(t.Tokens) && r.rotated(p) {
			_ = r.move(k.ID, Gone, now) // a retiring key may always go
		}
	}
	for i := range r.Keys {
		if k := &r.Keys[i]; k.Purpose == p && k.State == Revoked && len(k.Wrapped) > 0 && now >= k.Changed.Add(t.Tokens) {
			k.Wrapped = nil // nobody is left to be told why
		}
	}
	r.forget(p)
	var changed []Key
	for _, k := range r.Keys {
		if before, ok := was.Find(k.ID); ok && (before.State != k.State || len(before.Wrapped) != len(k.Wrapped)) {
			changed = append(changed, k)
		}
	}
	return r, changed
}

// WantsNext reports whether it is time to publish the key that is to follow the one that signs.
func (r Ring) WantsNext(p Purpose, t Terms, now instant.Instant) bool {
	k, ok := r.Primary(p)
	if _, pending := r.next(p); !ok || pending || t.Rotate <= 0 {
		return false
	}
	return now >= k.Changed.Add(max(t.Rotate-t.Publish, 0))
}

// forget lets go of the keys that have been gone for longest, when there are too many. What was revoked is remembered for ever.
func (r *Ring) forget(p Purpose) {
	var gone []Key
	for _, k := range r.Keys {
		if k.Purpose == p && k.State == Gone {
			gone = append(gone, k)
		}
	}
	if len(gone) <= MaxGone {
		return
	}
	slices.SortStableFunc(gone, func(a, b Key) int { return cmp.Compare(a.Changed, b.Changed) })
	over := map[string]bool{}
	for _, k := range gone[:len(gone)-MaxGone] {
		over[k.ID] = true
	}
	r.Keys = slices.DeleteFunc(r.Keys, func(k Key) bool { return over[k.ID] })
}

// Outlook is what happens to a key next.
type Outlook struct {
	Then State           // 0: nothing; it can still be revoked
	At   instant.Instant // by itself; 0: whenever somebody asks for it
}

// Outlook answers what happens to a key of the ring next, and when. Settings decide over keys that they give until the first rotation.
func (r Ring) Outlook(k Key, t Terms) Outlook {
	switch k.State {
	case Next:
		return Outlook{Primary, k.Created.Add(t.Publish)}
	case Primary:
		if next, ok := r.next(k.Purpose); ok {
			return Outlook{Retiring, next.Created.Add(t.Publish)}
		}
		if t.Rotate > 0 {
			return Outlook{Retiring, k.Changed.Add(max(t.Rotate, t.Publish))}
		}
		return Outlook{Then: Retiring}
	case Retiring:
		if r.rotated(k.Purpose) {
			return Outlook{Gone, k.Changed.Add(t.Tokens)}
		}
	}
	return Outlook{}
}

// next is the key that is published and does not sign yet.
func (r Ring) next(p Purpose) (Key, bool) {
	for _, k := range r.Keys {
		if k.State == Next && k.Purpose == p {
			return k, true
		}
	}
	return Key{}, false
}

// rotated reports whether a key of the system's own signs. Until then it is the settings that say which key signs and which verify.
func (r Ring) rotated(p Purpose) bool {
	k, ok := r.Primary(p)
	return ok && !k.Given()
}

// Given reports, of a key that signs or verifies, whether its secret comes from a setting, and is not kept with it. Such a key has no public half: that of another says
// nothing of where its private one was, which is kept only for as long as it signs or will.
func (k Key) Given() bool { return len(k.Wrapped) == 0 && len(k.Public) == 0 }

// Give answers the ring with the keys that settings give, their secrets in them: current, unless its ID is empty, and previous. Until a key of the system's own signs,
// current does and previous verify, whatever they were before: the settings decide. From then on they are what they have become in the ring, and one that is not in it is not put there:
// nobody rotated to it. Unused are those of that kind. One that was revoked stays so: with such a current none may be left that signs.
func (r Ring) Give(current Key, previous []Key, now instant.Instant) (_ Ring, unused []string) {
	r.Keys = slices.Clone(r.Keys)
	rotated := r.rotated(Sign)
	give := func(k Key, state State) {
		i := slices.IndexFunc(r.Keys, func(is Key) bool { return is.ID == k.ID })
		switch {
		case k.ID == "":
		case i >= 0:
			is := &r.Keys[i]
			is.Secret = k.Secret
			if byHand := is.State == Revoked || is.State == Gone && state != Primary; !rotated && !byHand && is.State != state {
				is.State, is.Changed = state, now
			}
		case rotated:
			unused = append(unused, k.ID)
		default:
			k.State, k.Created, k.Changed = state, now, now
			r.Keys = append(r.Keys, k)
		}
	}
	for i := range r.Keys { // before the new one is: a ring has one primary
		if k := &r.Keys[i]; !rotated && k.State == Primary && k.Purpose == Sign && k.ID != current.ID && current.ID != "" {
			k.State, k.Changed = Retiring, now
		}
	}
	give(current, Primary)
	for _, k := range previous {
		if k.ID != current.ID {
			give(k, Retiring)
		}
	}
	return r, unused
}

// Held is the ring without the keys that are to verify and whose secret half is not held: they are Gone in it.
func (r Ring) Held() Ring {
	r.Keys = slices.Clone(r.Keys)
	for i := range r.Keys {
		if k := &r.Keys[i]; k.State.Verifies() && k.Secret.IsZero() && len(k.Public) == 0 {
			k.State = Gone
		}
	}
	return r
}

// Withdrawn is the ring in which every key of which revoked says so is Revoked. When that takes the key that signs, one that is Next signs in its place, if there is one.
func (r Ring) Withdrawn(revoked func(kid string) bool, now instant.Instant) Ring {
	r.Keys = slices.Clone(r.Keys)
	for i := range r.Keys {
		if k := &r.Keys[i]; k.State != Revoked && revoked(k.ID) {
			k.State, k.Changed = Revoked, now
		}
	}
	if _, ok := r.Primary(Sign); !ok {
		if next, ok := r.next(Sign); ok {
			_ = r.move(next.ID, Primary, now) // a next key may always sign
		}
	}
	return r
}
