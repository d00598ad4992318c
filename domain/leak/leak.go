// Package leak finds API keys and refresh tokens in texts where they should not be.
package leak

import (
	"bytes"
	"errors"
	"io"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
)

// Leak is one secret that was found. Its checksum fits: a look-alike is none.
type Leak struct {
	Text   secret.Text
	Line   int // from 1
	Column int // from 1, in bytes

	APIKey      id.APIKey          // of an API key, else zero
	Environment apikey.Environment // of an API key
	Session     id.Session         // of a refresh token, else zero
}

// Shown is the secret as it may be shown: what it is for, and nothing by which it could be used.
func (l *Leak) Shown() string {
	if l.APIKey.IsZero() {
		return session.RefreshPrefix + "… of the session " + l.Session.String()
	}
	return apikey.Prefix + string(l.Environment) + "_" + l.APIKey.String() + "_…"
}

const (
	longest = max(apikey.Size, session.RefreshSize)
	chunk   = 64 << 10
)

// common begins both kinds.
var common = []byte(apikey.Prefix[:2])

// Find reads r to its end and hands each secret to found, in their order, until that answers false. It holds a few 64 KiB, however long r and its lines are.
func Find(r io.Reader, found func(Leak) bool) error {
	buf := make([]byte, 0, chunk+longest)
	line, column := 1, 1 // of buf[0]
	for end := false; !end; {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			end = true
		case err != nil:
			return err
		}
		at, until := 0, len(buf)
		if !end {
			until = max(len(buf)-longest+1, 0) // what begins behind may not be whole yet
		}
		done := 0
		for at < until {
			next := bytes.Index(buf[at:], common)
			if next < 0 || at+next >= until {
				at = until
				break
			}
			at += next
			l, size := look(buf[at:])
			if size == 0 {
				at++
				continue
			}
			line, column = moved(line, column, buf[done:at])
			done = at
			if l.Line, l.Column = line, column; !found(l) {
				return nil
			}
			at += size
		}
		line, column = moved(line, column, buf[done:at])
		buf = buf[:copy(buf[:cap(buf)], buf[at:])]
	}
	return nil
}

// look answers the secret with which b begins, and its length; 0 when there is none.
func look(b []byte) (l Leak, size int) {
	switch {
	case bytes.HasPrefix(b, []byte(session.RefreshPrefix)) && len(b) >= session.RefreshSize:
		text := string(b[:session.RefreshSize])
		t, err := session.ParseRefresh(text)
		if err != nil {
			return l, 0
		}
		return Leak{Text: secret.New(text), Session: t.Session}, len(text)
	case bytes.HasPrefix(b, []byte(apikey.Prefix)) && len(b) >= apikey.Size:
		text := string(b[:apikey.Size])
		p, err := apikey.Parse(text)
		if err != nil {
			return l, 0
		}
		return Leak{Text: secret.New(text), APIKey: p.ID, Environment: p.Environment}, len(text)
	}
	return l, 0
}

// moved is the place behind b, which begins at a place.
func moved(line, column int, b []byte) (int, int) {
	if last := bytes.LastIndexByte(b, '\n'); last >= 0 {
		return line + bytes.Count(b, []byte("\n")), len(b) - last
	}
	return line, column + len(b)
}
