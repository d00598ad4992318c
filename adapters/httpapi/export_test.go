package httpapi

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/token"
)

// From is where a request comes from by the word of these proxies, and whether over TLS.
func From(p Proxies, r *http.Request) (netip.Addr, bool) { return p.plain().from(r, nil) }

// KeyScopes are the routes by method and path, with the scope that an API key needs there (empty: no key is taken), and those alone that know their caller.
func (a *API) KeyScopes() map[string]string {
	all := map[string]string{}
	for _, r := range a.routes() {
		if r.access != anyone {
			all[r.method+" "+r.path] = r.needs().String()
		}
	}
	return all
}

// User is an account as it is answered.
type User = user

// AppendJSON is how it writes itself.
func (u user) AppendJSON(b []byte) ([]byte, error) { return u.appendJSON(b) }

// Through is h inside the chain, without routes.
func (a *API) Through(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := a.begin(w, r)
		defer x.end()
		x.setHeaders()
		h(x, r)
	})
}

// OverPlain is r as it comes over a Plain listener.
func OverPlain(r *http.Request) *http.Request {
	return r.WithContext(knowHeaded(r.Context(), &headed{}))
}

// NotOneLine is what is written of an answer whose request's id, and whose limit's name, are these.
func NotOneLine(id, policy string) ([]byte, error) {
	return (&exchange{id: id, limits: &quota{[]string{"1"}, []string{policy}, policy}}).appendLines(nil)
}

// NotOneLineOf is what is written of an answer that names a bearer with these claims.
func NotOneLineOf(c *token.Claims) ([]byte, error) {
	return (&exchange{id: "id", named: true, caller: app.Caller{Claims: c}}).appendLines(nil)
}

// Due is a connection on which an answer is due, and what it writes b as.
func Due(c net.Conn, b []byte) (int, error) { return (&headed{Conn: c, due: &exchange{}}).Write(b) }

// Cursor reads a cursor of a list, and writes what it read; of is whose sessions are listed.
func Cursor(list, text string, of id.User) (again string, err error) {
	var next *string
	switch list {
	case "users":
		var last id.User
		last, err = usersBehind(text)
		next = nextUsers(last)
	case "sessions":
		var p app.Place
		p, err = sessionsBehind(text, of)
		next = nextSessions(of, p)
	default:
		var last uint64
		last, err = eventsBehind(text)
		next = nextEvents(last)
	}
	return *next, err
}

// OneRange judges the Range of a download, and Disposition is how a file is named in one.
var (
	OneRange    = oneRange
	Disposition = dispositionOf
)

// AtLeast is by when so many bytes must have passed of a body that began then.
func AtLeast(began time.Time, n int64) time.Time { return atLeast(began, bodyPatience, n) }

// FormPart is a part of a form, as it was read.
type FormPart struct {
	Header  textproto.MIMEHeader
	Content []byte
}

// FormParts reads all parts of a form, with a buffer of that many bytes, or with those of an upload.
func FormParts(body io.Reader, boundary string, buffer int) (all []FormPart, err error) {
	f := newForm(body, boundary)
	if buffer > 0 {
		f.buf = make([]byte, buffer)
	}
	for {
		h, err := f.next()
		if h == nil || err != nil {
			return all, err
		}
		if buffer == 0 {
			f.lengthen(-1)
		}
		p := FormPart{Header: h}
		for {
			piece, err := f.content()
			if err != nil {
				return nil, err
			}
			if len(piece) == 0 {
				break
			}
			p.Content = append(p.Content, piece...)
		}
		all = append(all, p)
	}
}

// Outliving is a context that ends so long after another does.
var Outliving = outliving
