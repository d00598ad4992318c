package security_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

const (
	v1       = "/api/v1"
	password = "a password that is for tests only"
	// soon is how long anything may take that is sure to come.
	soon = 20 * time.Second
	// atOnce is what nothing takes that waits for nobody, on a slow machine either; what waits for a time to run out takes longer.
	atOnce = 8 * time.Second
)

// signingSecret is SECRET_KEY of every house: tokens are forged with it without the code under test.
const signingSecret = "Zk3vT9qLw2Xn7RbYc5HdMe8PsUf4GjKa"

// house is what nodes share: the store and its keys, and a clock that all of them read.
type house struct {
	t       testing.TB
	store   *memstore.Store
	board   *memstore.Board
	keyring *fieldcrypt.Keyring
	buckets ports.Buckets
	root    secret.Text
	skew    atomic.Int64 // ns
	plan    plan
	keyText string // an API key that may introspect
}

// plan is how a test would have the nodes of its house other than they are. The zero value is as the product is, but for rates, which are not limited, and hashes of
// passwords, which are quick.
type plan struct {
	change     func(*assembly.Options)
	stores     func(*app.Stores) // stands before the stores of each node
	random     io.Reader         // in the place of the system's source, once the node has started
	passwords  ports.Passwords   // default: quick
	secrets    map[string]string // beside SECRET_KEY
	introspect bool              // whether the GraphQL schema can be asked for
}

func newHouse(t testing.TB, p plan) *house {
	t.Helper()
	h := &house{t: t, store: memstore.New(), board: memstore.NewBoard(), buckets: memstore.NewBuckets(memstore.BucketsOptions{}), root: secret.New(rand.Text() + rand.Text()), plan: p}
	ring, err := fieldcrypt.Open(context.Background(), h.store.Keys(), h.root, secret.Text{}, rand.Reader, instant.Of(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	h.keyring = ring
	return h
}

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.skew.Load())) }

func (h *house) turn(d time.Duration) { h.skew.Add(int64(d)) }

// node is a whole system over the stores of its house, with every door that the server has.
type node struct {
	*house
	core     *app.Core
	view     *view.View
	guard    *app.Guard
	accounts *app.Accounts
	sessions *app.Sessions
	rotator  *app.Rotator
	alerts   *app.Alerts
	trail    *app.Trail
	api      *httpapi.API
	log      *written
	url      string // of a real listener, once it is served
}

// written is a log that can be read while it is written.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// one is a house with one node.
func one(t testing.TB, p plan) *node { return newHouse(t, p).node() }

// node starts another node, by the very steps of the composition roots, and stops it at the end of the test.
func (h *house) node() *node {
	h.t.Helper()
	n := &node{house: h, log: &written{}}
	stop, err := n.start()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(stop)
	return n
}

