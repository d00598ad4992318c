package awswaf_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// service is AWS WAF at the wire, as far as its documentation tells its rules: an update replaces all addresses and takes the token of the last reading alone; addresses are CIDR of the set's version,
// never /0, at most 10,000, each once; those of IPv6 are given back in full. It takes requests that are signed for its region, and no others.
type service struct {
	url string

	mu     sync.Mutex
	sets   map[string]*ipSet
	broken http.HandlerFunc // answers instead of the service if it is set
	keys   map[string]bool  // the access keys that are taken
	meddle int              // so many more updates find that somebody was faster
	reads  int
	writes int
}

type ipSet struct {
	Name, ID, Version, Description string
	Addresses                      []string
	token                          int
}

const region = "eu-central-1"

func serve(t testing.TB) *service {
	s := &service{keys: map[string]bool{"AKIDTEST": true}, sets: map[string]*ipSet{
		"id-4": {Name: "four", ID: "id-4", Version: "IPV4", Description: "what XTeam blocks"},
		"id-6": {Name: "six", ID: "id-6", Version: "IPV6"},
	}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// has is what both sets hold.
func (s *service) has() (all []netip.Prefix) {
	s.change(func() {
		for _, set := range s.sets {
			for _, text := range set.Addresses {
				all = append(all, netip.MustParsePrefix(text))
			}
		}
	})
	return all
}

var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([A-Z]+)/\d{8}/` + region + `/wafv2/aws4_request, SignedHeaders=[a-z0-9;-]*host;[a-z0-9;-]*x-amz-target, Signature=[0-9a-f]{64}$`)

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		broken := s.broken
		s.mu.Unlock()
		defer s.mu.Lock()
		broken(w, r)
		return
	}
	by := signed.FindStringSubmatch(r.Header.Get("Authorization"))
	var in struct {
		Id, Name, Scope, LockToken string
		Description                *string
		Addresses                  []string
	}
	body, _ := io.ReadAll(r.Body)
	set := (*ipSet)(nil)
	if json.Unmarshal(body, &in) == nil {
		set = s.sets[in.Id]
	}
	switch target := r.Header.Get("X-Amz-Target"); {
	case by == nil || r.Header.Get("X-Amz-Date") == "":
		refuse(w, 400, "IncompleteSignatureException", "the request is not signed: "+r.Header.Get("Authorization"))
	case !s.keys[by[1]]:
		refuse(w, 400, "ExpiredTokenException", "The security token included in the request is expired")
	case r.Method != "POST" || in.Scope != "REGIONAL" || in.Description != nil && *in.Description == "":
		refuse(w, 400, "WAFInvalidParameterException", "what is this? "+target)
	case set == nil || set.Name != in.Name:
		refuse(w, 400, "WAFNonexistentItemException", "AWS WAF couldn't perform the operation because your resource doesn't exist.")
	case target == "AWSWAF_20190729.GetIPSet":
		s.reads++
		s.get(w, set)
	case target == "AWSWAF_20190729.UpdateIPSet":
		s.writes++
		if s.meddle > 0 { // somebody else is faster
			s.meddle--
			set.token++
			set.Addresses = []string{"203.0.113.9/32"}
		}
		if in.LockToken != fmt.Sprint("token-", set.token) {
			refuse(w, 400, "WAFOptimisticLockException", "AWS WAF couldn't save your changes because someone changed the resource after you started to edit it.")
			return
		}
		s.update(w, set, in.Addresses, in.Description)
	default:
		refuse(w, 400, "UnknownOperationException", target)
	}
}

func (s *service) get(w http.ResponseWriter, set *ipSet) {
	shown := []string{}
	for _, text := range set.Addresses {
		p := netip.MustParsePrefix(text)
		shown = append(shown, fmt.Sprintf("%s/%d", p.Addr().StringExpanded(), p.Bits()))
	}
	out := map[string]any{"LockToken": fmt.Sprint("token-", set.token), "IPSet": map[string]any{"Name": set.Name, "Id": set.ID, "IPAddressVersion": set.Version, "Description": set.Description, "Addresses": shown,
		"ARN": "arn:aws:wafv2:" + region + ":123456789012:regional/ipset/" + set.Name + "/" + set.ID}}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}

func (s *service) update(w http.ResponseWriter, set *ipSet, addresses []string, description *string) {
	if len(addresses) > 10_000 {
		refuse(w, 400, "WAFLimitsExceededException", "AWS WAF couldn't perform the operation because you exceeded your resource limit.")
		return
	}
	seen := map[netip.Prefix]bool{}
	for _, text := range addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Bits() == 0 || seen[p] || p != p.Masked() || p.Addr().Is4() != (set.Version == "IPV4") {
			refuse(w, 400, "WAFInvalidParameterException", "Error reason: The parameter contains formatting that is not valid., field: IP_ADDRESS, parameter: "+text)
			return
		}
		seen[p] = true
	}
	set.Addresses, set.token, set.Description = addresses, set.token+1, ""
	if description != nil {
		set.Description = *description
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = fmt.Fprintf(w, `{"NextLockToken":"token-%d"}`, set.token)
}

// refuse answers an error as the service does. The message has what an adapter must not pass on.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"__type":%q,"Message":%q}`, code, message+" (planted-value)")
}

func answers(status int, kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func refuses(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code, "no") }
}

// hangs answers nothing until the caller goes.
func hangs(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func resets(w http.ResponseWriter, _ *http.Request) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = c.Close()
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = io.WriteString(w, `{"LockToken":"`)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat("planted-value", 5000)); err != nil {
			return
		}
	}
}
