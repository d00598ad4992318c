// Package xteam is XTeam inside a Go program: sign-in, tokens and immediate revocation without a second process. Open it on a folder, mount its
// handler, protect your own handlers, and close it:
//
//	x, err := xteam.Open(ctx, xteam.Options{Dir: "data"})
//	if err != nil {
//		return err
//	}
//	defer x.Close()
//	mux.Handle("/api/v1/", x.Handler())
//	mux.Handle("GET /orders", x.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//		caller, _ := xteam.CallerFrom(r.Context())
//		fmt.Fprintln(w, "the orders of", caller.User())
//	})))
//
// It reads no environment, handles no signal, keeps no global state, and leaves no goroutine behind when it is closed.
package xteam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// Options of an embedded XTeam. Dir is needed; everything else has a default.
type Options struct {
	// Dir is the data folder: the store, and in its folder secrets those that were not given. It is made when it is missing. One
	// process has it at a time; it is the same folder that the server uses. With Parts.Store nothing is kept there, and it is not needed.
	Dir string
	// Secrets answers SECRET_KEY, ROOT_KEY and the PREVIOUS of each. What it does not have is made at the first start and kept in Dir. It is asked again every 30
	// seconds: a value that changes is taken up. Default: it has none. With Parts.Store it must have them: another process may work on that store.
	Secrets ports.Secrets
	// Algorithm signs access tokens: HS256, ES256, EdDSA, RS256 or PS256, by the first key and by those that follow. Until a first rotation HS256 signs with SECRET_KEY itself. Default:
	// HS256, and after a rotation that of the key before.
	Algorithm string
	// RotateEvery is the age at which another signing key takes the place of the one before, by itself. Default: only Keys().Rotate does that.
	RotateEvery time.Duration
	// JWKS makes what serves the public keys under /.well-known/jwks.json of the Handler: jwks.NewHandler of adapters/jwks does, and brings the library jwx with it. Default: nothing is served there.
	JWKS func(keys func() []keyset.Key) http.Handler
	// Doors makes other transports, which stand inside the Handler beside REST, such as GraphQL of adapters/graphqlapi, which brings the library gqlgen with it. Default: there are none.
	Doors func(httpapi.Services, *slog.Logger) []httpapi.Mount
	// Logger takes security events and faults. Best it is one that redacts. Default: nothing is logged.
	Logger *slog.Logger

	Issuer     string        // claim iss; default xteam
	Audience   string        // claim aud; default xteam
	Access     time.Duration // life of an access token; default 30 minutes
	Refresh    time.Duration // life of an unused refresh token; default 7 days, or that of a session if it is shorter
	Session    time.Duration // life of a session; default 30 days
	Leeway     time.Duration // clock skew that is allowed; default 0, for there is one clock
	BcryptCost int           // default 12
	// PasswordHasher is bcrypt or argon2id; default bcrypt. Hashes of the other are compared all the same, and made anew at the next sign-in. With argon2id,
	// which takes 19 MiB for each sign-in that is hashing, BcryptCost is the cost of the hashes that are left from before.
	PasswordHasher string

	// Environment is where API keys are good: dev, stg or prd; keys of another are refused. Default: dev.
	Environment string

	// Limits are the rate limits of the Handler. The zero value has the server's defaults: 60 requests a minute of one address, 5 sign-ins a minute,
	// and so on; Mode app.Off is none.
	Limits app.LimiterOptions

	// MaxConnections are the WebSockets and event streams that may be open at a time, and MaxConnectionsPerUser those of one user. Default: 20,000 and 32.
	MaxConnections, MaxConnectionsPerUser int

	// MinFreeSpace is the free space of the disk of Dir, in bytes, below which no new users and sign-ins are taken (507), while tokens are judged and withdrawn;
	// default 256 MiB. Negative: the disk is not watched, and one that is full kills the process.
	MinFreeSpace int64

	// Uploads takes files of users, under /api/v1/files of the Handler. Default: none are taken.
	Uploads Uploads

	// Now is the clock by which tokens and sessions are judged and limits refilled; a test turns it. Default: time.Now.
	Now func() time.Time

	// Meter is told of what happens, to be counted. Default: nobody is.
	Meter ports.Meter

	// TrustedProxies are the addresses of proxies whose X-Forwarded-For tells where a request comes from, read from the right. Default: none is
	// believed, and a request comes from the other end of its socket.
	TrustedProxies []netip.Prefix
	// Hosts are the names that the Handler answers to, such as example.com and *.example.com. Default: any. Handlers behind Protect see to theirs themselves.
	Hosts []string
	// Origins are the web origins whose scripts may read the Handler's answers, such as https://app.example.com. Default: none.
	Origins []string
	// Cookies has the Handler give browsers their tokens in cookies that no script can read, and Handler and Protect take them from there. A request by
	// cookie is refused to pages of other origins, but for Origins, which may then not be *. Default: tokens come in Authorization alone.
	Cookies bool

	// Parts take the places of what the system brings: the store, the buckets, and so on. Default: what it brings.
	Parts Parts
}

