package badgerstore

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
)

func encodeAccount(a account.Account) []byte {
	e := newEncoder()
	e.text(1, a.Email.String())
	e.text(2, a.Username.String())
	e.text(3, a.FullName.String())
	e.text(4, string(a.Role))
	e.text(5, a.Password.RevealPlaintext())
	e.bool(6, a.Disabled)
	e.int(7, int64(a.Generation))
	e.int(8, int64(a.SessionsFrom))
	e.int(9, int64(a.SessionsEnded))
	e.int(10, int64(a.Created))
	e.int(11, int64(a.Updated))
	e.int(12, int64(a.KeysFrom))
	e.int(13, int64(a.KeysEnded))
	e.bool(14, a.Decoy)
	e.bytes(15, a.Places.Bytes())
	return e
}

func decodeAccount(uid id.User, value []byte) (account.Account, error) {
	a := account.Account{ID: uid}
	err := decode(value, func(f field) {
		var err error
		switch f.tag {
		case 1:
			a.Email, err = account.ParseEmail(f.text())
		case 2:
			a.Username, err = account.ParseUsername(f.text())
		case 3:
			a.FullName, err = account.ParseFullName(f.text())
		case 4:
			a.Role = account.Role(f.text())
		case 5:
			a.Password = secret.New(f.text())
		case 6:
			a.Disabled = f.int() != 0
		case 7:
			a.Generation = token.Generation(f.int())
		case 8:
			a.SessionsFrom = token.Generation(f.int())
		case 9:
			a.SessionsEnded = revocation.Reason(f.int())
		case 10:
			a.Created = instant.Instant(f.int())
		case 11:
			a.Updated = instant.Instant(f.int())
		case 12:
			a.KeysFrom = token.Generation(f.int())
		case 13:
			a.KeysEnded = revocation.Reason(f.int())
		case 14:
			a.Decoy = f.int() != 0
		case 15:
			a.Places = f.places()
		default:
			f.unknown()
		}
		if err != nil {
			f.fail(errDamaged)
		}
	})
	return a, err
}

func encodeOrigin(o session.Origin) []byte {
	var e encoder
	address, _ := o.Address.MarshalBinary() // never fails
	e.bytes(1, address)
	e.text(2, o.UserAgent)
	return e
}

func (f field) places() session.Places {
	p, err := session.ParsePlaces(f.raw)
	if err != nil {
		f.fail(errDamaged)
	}
	return p
}

func (f field) origin() session.Origin {
	var o session.Origin
	err := fields(f.raw, func(f field) {
		switch f.tag {
		case 1:
			var address netip.Addr
			if address.UnmarshalBinary(f.raw) != nil {
				f.fail(errDamaged)
			}
			o.Address = address
		case 2:
			o.UserAgent = f.text()
		default:
			f.unknown()
		}
	})
	if err != nil {
		f.fail(err)
	}
	return o
}

func encodeSession(s session.Session) []byte {
	e := newEncoder()
	e.bytes(1, s.User[:])
	e.int(2, int64(s.Generation))
	e.int(3, int64(s.Epoch))
	e.int(4, int64(s.Counter))
	e.bytes(5, s.LiveHash[:])
	e.int(6, int64(s.Idle))
	e.int(7, int64(s.Last.At))
	e.bytes(8, encodeOrigin(s.Last.From))
	e.bytes(9, s.Last.Successor)
	e.int(10, int64(s.Created))
	e.int(11, int64(s.LastUsed))
	e.int(12, int64(s.Expires))
	e.bytes(13, encodeOrigin(s.Device))
	e.bytes(14, encodeOrigin(s.LastFrom))
	e.int(15, int64(s.Ended))
	e.int(16, int64(s.EndedReason))
	return e
}

func decodeSession(sid id.Session, value []byte) (session.Session, error) {
	s := session.Session{ID: sid}
	err := decode(value, func(f field) {
		switch f.tag {
		case 1:
			f.copy(s.User[:])
		case 2:
			s.Generation = token.Generation(f.int())
		case 3:
			s.Epoch = token.Epoch(f.int())
		case 4:
			s.Counter = uint64(f.int())
		case 5:
			f.copy(s.LiveHash[:])
		case 6:
			s.Idle = instant.Instant(f.int())
		case 7:
			s.Last.At = instant.Instant(f.int())
		case 8:
			s.Last.From = f.origin()
		case 9:
			s.Last.Successor = f.bytes()
		case 10:
			s.Created = instant.Instant(f.int())
		case 11:
			s.LastUsed = instant.Instant(f.int())
		case 12:
			s.Expires = instant.Instant(f.int())
		case 13:
			s.Device = f.origin()
		case 14:
			s.LastFrom = f.origin()
		case 15:
			s.Ended = instant.Instant(f.int())
		case 16:
			s.EndedReason = revocation.Reason(f.int())
		default:
			f.unknown()
		}
	})
	return s, err
}

