package verify

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

type claimsKey struct{}

// Protect lets to next only requests whose access token (Authorization: Bearer) is taken; ClaimsFrom tells what it claims. The others get 401 with WWW-Authenticate and a code (RFC 6750), or 503 while what is
// revoked is not known.
func (v *Verifier) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := v.Verify(bearer(r))
		if err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	})
}

// ClaimsFrom answers what the token of a protected request claims; false outside Protect.
func ClaimsFrom(ctx context.Context) (*token.Claims, bool) {
	c, ok := ctx.Value(claimsKey{}).(*token.Claims)
	return c, ok
}

// bearer is the token of a request; one that was sent twice is none.
func bearer(r *http.Request) string {
	sent := r.Header["Authorization"]
	if len(sent) != 1 {
		return ""
	}
	scheme, text, _ := strings.Cut(sent[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return text
}

func refuse(w http.ResponseWriter, err error) {
	status, code := http.StatusUnauthorized, "token_invalid"
	switch {
	case errors.Is(err, revocation.ErrStale):
		status, code = http.StatusServiceUnavailable, "revocations_stale"
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, token.ErrMissing):
		code = "token_missing"
	case errors.Is(err, token.ErrMalformed):
		code = "token_malformed"
	case errors.Is(err, token.ErrExpired):
		code = "token_expired"
	case Reason(err) != "":
		code = "token_revoked"
	}
	if status == http.StatusUnauthorized {
		challenge := `Bearer realm="xteam"`
		if code != "token_missing" {
			challenge += `, error="invalid_token", error_description="` + err.Error() + `"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	b, _ := json.Marshal(struct { //nolint:errchkjson // strings and numbers
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Reason string `json:"reason,omitempty"`
	}{http.StatusText(status), status, code, Reason(err)})
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