// Parts are implementations of ports, the program's own or those of adapters that the server uses, such as pgstore and redisstore, with the libraries that they bring. Package porttest has the suites that such
// a part must pass. Whoever makes one closes it, after Close; only Store is closed by the system.
type Parts struct {
	// Store opens the database: all ports of state, and what seals and authenticates, which assembly.Unlock opens with ROOT_KEY. It answers how it is closed, which is done last. Any number of processes may
	// share it, if it says where they leave word for one another (Database.Nodes), who of them does what is to be done once (Stores.Turns), and, where a restore or a migration must be alone on it, that they begin (Database.Enter). Default: Badger in Dir.
	Store func(context.Context, *assembly.Secrets, *slog.Logger) (assembly.Database, func(), error)
	// Node is how this process is called among those that share Store. Default: embedded.
	Node string
	// Feeds are sources of revocations beside Store, which are faster. A Name is for people; Truth is Store's alone.
	Feeds []view.Source
	// Boards are places beside Store where processes leave word for one another.
	Boards []app.Board
	// Clocks are those of servers that processes share beside Store: this machine's is compared with them.
	Clocks []app.Clock
	// Buckets counts the requests of all who share it. While it answers ports.ErrUnavailable they are counted in this process' memory, which is the default.
	Buckets ports.Buckets
	// Codec writes and reads access tokens, and makes the keys for that. Default: JWTs.
	Codec assembly.Codec
	// Passwords hashes them. PasswordHasher and BcryptCost then say nothing.
	Passwords ports.Passwords
	// Journal is told of each security event. Default: a line of Logger.
	Journal ports.Journal
	// Tracer follows requests. Default: nobody does.
	Tracer ports.Tracer
	// Sinks are sent security events, each by one process of many, and again until they take them; those of alerts have the kind audit.AlertRaised.
	Sinks []app.SinkOptions
	// Firewall has exactly what Blocks turns away.
	Firewall ports.Firewall
	// Notices tells users of sign-ins from networks that they had not signed in from, with a link under PublicURL, such as https://app.example.com, where the Handler is served. Default: nobody is told.
	Notices   ports.Notices
	PublicURL string
	// Guests are watched, beside Store's own (Database.Guests): whoever has a session of them from outside GuestNetworks is an event and an alert. Default: nobody looks.
	Guests        []app.WatchedStore
	GuestNetworks []netip.Prefix
}

// Uploads is where files of users are kept, and which. Files and Detect are needed, if any are to be taken.
type Uploads struct {
	// Files keeps the bytes; what is known of them is in the store. diskfiles.New of adapters/diskfiles makes one of a folder. It is closed by whoever made it, after Close.
	Files ports.Files
	// Detect answers what media types the beginning of a file has. mimetypes.Detect of adapters/mimetypes does, and brings the library mimetype with it.
	Detect func(head []byte) []string
	// Extensions are those that are taken, with their dots, some of upload.Known. Default: .py, .js, .ts, .json and .md.
	Extensions []string

	MaxSize int64 // of one file, in bytes; default 100 MiB
	Quota   int64 // of all files of one user, in bytes; default 1 GiB, or MaxSize if that is more
}

// rules are those that the options have, where files are taken.
func (u Uploads) rules() (r upload.Rules, err error) {
	if u.Files == nil {
		return r, nil
	}
	if u.Detect == nil {
		return r, errors.New("Options.Uploads.Detect is nil: mimetypes.Detect is one")
	}
	if u.Extensions == nil {
		u.Extensions = []string{".py", ".js", ".ts", ".json", ".md"}
	}
	ok := false
	if r.Extensions, ok = upload.ParseExtensions(u.Extensions); !ok {
		return r, fmt.Errorf("Options.Uploads.Extensions is %q: they must be some of %q", u.Extensions, upload.Known())
	}
	r.MaxSize = cmp.Or(u.MaxSize, 100<<20)
	r.Quota = cmp.Or(u.Quota, max(1<<30, r.MaxSize))
	if r.MaxSize < 0 || r.Quota < r.MaxSize {
		return r, fmt.Errorf("Options.Uploads: MaxSize is %d and Quota is %d: there must be room for one file", r.MaxSize, r.Quota)
	}
	return r, nil
}