func (n *node) start() (stop func(), err error) {
	var stops []func()
	all := func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}
	defer func() {
		if err != nil {
			all()
		}
	}()
	ctx := context.Background()
	log, err := journal.NewLogger(n.log, slog.LevelDebug, "json")
	if err != nil {
		return nil, err
	}
	o := assembly.Options{Node: "node", Now: n.now, Poll: 10 * time.Millisecond,
		Tunables: app.Tunables{Issuer: "xteam", Audience: "xteam", Leeway: 30 * time.Second, Access: 30 * time.Minute, Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour},
		Limits:   app.LimiterOptions{Mode: app.Off},
		JWKS:     func(keys func() []keyset.Key) http.Handler { return jwks.NewHandler(keys) },
		Doors: func(all httpapi.Services, log *slog.Logger) []httpapi.Mount {
			api := graphqlapi.New(servicesOf(all),
				graphqlapi.Options{Logger: log, Introspection: n.plan.introspect})
			return []httpapi.Mount{{Method: "GET", Path: "/graphql", Handler: api}, {Method: "POST", Path: "/graphql", Handler: api}}
		},
	}
	files := diskfiles.New(n.t.TempDir(), diskfiles.Options{})
	stops = append(stops, func() { _ = files.Close() })
	extensions, _ := upload.ParseExtensions([]string{".py", ".js", ".ts", ".json", ".md"})
	o.Files, o.Uploads = files, app.UploadsOptions{Rules: upload.Rules{Extensions: extensions, MaxSize: 1 << 20, Quota: 1 << 24}, Detect: mimetypes.Detect}
	if n.plan.change != nil {
		n.plan.change(&o)
	}
	stores := n.storesOf()
	if n.plan.stores != nil {
		n.plan.stores(&stores)
	}
	db := assembly.Database{Stores: stores, MACs: n.keyring, Sealer: n.keyring, Nodes: n.board.Nodes(), Space: func() (int64, error) { return -1, nil }}
	secrets := assembly.OpenSecrets(assembly.Source{Secrets: envsecrets.New(func(name string) (string, bool) {
		if name == app.SecretKey {
			return signingSecret, true
		}
		text, ok := n.plan.secrets[name]
		return text, ok
	}), Name: "the test"}, n.t.TempDir(), log)
	if err := secrets.Read(ctx); err != nil {
		return nil, err
	}
	then := func(s func()) { stops = append(stops, s) }
	v, s, err := assembly.StartView(ctx, db, nil, o, log)
	if err != nil {
		return nil, err
	}
	then(s)
	n.view = v
	codec := assembly.NewCodec()
	live, s := assembly.StartLive(ctx, journal.New(log), db, o)
	then(s)
	limiter, s, err := assembly.StartLimiter(ctx, n.buckets, nil, o, live, log)
	if err != nil {
		return nil, err
	}
	then(s)
	var passwords ports.Passwords = quick{}
	if n.plan.passwords != nil {
		passwords = n.plan.passwords
	}
	if n.core, err = assembly.StartCore(ctx, db, v, codec, passwords, live, limiter, nil, o, log); err != nil {
		return nil, err
	}
	if n.plan.random != nil {
		n.core.Random = n.plan.random
	}
	n.guard, n.accounts = app.NewGuard(n.core), app.NewAccounts(n.core)
	n.sessions, s = assembly.StartSessions(ctx, n.core)
	then(s)
	revoker := assembly.NewRevoker(n.core, n.sessions, o)
	keys, s := assembly.StartAPIKeys(ctx, n.core, n.guard)
	then(s)
	if n.rotator, s, err = assembly.StartRotator(ctx, n.core, codec, db, secrets, o, log); err != nil {
		return nil, err
	}
	then(s)
	blocks, s, err := assembly.StartBlocks(ctx, n.core, o, log)
	if err != nil {
		return nil, err
	}
	then(s)
	pending, s, err := assembly.StartPending(ctx, n.core, db, log)
	if err != nil {
		return nil, err
	}
	then(s)
	n.trail, s = assembly.StartTrail(ctx, n.core, db, o, log)
	then(s)
	if n.alerts, s, err = assembly.StartAlerts(ctx, n.core, n.trail, blocks, revoker, o, log); err != nil {
		return nil, err
	}
	then(s)
	tethers, s := assembly.StartTethers(ctx, n.core, n.guard, blocks, o, log)
	then(s)
	incidents, s, err := assembly.StartIncidents(ctx, n.core, n.accounts, revoker, blocks, keys, n.trail, tethers, o, log)
	if err != nil {
		return nil, err
	}
	then(s)
	nodes, s, err := assembly.StartNodes(ctx, n.core, db, nil, blocks, incidents, o, log)
	if err != nil {
		return nil, err
	}
	then(s)
	uploads, s := assembly.StartUploads(ctx, n.core, o, log)
	then(s)
	streams, err := assembly.NewStreams(n.core, db, n.buckets, tethers, live, o)
	if err != nil {
		return nil, err
	}
	n.api = assembly.NewAPI(db, v, n.guard, keys, limiter, n.sessions, n.accounts, app.NewSetUp(n.core, n.accounts), revoker, n.rotator, pending, n.trail, n.alerts, incidents, assembly.NewDisowner(n.core, db), blocks, nodes, uploads, secrets, streams, o, log)
	return all, nil
}