// encodeRing leaves out the secret halves: they are stored wrapped or not at all.
func encodeRing(r keyset.Ring) []byte {
	e := newEncoder()
	for _, k := range r.Keys {
		var ke encoder
		ke.text(1, k.ID)
		ke.text(2, k.Algorithm)
		ke.int(3, int64(k.State))
		ke.int(4, int64(k.Created))
		ke.int(5, int64(k.Changed))
		ke.bytes(6, k.Public)
		ke.bytes(7, k.Wrapped)
		ke.text(8, string(k.Purpose))
		e.item(1, ke)
	}
	return e
}

func decodeRing(name string, value []byte) (keyset.Ring, error) {
	r := keyset.Ring{Name: name}
	err := decode(value, func(f field) {
		if f.tag != 1 {
			f.unknown()
			return
		}
		var k keyset.Key
		err := fields(f.raw, func(f field) {
			switch f.tag {
			case 1:
				k.ID = f.text()
			case 2:
				k.Algorithm = f.text()
			case 3:
				k.State = keyset.State(f.int())
			case 4:
				k.Created = instant.Instant(f.int())
			case 5:
				k.Changed = instant.Instant(f.int())
			case 6:
				k.Public = f.bytes()
			case 7:
				k.Wrapped = f.bytes()
			case 8:
				k.Purpose = keyset.Purpose(f.text())
			default:
				f.unknown()
			}
		})
		if err != nil {
			f.fail(err)
		}
		r.Keys = append(r.Keys, k)
	})
	return r, err
}

func encodeState(s system.State) []byte {
	e := newEncoder()
	e.int(1, int64(s.Epoch))
	e.int(2, int64(s.LongestAccess))
	e.int(3, int64(s.SessionsFrom))
	e.int(4, int64(s.SessionsAfter))
	return e
}

func decodeState(value []byte) (system.State, error) {
	var s system.State
	err := decode(value, func(f field) {
		switch f.tag {
		case 1:
			s.Epoch = token.Epoch(f.int())
		case 2:
			s.LongestAccess = time.Duration(f.int())
		case 3:
			s.SessionsFrom = token.Epoch(f.int())
		case 4:
			s.SessionsAfter = instant.Instant(f.int())
		default:
			f.unknown()
		}
	})
	return s, err
}

func encodeEvent(v audit.Event) []byte {
	e := newEncoder()
	e.bytes(1, v.ID[:])
	e.int(2, int64(v.Time))
	e.text(3, string(v.Kind))
	e.int(4, int64(v.Severity))
	e.text(5, string(v.Outcome))
	e.text(6, v.Actor)
	e.text(7, v.Subject)
	e.text(8, v.Email)
	e.text(9, v.IPAddress)
	e.text(10, v.UserAgent)
	e.text(11, v.RequestID)
	e.text(12, v.Reason)
	for _, name := range slices.Sorted(maps.Keys(v.Details)) {
		var pair encoder
		pair.text(1, name)
		pair.text(2, v.Details[name])
		e.item(13, pair)
	}
	return e
}

func decodeEvent(value []byte) (audit.Event, error) {
	var v audit.Event
	err := decode(value, func(f field) {
		switch f.tag {
		case 1:
			f.copy(v.ID[:])
		case 2:
			v.Time = instant.Instant(f.int())
		case 3:
			v.Kind = audit.Kind(f.text())
		case 4:
			v.Severity = audit.Severity(f.int())
		case 5:
			v.Outcome = audit.Outcome(f.text())
		case 6:
			v.Actor = f.text()
		case 7:
			v.Subject = f.text()
		case 8:
			v.Email = f.text()
		case 9:
			v.IPAddress = f.text()
		case 10:
			v.UserAgent = f.text()
		case 11:
			v.RequestID = f.text()
		case 12:
			v.Reason = f.text()
		case 13:
			f.pair(&v)
		default:
			f.unknown()
		}
	})
	return v, err
}

func (f field) pair(v *audit.Event) {
	var name, text string
	err := fields(f.raw, func(f field) {
		switch f.tag {
		case 1:
			name = f.text()
		case 2:
			text = f.text()
		default:
			f.unknown()
		}
	})
	if err != nil {
		f.fail(err)
	}
	if v.Details == nil {
		v.Details = map[string]string{}
	}
	v.Details[name] = text
}