// XTeam is an open system. Its methods may be called from many goroutines.
type XTeam struct {
	guard    *app.Guard
	accounts *app.Accounts
	sessions *app.Sessions
	revoker  *app.Revoker
	keys     *app.APIKeys
	signing  *app.Rotator
	blocks   *app.Blocks
	uploads  *app.Uploads
	api      *httpapi.API
	close    func()
}

// Open opens the system and answers once it can judge tokens: all that was ever revoked and still matters is in memory. The context bounds the opening only.
func Open(ctx context.Context, o Options) (*XTeam, error) {
	if o.Parts.Store == nil && o.Dir == "" {
		return nil, errors.New("xteam: Options.Dir is empty: name a folder")
	}
	if o.Parts.Notices != nil && o.Parts.PublicURL == "" {
		return nil, errors.New("xteam: Options.Parts.PublicURL is empty: the links of Notices lead there")
	}
	if o.Parts.Store != nil && o.Secrets == nil {
		return nil, errors.New("xteam: Options.Secrets is nil: with a store of its own a program gives SECRET_KEY and ROOT_KEY")
	}
	if _, err := options(o); err != nil { // before anything is touched
		return nil, fmt.Errorf("xteam: %w", err)
	}
	if o.Parts.Store == nil {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Secrets == nil {
		o.Secrets = envsecrets.New(func(string) (string, bool) { return "", false })
	}
	x, closeAll, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	if x.uploads != nil {
		var strange *app.StrangeFilesError
		if err := x.uploads.Recognise(ctx, false); errors.As(err, &strange) {
			closeAll()
			return nil, fmt.Errorf("xteam: Options.Uploads.Files: %w", strange)
		}
	}
	x.close = sync.OnceFunc(closeAll)
	return x, nil
}

// Close flushes and closes everything. It may be called more than once; the handlers must not be served any more.
func (x *XTeam) Close() { x.close() }

// Handler serves the REST API under /api/v1/, and /health, /healthz and /readyz.
func (x *XTeam) Handler() http.Handler { return x.api.Handler() }

// Protect lets to next only requests whose access token is taken (Authorization: Bearer, or with Options.Cookies a cookie); CallerFrom then tells who sent one. The others get the API's
// own refusal: 401, or 503 while the revocations are not known well enough. An API key is refused with 403: ProtectKeys takes some.
func (x *XTeam) Protect(next http.Handler) http.Handler { return x.api.Protect(next) }

// ProtectKeys is Protect, and lets in API keys too (X-API-Key, or Authorization: Bearer) that have the scope, in the name of their owner: Caller.IsKey tells one from who is signed in,
// and Caller.Scopes what it may do. apikey.UsersRead is what a key has when nothing was said of its scopes. One without the scope gets 403, and scope 0 takes none.
func (x *XTeam) ProtectKeys(scope apikey.Scopes, next http.Handler) http.Handler {
	return x.api.ProtectKeys(scope, next)
}

// Limit lets to next only requests that the rate limits have room for: perMinute of one caller, where Protect is around it, or else of one address, beside
// those that the address has for everything. Every answer tells how much is left; the others get 429 with Retry-After. The name, 1 to 40 of a–z 0–9 -, is the
// class's: handlers of one name and limit share their buckets. A name or limit (1 to 1,000,000,000) that is none is a mistake of the program, and panics.
func (x *XTeam) Limit(name string, perMinute int64, next http.Handler) http.Handler {
	class, err := app.NewOwn(name, perMinute)
	if err != nil {
		panic("xteam: Limit: " + err.Error())
	}
	return x.api.Limit(class, next)
}

// Caller is who a protected request comes from.
type Caller = app.Caller

// CallerFrom answers who a protected request comes from; false outside Protect.
func CallerFrom(ctx context.Context) (Caller, bool) { return httpapi.CallerFrom(ctx) }

// RevokeToken withdraws an access token or an API key at once, and ends the session of a refresh token. It answers once that is durable and in force. A text that is
// no token of this system is an *app.SelectorError. The reason is for the log.
func (x *XTeam) RevokeToken(ctx context.Context, text, reason string) error {
	_, err := x.revoker.Revoke(ctx, program, app.Selector{Token: secret.New(text)}, reason, false)
	return err
}

// RevokeUser withdraws all tokens of a user, named by id, e-mail address or user name, and ends all their sessions, of which it answers the number. It answers once
// that is durable and in force; a user who does not exist is ports.ErrNotFound. The reason is for the log.
func (x *XTeam) RevokeUser(ctx context.Context, user, reason string) (sessionsEnded int, err error) {
	done, err := x.revoker.Revoke(ctx, program, app.Selector{User: user}, reason, false)
	return done.SessionsEnded, err
}

// IsRevoked reports whether an access token of this system was withdrawn. A token that is not to be taken for another cause is an error that says which:
// token.ErrMalformed, token.ErrInvalid or token.ErrExpired; and revocation.ErrStale while that cannot be known.
func (x *XTeam) IsRevoked(text string) (bool, error) {
	_, err := x.guard.Admit(text)
	if revoked := (*revocation.RevokedError)(nil); errors.As(err, &revoked) {
		return true, nil
	}
	return false, err
}

// program is who asks where the embedding program itself does.
var program = app.Actor{Name: app.System}

// Guard decides who the bearer of an access token is, where the token comes some other way than in a request's Authorization.
func (x *XTeam) Guard() *app.Guard { return x.guard }

// Accounts makes and changes accounts: the first administrator is made with it.
func (x *XTeam) Accounts() *app.Accounts { return x.accounts }

// Sessions signs users in and out.
func (x *XTeam) Sessions() *app.Sessions { return x.sessions }

// Revoker withdraws tokens.
func (x *XTeam) Revoker() *app.Revoker { return x.revoker }

// APIKeys makes, lists, rotates and ends the API keys of users. Who bears one is for Guard().AdmitKey to say.
func (x *XTeam) APIKeys() *app.APIKeys { return x.keys }

// Keys rotates, retires, revokes and lists the keys that sign access tokens.
func (x *XTeam) Keys() *app.Rotator { return x.signing }

// Blocks turns away addresses and networks: at the Handler, at Protect and at Limit.
func (x *XTeam) Blocks() *app.Blocks { return x.blocks }

// Uploads lists, opens and deletes files of users; nil where none are taken.
func (x *XTeam) Uploads() *app.Uploads { return x.uploads }

// What the injector calls.

func logger(o Options) *slog.Logger { return o.Logger }

func secrets(o Options, log *slog.Logger) *assembly.Secrets {
	return assembly.OpenSecrets(assembly.Source{Secrets: o.Secrets, Name: "Options.Secrets", Complete: o.Parts.Store != nil}, o.Dir, log)
}

func database(ctx context.Context, o Options, s *assembly.Secrets, log *slog.Logger) (assembly.Database, func(), error) {
	if o.Parts.Store == nil {
		return assembly.OpenBadger(ctx, o.Dir, cmp.Or(o.MinFreeSpace, assembly.MinFreeSpace), s, log)
	}
	db, closeStore, err := o.Parts.Store(ctx, s, log)
	if err != nil {
		return db, nil, fmt.Errorf("xteam: Options.Parts.Store: %w", err)
	}
	if db.Space == nil { // its space is for its own keepers to watch
		db.Space = func() (int64, error) { return -1, nil }
	}
	if closeStore == nil {
		closeStore = func() {}
	}
	if db.Enter != nil {
		if err := db.Enter(ctx, false); err != nil {
			closeStore()
			return db, nil, fmt.Errorf("xteam: Options.Parts.Store: %w", err)
		}
	}
	return db, closeStore, nil
}

func feeds(o Options) assembly.Feeds { return o.Parts.Feeds }

func clocks(o Options) assembly.OtherClocks { return o.Parts.Clocks }

func boards(o Options) assembly.Boards { return o.Parts.Boards }

func buckets(o Options) ports.Buckets {
	own := assembly.NewBuckets()
	if o.Parts.Buckets == nil {
		return own
	}
	return app.NewFallback(o.Parts.Buckets, own, nil)
}

func sinks(ctx context.Context, o Options, c *app.Core, db assembly.Database, log *slog.Logger) (*app.Sinks, func(), error) {
	all := o.Parts.Sinks
	if o.Parts.Notices != nil {
		told := app.NewDisowner(c, db.Sealer, o.Parts.Notices, o.Parts.PublicURL)
		all = append(slices.Clone(all), app.SinkOptions{Name: "notices", Sink: told, Kinds: []audit.Kind{audit.AuthenticationSucceeded}, Most: 20})
	}
	return assembly.StartSinks(ctx, c, all, log)
}

func guests(ctx context.Context, o Options, c *app.Core, db assembly.Database, log *slog.Logger) (*app.Guests, func(), error) {
	all := o.Parts.Guests
	if db.Guests != nil {
		all = append(slices.Clone(all), app.WatchedStore{Name: "database", Guests: db.Guests})
	}
	return assembly.StartGuests(ctx, c, all, app.GuestsOptions{Networks: o.Parts.GuestNetworks, Logger: log})
}

func firewall(ctx context.Context, o Options, c *app.Core, b *app.Blocks, log *slog.Logger) (*app.Firewall, func(), error) {
	return assembly.StartFirewall(ctx, c, b, o.Parts.Firewall, log)
}

func options(o Options) (assembly.Options, error) {
	hosts, err := httpapi.ParseHosts(o.Hosts)
	if err != nil {
		return assembly.Options{}, fmt.Errorf("Options.Hosts: %w", err)
	}
	origins, err := httpapi.ParseOrigins(o.Origins)
	if err != nil {
		return assembly.Options{}, fmt.Errorf("Options.Origins: %w", err)
	}
	if o.Cookies && origins.Any() {
		return assembly.Options{}, errors.New("Options.Origins: with Cookies, * would let every page act in its visitor's name: name the origins")
	}
	transport := httpapi.Options{Cookies: httpapi.Cookies{On: o.Cookies}, Proxies: httpapi.Proxies{Trusted: o.TrustedProxies}, Hosts: hosts, Origins: origins}
	life := cmp.Or(o.Session, 30*24*time.Hour)
	tunables := app.Tunables{
		Issuer: cmp.Or(o.Issuer, "xteam"), Audience: cmp.Or(o.Audience, "xteam"), Leeway: o.Leeway,
		Access: cmp.Or(o.Access, 30*time.Minute), Refresh: cmp.Or(o.Refresh, min(7*24*time.Hour, life)), Session: life,
		Environment: apikey.Environment(o.Environment),
	}
	if o.Algorithm != "" && !slices.Contains(keyset.Algorithms(), o.Algorithm) {
		return assembly.Options{}, fmt.Errorf("Options.Algorithm is %q: it must be one of %v", o.Algorithm, keyset.Algorithms())
	}
	if o.RotateEvery != 0 && o.RotateEvery < time.Hour {
		return assembly.Options{}, fmt.Errorf("Options.RotateEvery is %v: it must be an hour or more, or 0 for never", o.RotateEvery)
	}
	files, err := o.Uploads.rules()
	if err != nil {
		return assembly.Options{}, err
	}
	return assembly.Options{Files: o.Uploads.Files, Uploads: app.UploadsOptions{Rules: files, Detect: o.Uploads.Detect}, Now: o.Now, Rotation: app.RotatorOptions{Algorithm: o.Algorithm, Interval: o.RotateEvery}, JWKS: o.JWKS, Doors: o.Doors, Meter: o.Meter, PasswordHasher: o.PasswordHasher, BcryptCost: o.BcryptCost, Node: cmp.Or(o.Parts.Node, "embedded"), Codec: o.Parts.Codec, Passwords: o.Parts.Passwords, Journal: o.Parts.Journal, Tracer: o.Parts.Tracer, Limits: o.Limits, Tethers: app.TethersOptions{MaxOpen: o.MaxConnections, MaxPerUser: o.MaxConnectionsPerUser}, HTTP: transport, Tunables: tunables}, tunables.Validate()
}

func facade(g *app.Guard, a *app.Accounts, s *app.Sessions, r *app.Revoker, k *app.APIKeys, signing *app.Rotator, blocks *app.Blocks, uploads *app.Uploads, sinks *app.Sinks, wall *app.Firewall, _ *app.Guests, api *httpapi.API) *XTeam {
	api.Sinks, api.Firewall = sinks, wall
	return &XTeam{guard: g, accounts: a, sessions: s, revoker: r, keys: k, signing: signing, blocks: blocks, uploads: uploads, api: api}
}