// servicesOf are those of GraphQL, which has each under the name that REST has it.
func servicesOf(all httpapi.Services) (s graphqlapi.Services) {
	from, to := reflect.ValueOf(all), reflect.ValueOf(&s).Elem()
	for i := range to.NumField() {
		to.Field(i).Set(from.FieldByName(to.Type().Field(i).Name))
	}
	return s
}

// storesOf are all that the memory store has, each by the method of its name.
func (h *house) storesOf() (s app.Stores) {
	from, to := reflect.ValueOf(h.store), reflect.ValueOf(&s).Elem()
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		if name == "TrailCare" { // which the trail is too
			name = "Trail"
		}
		if m := from.MethodByName(name); m.IsValid() {
			to.Field(i).Set(m.Call(nil)[0])
		}
	}
	return s
}

// serve opens a real listener, as the server does, and answers its URL.
func (n *node) serve() string {
	n.t.Helper()
	if n.url != "" {
		return n.url
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	srv := httpapi.Server(n.api.Handler(), slog.New(slog.NewTextHandler(n.log, nil)))
	go func() { _ = srv.Serve(httpapi.Plain(l)) }()
	n.t.Cleanup(func() { _ = srv.Close() })
	n.url = "http://" + l.Addr().String()
	return n.url
}

// quick hashes as no product may: what is shown here does not hang on how passwords are hashed.
type quick struct{}

func (quick) Hash(_ context.Context, p secret.Text) (secret.Text, error) {
	sum := sha256.Sum256([]byte(p.RevealPlaintext()))
	return secret.New("quick:" + hex.EncodeToString(sum[:])), nil
}

func (q quick) Compare(ctx context.Context, hash, p secret.Text) (ok, upgrade bool, err error) {
	is, err := q.Hash(ctx, p)
	return is.Equal(hash), false, err
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any // of the body, where it is an object
}

func (a answer) code() string { return a.text("code") }

func (a answer) text(member string) string {
	s, _ := a.json[member].(string)
	return s
}

// request is what a client sends.
type request struct {
	method, path string
	body         any    // a string or bytes as they are, what a function answers, else as JSON
	bearer       string // in Authorization
	header       http.Header
	from         string // the address; default 192.0.2.1
	operator     bool   // over the operator's socket
}

func (r *request) build() *http.Request {
	var body io.Reader = http.NoBody
	kind := ""
	if later, ok := r.body.(func() string); ok {
		r.body = later()
	}
	switch b := r.body.(type) {
	case nil:
	case string:
		body, kind = strings.NewReader(b), "application/json"
	case []byte:
		body, kind = bytes.NewReader(b), "application/json"
	case io.Reader:
		body, kind = b, "application/json"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			panic(err)
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	req := httptest.NewRequest(r.method, "/", body)
	req.URL.Path, req.URL.RawQuery, _ = strings.Cut(r.path, "?")
	if u, err := req.URL.Parse(r.path); err == nil {
		req.URL.Path, req.URL.RawPath, req.URL.RawQuery = u.Path, u.RawPath, u.RawQuery
	}
	req.RequestURI = r.path
	req.RemoteAddr = "192.0.2.1:4321"
	if r.from != "" {
		req.RemoteAddr = net.JoinHostPort(r.from, "4321")
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	return req
}

// ask sends a request to the node's handler.
func (n *node) ask(r request) answer {
	w := httptest.NewRecorder()
	h := n.api.Handler()
	if r.operator {
		h = httpapi.AsOperator(h)
	}
	h.ServeHTTP(w, r.build())
	return answered(w.Code, w.Header(), w.Body.String())
}

func answered(status int, header http.Header, body string) answer {
	a := answer{status: status, header: header, body: body}
	_ = json.Unmarshal([]byte(body), &a.json) // of another kind: nil
	return a
}

func (n *node) post(path string, body any, bearer string) answer {
	return n.ask(request{method: "POST", path: path, body: body, bearer: bearer})
}

func (n *node) get(path, bearer string) answer {
	return n.ask(request{method: "GET", path: path, bearer: bearer})
}

type object = map[string]any

// graphql asks one operation.
func (n *node) graphql(query string, variables object, bearer string) answer {
	return n.post("/graphql", object{"query": query, "variables": variables}, bearer)
}

// problem is the code of the first error of a GraphQL answer, in the words of REST.
func (a answer) problem() string {
	all, _ := a.json["errors"].([]any)
	if len(all) == 0 {
		return ""
	}
	first, _ := all[0].(map[string]any)
	ext, _ := first["extensions"].(map[string]any)
	if s, ok := ext["problem"].(string); ok {
		return s
	}
	s, _ := ext["code"].(string)
	return s
}

// user makes an account with password, and signs nobody in.
func (n *node) user(name string, role account.Role) account.Account {
	n.t.Helper()
	e, err1 := account.ParseEmail(name + "@example.com")
	u, err2 := account.ParseUsername(name)
	if err := errors.Join(err1, err2); err != nil {
		n.t.Fatal(err)
	}
	a, err := n.accounts.Create(context.Background(), app.Actor{Name: app.Operator}, app.Registration{Email: e, Username: u, Password: secret.New(password)}, role)
	if err != nil {
		n.t.Fatal(err)
	}
	return a
}

// tokens are what a sign-in gives.
type tokens struct{ access, refresh string }

func tokensOf(a answer) tokens { return tokens{a.text("access_token"), a.text("refresh_token")} }

// signIn signs in by REST.
func (n *node) signIn(name string) tokens {
	n.t.Helper()
	a := n.post(v1+"/auth/login", object{"username": name, "password": password}, "")
	if a.status != http.StatusOK {
		n.t.Fatalf("the sign-in of %s: %d %s", name, a.status, a.body)
	}
	return tokensOf(a)
}

// ann is a user who is signed in, and boss an administrator.
func (n *node) ann() tokens { n.t.Helper(); n.user("ann", account.RoleUser); return n.signIn("ann") }
func (n *node) boss() tokens {
	n.t.Helper()
	n.user("boss", account.RoleAdmin)
	return n.signIn("boss")
}

// key makes an API key of whoever the token is of.
func (n *node) key(bearer string, scopes ...string) (id, text string) {
	n.t.Helper()
	a := n.post(v1+"/api-keys", object{"name": "of a test", "scopes": scopes}, bearer)
	if a.status != http.StatusCreated {
		n.t.Fatalf("a key: %d %s", a.status, a.body)
	}
	return a.text("id"), a.text("key")
}

// verdict is how a door answers a credential: the status as REST would have it, and the refusal's code where the door tells one.
type verdict struct {
	status int
	code   string
}

// doors shows a credential at every door.
func (n *node) doors(token string) map[string]verdict {
	n.t.Helper()
	n.serve()
	if n.keyText == "" {
		n.user("introspector", account.RoleAdmin)
		_, n.keyText = n.key(n.signIn("introspector").access, "introspect")
	}
	all := map[string]verdict{}
	of := func(a answer) verdict { return verdict{a.status, a.code()} }
	all["REST"] = of(n.get(v1+"/users/me", token))
	all["/auth/verify"] = of(n.get(v1+"/auth/verify", token))
	all["/auth/ws-ticket"] = of(n.post(v1+"/auth/ws-ticket", nil, token))
	g := n.graphql("{ me { id } }", nil, token)
	all["GraphQL over HTTP"] = verdict{http.StatusOK, ""}
	if p := g.problem(); p != "" {
		all["GraphQL over HTTP"] = verdict{statusOf(p), p}
	} else if g.status != http.StatusOK {
		all["GraphQL over HTTP"] = of(g)
	}
	i := n.ask(request{method: "POST", path: v1 + "/oauth/introspect", body: "token=" + urlEscape(token), bearer: n.keyText, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
	switch {
	case i.status == http.StatusOK && i.json["active"] == true:
		all["/oauth/introspect"] = verdict{http.StatusOK, ""}
	case strings.TrimSpace(i.body) == `{"active":false}`:
		all["/oauth/introspect"] = verdict{http.StatusUnauthorized, ""}
	default:
		all["/oauth/introspect"] = verdict{i.status, i.text("error")}
	}
	all["GraphQL over WebSocket"] = n.overSocket(token)
	all["/ws"] = n.atFeed("?token="+urlEscape(token), nil)
	all["/ws as subprotocol"] = n.atFeed("", []string{"xteam", token})
	return all
}

// refusedEverywhere wants 401 of every door, and that code wherever one is told.
func (n *node) refusedEverywhere(token, code string) {
	n.t.Helper()
	for door, v := range n.doors(token) {
		if door == "/ws as subprotocol" && v.status == http.StatusBadRequest { // what is no token of HTTP cannot be a subprotocol's name
			continue
		}
		if v.status != http.StatusUnauthorized || code != "" && v.code != "" && v.code != code {
			n.t.Errorf("%s: got %d %s, want 401 %s", door, v.status, v.code, code)
		}
	}
}

// takenEverywhere wants the credential let in by every door.
func (n *node) takenEverywhere(token string) {
	n.t.Helper()
	for door, v := range n.doors(token) {
		if v.status != http.StatusOK && v.status != http.StatusSwitchingProtocols {
			n.t.Errorf("%s: got %d %s, want it taken", door, v.status, v.code)
		}
	}
}

func statusOf(code string) int {
	switch {
	case strings.HasPrefix(code, "token_"), code == "credentials_invalid":
		return http.StatusUnauthorized
	case code == "forbidden", code == "insufficient_scope":
		return http.StatusForbidden
	case code == "rate_limited":
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// overSocket begins a socket of GraphQL with the token.
func (n *node) overSocket(token string) verdict {
	n.t.Helper()
	c := n.dialGraphQL()
	defer func() { _ = c.CloseNow() }()
	say(n.t, c, object{"type": "connection_init", "payload": object{"Authorization": "Bearer " + token}})
	m, closed := hear(n.t, c)
	if closed != nil {
		if closed.Code != 4401 && closed.Code != websocket.StatusTryAgainLater {
			n.t.Errorf("GraphQL over WebSocket closed with %d %s, want 4401", closed.Code, closed.Reason)
		}
		code, _, _ := strings.Cut(closed.Reason, ":")
		if closed.Code == websocket.StatusTryAgainLater {
			return verdict{http.StatusServiceUnavailable, code}
		}
		return verdict{http.StatusUnauthorized, code}
	}
	if m["type"] != "connection_ack" {
		n.t.Errorf("GraphQL over WebSocket says %v", m)
	}
	return verdict{http.StatusOK, ""}
}

func (n *node) dialGraphQL() *websocket.Conn {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), soon)
	defer cancel()
	c, _, err := websocket.Dial(ctx, strings.Replace(n.serve(), "http", "ws", 1)+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		n.t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	n.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// dialFeed opens /ws, or answers the refusal.
func (n *node) dialFeed(query string, protocols []string) (*websocket.Conn, answer) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), soon)
	defer cancel()
	c, r, err := websocket.Dial(ctx, strings.Replace(n.serve(), "http", "ws", 1)+"/ws"+query, &websocket.DialOptions{Subprotocols: protocols})
	if r == nil {
		n.t.Fatal(err)
	}
	if err != nil {
		b, _ := io.ReadAll(r.Body)
		return nil, answered(r.StatusCode, r.Header, string(b))
	}
	n.t.Cleanup(func() { _ = c.CloseNow() })
	return c, answered(r.StatusCode, r.Header, "")
}

func (n *node) atFeed(query string, protocols []string) verdict {
	n.t.Helper()
	c, a := n.dialFeed(query, protocols)
	if c != nil {
		_ = c.CloseNow()
	}
	return verdict{a.status, a.code()}
}

func say(t testing.TB, c *websocket.Conn, message any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(ctx, websocket.MessageText, text); err != nil {
		t.Fatal(err)
	}
}

// hear is the next message, or how the socket was closed.
func hear(t testing.TB, c *websocket.Conn) (m map[string]any, closed *websocket.CloseError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	_, b, err := c.Read(ctx)
	if over := (websocket.CloseError{}); errors.As(err, &over) {
		return nil, &over
	}
	if err != nil {
		t.Fatalf("nothing is heard, and the socket is not closed: %v", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return m, nil
}

// keyIDOf is the kid of the signing secret.
func keyIDOf() string { return jwtcodec.SymmetricKeyID(secret.New(signingSecret)) }
