package httpapi

import (
	_ "embed"
	"net/http"
)

// The description of the API and the pages that are made of it. TestOpenAPI writes them.
var (
	//go:embed pages/openapi.json
	openAPI []byte
	//go:embed pages/home.html
	homePage []byte
	//go:embed pages/docs.html
	docsPage []byte
	//go:embed pages/problems.html
	problemsPage []byte
)

var (
	htmlType = []string{"text/html; charset=utf-8"}
	// pagePolicy lets the pages have their own style, and nothing else: they run no script and load nothing.
	pagePolicy = []string{"default-src 'none'; style-src 'sha256-3nZuMoXSVw3/1fGznlKPstd8+MQz+QvxM1z6B7Ab5fQ='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	pageCached = []string{"no-cache"}
)

//go:generate env UPDATE_DOCS=1 go test -count=1 -run ^TestOpenAPI$ .

func (a *API) openAPI(x *exchange) error { return x.page(jsonType, openAPI) }

// home is for whoever opens the address with a browser.
func (a *API) home(x *exchange) error { return x.page(htmlType, homePage) }

func (a *API) docs(x *exchange) error { return x.page(htmlType, docsPage) }

func (a *API) problems(x *exchange) error { return x.page(htmlType, problemsPage) }

// page answers with what is the same for everybody.
func (x *exchange) page(kind []string, text []byte) error {
	h := x.Header()
	h["Content-Type"], h["Cache-Control"] = kind, pageCached
	if kind[0] == htmlType[0] {
		h["Content-Security-Policy"] = pagePolicy
	}
	x.WriteHeader(http.StatusOK)
	_, _ = x.Write(text) // a client that has gone
	return nil
}
