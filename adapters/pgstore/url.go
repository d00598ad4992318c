package pgstore

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// URL is a DATABASE_URL that names a PostgreSQL server, in the form of libpq or of the seed.
type URL struct {
	dsn string // in libpq's form; it holds the password

	// Name is HOST:PORT/DATABASE, for people.
	Name string
	// Encrypted says that no connection is made without TLS.
	Encrypted bool
	// Verified says that the server's certificate is held against its name and an authority.
	Verified bool
	// Local says that every host is a folder with a Unix socket, so that nothing leaves the machine.
	Local bool
	// Suggestion is the same URL with sslmode=verify-full, the password left out: what production asks for.
	Suggestion string
}

// schemes are those that name PostgreSQL.
var schemes = []string{"postgres", "postgresql", "postgresql+asyncpg"}

// modes are libpq's values of sslmode, and the seed's of ssl.
var modes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

// Names reports whether a DATABASE_URL is one of PostgreSQL.
func Names(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && slices.Contains(schemes, strings.ToLower(scheme))
}

// ParseURL reads a DATABASE_URL. `postgres://…?sslmode=…` is as libpq reads it, and the seed's `postgresql+asyncpg://…?ssl=…` the same with the other name; without a mode it is `prefer`, as
// in both. Host and database must be said. The error does not hold the text, which holds a password.
func ParseURL(text string) (URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return URL{}, errors.New("it is no URL: a password with other signs than letters and digits must be percent-encoded")
	case !Names(text):
		return URL{}, fmt.Errorf("it begins with %q, want postgres:// or postgresql+asyncpg://", u.Scheme)
	}
	q := u.Query()
	host := u.Host
	if at := q.Get("host"); host == "" && at != "" {
		host = at
	}
	database := strings.TrimPrefix(u.Path, "/")
	if host == "" || database == "" || strings.Contains(database, "/") {
		return URL{}, errors.New("it lacks the host or the name of the database: postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full")
	}
	mode := q.Get("sslmode")
	if ssl := q.Get("ssl"); ssl != "" {
		if mode != "" {
			return URL{}, errors.New("it says both ssl and sslmode: leave ssl out")
		}
		if mode = ssl; ssl == "true" {
			mode = "require"
		}
		q.Del("ssl")
	}
	if mode == "" {
		mode = "prefer"
	}
	if !slices.Contains(modes, mode) {
		return URL{}, fmt.Errorf("its sslmode is %q, want one of %s", mode, strings.Join(modes, ", "))
	}
	q.Set("sslmode", mode)
	u.Scheme, u.RawQuery = "postgres", q.Encode()
	v := URL{dsn: u.String(), Name: host + "/" + database, Encrypted: slices.Contains(modes[3:], mode), Verified: mode == "verify-full", Local: true}
	for one := range strings.SplitSeq(host, ",") {
		v.Local = v.Local && strings.HasPrefix(one, "/")
	}
	safe := *u
	if safe.User != nil {
		safe.User = url.User(u.User.Username())
	}
	q.Set("sslmode", "verify-full")
	q.Del("password")
	safe.RawQuery = q.Encode()
	v.Suggestion = safe.String()
	return v, nil
}

// String is the name alone: the URL holds a password.
func (u URL) String() string { return u.Name }

// GoString is the name alone.
func (u URL) GoString() string { return u.Name }
