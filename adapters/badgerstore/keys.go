package badgerstore

import (
	"encoding/binary"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
)

// The prefixes and whole keys of the layout, as the package's comment has them.
const (
	schemaKey            = "m/schema"
	systemKey            = "m/system"
	trailKey             = "m/trail"
	blocksKey            = "m/blocks"
	alertsKey            = "m/alerts"
	incidentsKey         = "m/incidents"
	incidentsRevisionKey = "m/incidents.revision"
	accountPrefix        = "a/"
	emailPrefix          = "n/e"
	usernamePrefix       = "n/u"
	sessionPrefix        = "s/"
	userPrefix           = "u/"
	apiKeyPrefix         = "p/"
	ownerPrefix          = "o/"
	uploadPrefix         = "f/"
	uploaderPrefix       = "w/"
	ringPrefix           = "k/"
	entryPrefix          = "r/"
	eventPrefix          = "e/"
	linkPrefix           = "t/"
	cursorPrefix         = "c/"
)

// Margin is how long a revocation or a session is kept beyond its time: a day by which a clock may be wrong, and a day in which an entry whose time
// is over is still given out.
const Margin = 48 * time.Hour

// expiry is the moment, in seconds since 1970, at which Badger drops what matters until t; 0 is never.
func expiry(t instant.Instant) uint64 {
	t = t.Add(Margin)
	if t == instant.Forever {
		return 0
	}
	return seconds(t)
}

// seconds is the first whole second after t, since 1970.
func seconds(t instant.Instant) uint64 { return uint64(max(t.Seconds()+1, 1)) }

func accountKey(uid id.User) []byte { return append([]byte(accountPrefix), uid[:]...) }

func sessionKey(sid id.Session) []byte { return append([]byte(sessionPrefix), sid[:]...) }

func digestKey(prefix string, digest [16]byte) []byte { return append([]byte(prefix), digest[:]...) }

func sessionsOf(uid id.User) []byte { return append([]byte(userPrefix), uid[:]...) }

// sessionOfUser is the key by which a session is found among those of its user, in the order of their creation.
func sessionOfUser(s *session.Session) []byte {
	k := binary.BigEndian.AppendUint64(sessionsOf(s.User), uint64(s.Created)^1<<63)
	return append(k, s.ID[:]...)
}

func cursorKey(name string) []byte { return []byte(cursorPrefix + name) }

func ringKey(name string) []byte { return []byte(ringPrefix + name) }

func eventKey(position uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(eventPrefix), position)
}

func linkKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(linkPrefix), seq)
}
