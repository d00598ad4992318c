package graphqlapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/xteam/xteam/app"
)

// graphiql is one page with all that it needs, compressed. `make graphiql` makes it.
//
//go:embed graphiql/graphiql.html.gz
var graphiql []byte

// page is GraphiQL as it is served.
type page struct {
	text   []byte
	policy []string
}

// loaded unpacks the page once. Its policy lets its one script and its one style have effect, the fonts in it, and this service be asked, by sockets too; and nothing else.
var loaded = sync.OnceValues(func() (page, error) {
	z, err := gzip.NewReader(bytes.NewReader(graphiql))
	if err != nil {
		return page{}, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return page{}, err
	}
	return page{text, []string{"default-src 'none'; script-src " + hashOf(text, "script") + "; style-src " + hashOf(text, "style") + "; font-src data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}}, nil
})

// hashOf is what a policy names the one element of that name by (CSP Level 3, section 2.3.1).
func hashOf(text []byte, element string) string {
	_, after, _ := bytes.Cut(text, []byte("\n<"+element+">"))
	inside, _, _ := bytes.Cut(after, []byte("</"+element+">"))
	sum := sha256.Sum256(inside)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// GraphiQL serves the page for trying queries out, to anybody: it holds nothing but itself. It belongs under /graphiql, where the schema may be asked for.
func GraphiQL() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := visitOf(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if _, err := v.Admit(app.Rule{Class: app.Read}); err != nil {
			v.Refuse(err)
			return
		}
		p, err := loaded()
		if err != nil {
			v.Refuse(err)
			return
		}
		h := w.Header()
		h["Content-Security-Policy"] = p.policy
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Add("Vary", "Accept-Encoding")
		body := p.text
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = graphiql
		}
		if r.Method != http.MethodHead {
			_, _ = w.Write(body) // a client that has gone
		}
	})
}
