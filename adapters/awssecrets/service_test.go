package awssecrets_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// service is Secrets Manager at the wire, as far as its documentation tells its rules: a new value takes AWSCURRENT, and the one that had it AWSPREVIOUS; AWSPENDING is on a
// version that nobody asks for; a secret that is marked for deletion hands out nothing. It takes requests that are signed for its region, and no others.
type service struct {
	url string

	mu      sync.Mutex
	secrets map[string]*kept
	broken  http.HandlerFunc // answers instead of the service if it is set
	keys    map[string]bool  // the access keys that are taken
	asked   []string         // ids and stages
	calls   int
}

type kept struct {
	stages  map[string]string
	binary  []byte
	deleted bool
}

const region = "eu-central-1"

func serve(t testing.TB) *service {
	s := &service{secrets: map[string]*kept{}, keys: map[string]bool{"AKIDTEST": true}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// put stores a value as PutSecretValue does.
func (s *service) put(id, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.secrets[id]
	if k == nil {
		k = &kept{stages: map[string]string{}}
		s.secrets[id] = k
	}
	if before, ok := k.stages["AWSCURRENT"]; ok {
		k.stages["AWSPREVIOUS"] = before
	}
	k.stages["AWSCURRENT"] = value
}

func (s *service) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([A-Z]+)/\d{8}/` + region + `/secretsmanager/aws4_request, SignedHeaders=[a-z0-9;-]*host;[a-z0-9;-]*x-amz-target, Signature=[0-9a-f]{64}$`)

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.broken != nil {
		broken := s.broken
		s.mu.Unlock()
		defer s.mu.Lock()
		broken(w, r)
		return
	}
	by := signed.FindStringSubmatch(r.Header.Get("Authorization"))
	var in struct{ SecretId, VersionStage string }
	body, _ := io.ReadAll(r.Body)
	switch {
	case by == nil || r.Header.Get("X-Amz-Date") == "":
		refuse(w, 400, "IncompleteSignatureException", "the request is not signed: "+r.Header.Get("Authorization"))
	case !s.keys[by[1]]:
		refuse(w, 400, "ExpiredTokenException", "The security token included in the request is expired")
	case r.Method != "POST" || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || json.Unmarshal(body, &in) != nil || in.SecretId == "" || in.VersionStage == "":
		refuse(w, 400, "InvalidParameterException", "what is this? "+r.Header.Get("X-Amz-Target"))
	default:
		s.asked = append(s.asked, in.SecretId+" "+in.VersionStage)
		s.value(w, in.SecretId, in.VersionStage)
	}
}

func (s *service) value(w http.ResponseWriter, id, stage string) {
	k := s.secrets[id]
	if k == nil {
		refuse(w, 400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
		return
	}
	if k.deleted {
		refuse(w, 400, "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
		return
	}
	value, ok := k.stages[stage]
	if !ok && k.binary == nil {
		refuse(w, 400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: "+stage)
		return
	}
	out := map[string]any{"ARN": "arn:aws:secretsmanager:" + region + ":123456789012:secret:" + id + "-AbCdEf", "Name": id, "CreatedDate": 1.7e9,
		"VersionId": "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111", "VersionStages": []string{stage}, "SecretString": value}
	if k.binary != nil {
		delete(out, "SecretString")
		out["SecretBinary"] = k.binary
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
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

// ways are those in which the service, or what stands before it, fails. Each has what the sentence says of it.
var ways = map[string]struct {
	broken http.HandlerFunc
	says   string
}{
	"a denial":                    {refuses(400, "AccessDeniedException"), "allow the role secretsmanager:GetSecretValue"},
	"throttling":                  {refuses(400, "ThrottlingException"), "throttles requests"},
	"a mark for deletion":         {refuses(400, "InvalidRequestException"), "marked for deletion"},
	"a key that cannot be used":   {refuses(400, "DecryptionFailure"), "kms:Decrypt"},
	"a signature that is wrong":   {refuses(403, "InvalidSignatureException"), "does not take the credentials"},
	"credentials of nobody":       {refuses(400, "UnrecognizedClientException"), "does not take the credentials"},
	"credentials that ended":      {refuses(400, "ExpiredTokenException"), "have expired"},
	"an internal error":           {refuses(500, "InternalServiceError"), "(500 InternalServiceError)"},
	"503":                         {answers(503, "text/plain", "planted-value"), "(503)"},
	"a 404 of something else":     {answers(404, "text/html", "<h1>planted-value</h1>"), "(404)"},
	"HTML":                        {answers(200, "text/html", "<html>planted-value</html>"), "makes no sense"},
	"half an answer":              {answers(200, "application/x-amz-json-1.1", `{"Name":"prod/xteam/PORTTEST_KEY","SecretString":"planted-val`), "makes no sense"},
	"an empty answer":             {answers(200, "application/x-amz-json-1.1", `{}`), "not about the secret"},
	"an answer of another secret": {answers(200, "application/x-amz-json-1.1", `{"Name":"prod/xteam/OTHER","SecretString":"planted-value"}`), "not about the secret"},
	"an error that is a value":    {answers(400, "application/x-amz-json-1.1", `{"__type":"planted-value","Message":"planted-value"}`), "makes no sense"},
	"an answer without end":       {endless, "more than 1048576 bytes"},
	"a redirect": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/planted-value")
		w.WriteHeader(307)
	}, "makes no sense"},
	"a hang":  {hangs, "no answer"},
	"a reset": {resets, "cannot be "},
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = io.WriteString(w, `{"SecretString":"`)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat("planted-value", 5000)); err != nil {
			return
		}
	}
}
