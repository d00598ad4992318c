package session

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/instant"
)

const (
	// MaxPlaces is how many networks are remembered of one account, or of one API key.
	MaxPlaces = 64

	placeHash = 8
	placeSize = placeHash + 2
	placeDay  = 24 * time.Hour
)

// errPlaces says that bytes are not those of Places.
var errPlaces = errors.New("the networks are damaged")

// Places are the networks that somebody was seen in, the latest first: of each a short hash, and the day. Two networks of one hash are a matter of 2^58 tries for whoever wants to be taken for known; the hash hides
// nothing from whoever reads it and tries all networks. The zero value is none. They are compared by ==.
type Places struct{ all string }

// ParsePlaces reads what Bytes has written.
func ParsePlaces(b []byte) (Places, error) {
	if len(b)%placeSize != 0 || len(b) > MaxPlaces*placeSize {
		return Places{}, errPlaces
	}
	return Places{string(b)}, nil
}

// Bytes is how places are stored; nil for none.
func (p Places) Bytes() []byte {
	if p.all == "" {
		return nil
	}
	return []byte(p.all)
}

// Len is how many there are.
func (p Places) Len() int { return len(p.all) / placeSize }

// Last answers when a network was seen last: the end of that day, or the zero instant when it is not among them.
func (p Places) Last(n netip.Prefix) instant.Instant {
	if at := p.find(hashOf(n)); n.IsValid() && at >= 0 {
		return endOf(p.all[at:])
	}
	return 0
}

// With has n be the latest, as seen at a time. When there is no room, the one at the end goes. What is not valid changes nothing.
func (p Places) With(n netip.Prefix, seen instant.Instant) Places {
	if !n.IsValid() {
		return p
	}
	h, day := hashOf(n), dayOf(seen)
	rest := p.all
	if at := p.find(h); at >= 0 {
		day = max(day, binary.BigEndian.Uint16([]byte(rest[at+placeHash:at+placeSize]))) // told late
		rest = rest[:at] + rest[at+placeSize:]
	}
	rest = rest[:min(len(rest), (MaxPlaces-1)*placeSize)]
	return Places{h + string(binary.BigEndian.AppendUint16(nil, day)) + rest}
}

// Without is p without n.
func (p Places) Without(n netip.Prefix) Places {
	if at := p.find(hashOf(n)); n.IsValid() && at >= 0 {
		return Places{p.all[:at] + p.all[at+placeSize:]}
	}
	return p
}

// Since is those of p that were seen at that time or later.
func (p Places) Since(t instant.Instant) Places {
	var kept strings.Builder
	for at := 0; at < len(p.all); at += placeSize {
		if endOf(p.all[at:]) >= t {
			kept.WriteString(p.all[at : at+placeSize])
		}
	}
	return Places{kept.String()}
}

// find answers where a hash stands, or -1.
func (p Places) find(h string) int {
	for at := 0; at < len(p.all); at += placeSize {
		if p.all[at:at+placeHash] == h {
			return at
		}
	}
	return -1
}

func hashOf(n netip.Prefix) string {
	b, _ := n.MarshalBinary() // never fails
	sum := sha256.Sum256(b)
	return string(sum[:placeHash])
}

// dayOf counts days since 1970, as far as they fit.
func dayOf(t instant.Instant) uint16 {
	return uint16(min(max(t.Seconds()/int64(placeDay/time.Second), 0), 1<<16-1))
}

// endOf is the last instant of the day of a place.
func endOf(place string) instant.Instant {
	day := int64(binary.BigEndian.Uint16([]byte(place[placeHash:placeSize])))
	return instant.Unix((day+1)*int64(placeDay/time.Second)) - 1
}
