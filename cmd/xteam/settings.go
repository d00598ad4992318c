package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/domain/upload"
)

// settings is what the environment asks for, parsed and checked. Secrets are not in it: they are read where they are used.
type settings struct {
	Environment string // development, staging or production
	Addr        string // of the HTTP listener, host:port
	Folder      string // DATA_DIR: the socket and the secrets that were made at the first start
	Store       string // Badger's folder; empty where DatabaseURL is another database
	DatabaseURL string // of a database that several servers may share; empty: Badger

	RevocationURL string // of the feed beside the database; empty: there is none
	RateLimitURL  string // of the buckets; inMemory, or a Redis

	SecretsURL string // where secrets are read

	Algorithm        string        // empty: as it was, HS256 at first
	Rotation         time.Duration // the age at which a signing key is followed by itself; 0: by hand
	Leeway           time.Duration
	Issuer, Audience string
	Access           time.Duration
	Refresh          time.Duration
	Session          time.Duration
	Hasher           string // bcrypt or argon2id
	BcryptCost       int

	HTTP              httpapi.Options // of the transport, all but its Logger
	CertFile, KeyFile string          // both empty: plain HTTP

	LogFile   string // empty: stderr
	LogLevel  slog.Level
	LogFormat string // json or text

	Limits app.LimiterOptions // none is 0, but Verify may be

	MinFreeSpace int64 // of the store's folder, in bytes; 0: it is not watched

	AuditCheckpoints string // a file; empty: there is none
	AuditURL         string // of the webhook that keeps checkpoints; empty: there is none
	AuditPrivate     bool   // it may be on this machine or in a private network
	AlertRules       []alert.Rule
	AuditRetention   time.Duration // 0: everything is kept

	EventFile    string // empty: there is none
	SyslogURL    string // empty: there is none
	EventCEF     bool   // the file and syslog have CEF; else JSON
	AlertURL     string // of the webhook; empty: there is none
	AlertPrivate bool   // it may be on this machine or in a private network

	StoreNetworks []netip.Prefix // from where sessions of the stores may come; empty: that is not watched

	PublicURL     string // where people reach this service; empty: it is in no link
	NotifyURL     string // of the webhook that reaches users; empty: they are told of nothing
	NotifyPrivate bool   // it may be on this machine or in a private network

	FirewallURL     string // empty: there is none
	FirewallPrivate bool   // a webhook may be on this machine or in a private network

	UploadDir string       // empty: in Folder
	Uploads   upload.Rules // of files

	MetricsAddr string // empty: on Addr, behind the role of an administrator

	Collector    string        // the URL of an OpenTelemetry collector; empty: nothing is sent
	TraceRatio   float64       // of the requests that are followed
	MetricsEvery time.Duration // between two sendings of the metrics

	Retention    time.Duration // of the feed; 0: as long as an access token lives
	PerUser      int           // connections that stay open
	PerServer    int
	MaxStaleness time.Duration
	Poll         time.Duration // of a database that other processes write to, which Badger is not
	Strict       bool          // matters once there is a feed beside the database

	Introspection bool // of the GraphQL schema

	Unfit faults // why these settings, good as they may be elsewhere, do not serve in production
}

// The environments.
const (
	development = "development"
	staging     = "staging"
	production  = "production"
)

// algorithms are those that tokens are signed with, the default first.
var algorithms = keyset.Algorithms()

func isAlgorithm(name string) bool { return slices.Contains(algorithms, name) }

// spelt says how an algorithm is spelt that is nearly named: its letters' case counts (RFC 7518, section 3.1), in every token too.
func spelt(name string) error {
	if i := slices.IndexFunc(algorithms, func(a string) bool { return strings.EqualFold(a, name) }); i >= 0 {
		return errors.New("it is spelt " + algorithms[i])
	}
	return nil
}

// MinSecret is the length of the shortest SECRET_KEY and ROOT_KEY, in bytes (RFC 7518, section 3.2).
const minSecret = 32

// setting is one row of the table of settings.
type setting struct {
	name    string
	initial string // what an empty value stands for
	without string // what happens without a value, when initial is empty
	takes   string // completes "takes …" when a value is refused
	meaning string
	kept    bool                // a secret that is made at the first start and kept in the data folder, when it is not given
	mask    func(string) string // how a refused value is shown; nil: as it is
	word    bool                // one of a few, which is taken in any letter case
	set     func(*settings, string) bool
	why     func(string) error // what in particular is wrong with a value that set refuses; nil: takes says it all
}

// table is every setting that this build reads, in the order of the contract.
var table = []setting{
	{name: "ENVIRONMENT", initial: development, word: true, takes: "development, staging or production",
		meaning: "how strict the start is: production requires ROOT_KEY, TRUSTED_HOSTS and TLS, and takes no setting that is open to everybody; and which API keys are good: xt_dev_, xt_stg_ or xt_prd_",
		set: func(s *settings, v string) bool {
			s.Environment = v
			return v == development || v == staging || v == production
		}},
	{name: "HTTP_ADDR", initial: "127.0.0.1:8000", takes: "host:port, such as 127.0.0.1:8000",
		meaning: "the address to listen on; 0.0.0.0:8000 is every IPv4 address, :8000 every address, and port 0 a free port",
		set: func(s *settings, v string) bool {
			s.Addr = v
			_, port, err := net.SplitHostPort(v)
			_, bad := strconv.ParseUint(port, 10, 16)
			return err == nil && bad == nil
		}},
	{name: "DATA_DIR", initial: "./data", takes: "the path of a folder",
		meaning: "the folder of the embedded store, of the operator's socket and of the secrets made at the first start",
		set: func(s *settings, v string) bool {
			s.Folder = filepath.Clean(v)
			return !strings.ContainsRune(v, 0)
		}},
	{name: "DATABASE_URL", without: "Badger in DATA_DIR", takes: "badger:///path, postgres://USER:PASSWORD@HOST/NAME?sslmode=verify-full (# % / @ of a password as %23 %25 %2F %40), or nothing for Badger in DATA_DIR",
		meaning: "where users, sessions, keys and revocations are kept; of PostgreSQL any number of servers may share one. postgresql+asyncpg://…?ssl=require is taken too, which encrypts without knowing with whom: production refuses it", mask: maskURL,
		set: func(s *settings, v string) bool { return database(s, v) }},
	{name: "REDIS_URL", without: "none", takes: "redis://, rediss://, redis+sentinel:// or redis+cluster://, with a host, or nothing",
		meaning: "sets REVOCATION_URL and RATE_LIMIT_URL, where they are empty", mask: maskURL,
		set: func(s *settings, v string) bool {
			s.RevocationURL, s.RateLimitURL = v, cmp.Or(v, inMemory)
			return v == "" || isRedis(v)
		}},
	{name: "REVOCATION_URL", without: "follows REDIS_URL; the database alone", takes: "redis://, rediss://, redis+sentinel:// or redis+cluster://, with a host, or nothing",
		meaning: "the fast path of revocations beside the database, which always holds the truth: other servers hear of one within milliseconds, else at their next REVOCATION_POLL", mask: maskURL,
		set: func(s *settings, v string) bool {
			s.RevocationURL = cmp.Or(v, s.RevocationURL)
			return v == "" || isRedis(v)
		}},
	{name: "RATE_LIMIT_URL", without: "follows REDIS_URL; memory:", takes: "memory:, redis://, rediss://, redis+sentinel:// or redis+cluster://, with a host",
		meaning: "where the buckets of the rate limits are kept: in memory each server has its own, in Redis they share them; while Redis does not answer, each goes on with its own", mask: maskURL,
		set: func(s *settings, v string) bool {
			s.RateLimitURL = cmp.Or(v, s.RateLimitURL)
			return v == "" || v == inMemory || isRedis(v)
		}},
	{name: "DB_ALLOWED_NETWORKS", without: "not watched", takes: "addresses and networks, parted by commas, such as 10.0.0.0/8,2001:db8::/48; no bits beyond the mask",
		meaning: "from where sessions of PostgreSQL and of Redis may come, as those servers list them: one server of many looks once a minute, and any other is an event and an alert. Sockets of the stores' own machines may always; 127.0.0.1 only if it is named. Needs pg_read_all_stats and +client|list: what cannot be seen is told of",
		set:     func(s *settings, v string) bool { return networks(&s.StoreNetworks, v) }},
	{name: "SECRETS_URL", initial: "env:", takes: "env:, file:///FOLDER, vault://HOST:PORT/MOUNT/PATH, awssm://REGION/PREFIX or azurekv://VAULT-NAME",
		meaning: "where SECRET_KEY, ROOT_KEY and their previous values are read, again and again: a value that changes is taken up without a restart. env: is the environment and .env; vault: goes by VAULT_ADDR, VAULT_CACERT, VAULT_NAMESPACE and VAULT_TOKEN, VAULT_ROLE_ID with VAULT_SECRET_ID, or VAULT_KUBERNETES_ROLE", mask: maskURL,
		set: func(s *settings, v string) bool {
			scheme, rest, ok := strings.Cut(v, ":")
			s.SecretsURL = v
			return ok && sources[scheme] != nil && (scheme == "env") == (rest == "")
		}},
	{name: "SECRET_KEY", without: "made at the first start", kept: true, takes: "at least 32 bytes; `xteam secret generate` makes one",
		meaning: "the HS256 signing secret; one that was made is kept in DATA_DIR/secrets", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || len(v) >= minSecret }},
	{name: "SECRET_KEY_PREVIOUS", without: "none", takes: "earlier values of SECRET_KEY, parted by commas, each of at least 32 bytes",
		meaning: "signing secrets that still verify during a rotation", mask: maskSecret,
		set: func(_ *settings, v string) bool {
			for one := range strings.SplitSeq(v, ",") {
				if v != "" && len(strings.TrimSpace(one)) < minSecret {
					return false
				}
			}
			return true
		}},
	{name: "ROOT_KEY", without: "made at the first start", kept: true, takes: "at least 32 bytes, not those of SECRET_KEY; `xteam secret generate` makes one",
		meaning: "wraps the keys that seal what is stored; one that was made is kept in DATA_DIR/secrets; required in production", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || len(v) >= minSecret }},
	{name: "ROOT_KEY_PREVIOUS", without: "none", takes: "the value that ROOT_KEY had before, of at least 32 bytes",
		meaning: "the root key that ROOT_KEY replaces: the few keys that it wraps are wrapped anew, and no record is touched; take it away once a start has done that", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || len(v) >= minSecret }},
	{name: "JWT_ALGORITHM", initial: keyset.HS256, takes: "HS256, ES256, EdDSA, RS256 or PS256",
		meaning: "how access tokens are signed: by the first key, and when it is set also by those that follow a rotation without --alg, which else are of the algorithm before. Until a first rotation HS256 signs with SECRET_KEY itself, and another algorithm takes its place at once",
		set:     func(s *settings, v string) bool { s.Algorithm = v; return isAlgorithm(v) },
		why:     spelt},
	{name: "JWT_LEEWAY", initial: "30s", takes: "a duration from 0s to 2m",
		meaning: "the clock skew that is allowed between nodes",
		set:     duration(func(s *settings) *time.Duration { return &s.Leeway }, 0, token.MaxLeeway)},
	{name: "JWT_ISSUER", initial: "xteam", takes: "a text of 1 to 200 bytes",
		meaning: "the claim iss of every token, and checked on every token",
		set:     func(s *settings, v string) bool { s.Issuer = v; return len(v) <= 200 }},
	{name: "JWT_AUDIENCE", initial: "xteam", takes: "a text of 1 to 200 bytes",
		meaning: "the claim aud of every token, and checked on every token",
		set:     func(s *settings, v string) bool { s.Audience = v; return len(v) <= 200 && v != app.CanaryAudience }},
	{name: "ACCESS_TOKEN_EXPIRE_MINUTES", initial: "30", takes: "a whole number from 1 to 1440",
		meaning: "the life of an access token",
		set:     count(func(s *settings) *time.Duration { return &s.Access }, time.Minute, 1440)},
	{name: "REFRESH_TOKEN_EXPIRE_DAYS", initial: "7", takes: "a whole number from 1 to 365, not above SESSION_MAX_DAYS",
		meaning: "the life of a refresh token that is not used",
		set:     count(func(s *settings) *time.Duration { return &s.Refresh }, day, 365)},
	{name: "SESSION_MAX_DAYS", initial: "30", takes: "a whole number from 1 to 3650",
		meaning: "the absolute life of a session, however often it is refreshed",
		set:     count(func(s *settings) *time.Duration { return &s.Session }, day, 3650)},
	{name: "KEY_ROTATION_INTERVAL", initial: "0", takes: "0, or a duration from 1h to 8760h",
		meaning: "the age at which another signing key takes the place of the one before, by itself; it is published a quarter of an hour earlier. 0: by hand",
		set: func(s *settings, v string) bool {
			d, err := time.ParseDuration(v)
			s.Rotation = d
			return err == nil && (d == 0 || d >= time.Hour && d <= 8760*time.Hour)
		}},
	{name: "RATE_LIMIT_ENABLED", initial: "true", word: true, takes: "true, false or shadow, and true in production",
		meaning: "whether requests beyond the limits are refused; shadow counts and logs them, and refuses nothing",
		set: func(s *settings, v string) bool {
			mode, ok := map[string]app.Mode{"true": app.Enforce, "shadow": app.Shadow, "false": app.Off}[v]
			s.Limits.Mode = mode
			return ok && (mode == app.Enforce || s.Environment != production)
		}},
	{name: "RATE_LIMIT_REQUESTS_PER_MINUTE", initial: "60", takes: "a whole number from 1 to 1000000000",
		meaning: "requests a minute of one address, which over IPv6 is its /64: its bucket holds so many, and is refilled evenly",
		set:     requests(func(s *settings) *int64 { return &s.Limits.PerAddress }, 1)},
	{name: "RATE_LIMIT_AUTH", initial: "5", takes: "a whole number from 1 to 1000000000",
		meaning: "sign-ins, registrations and changes of password a minute, of one client: the user, or the address when nobody is signed in",
		set:     requests(func(s *settings) *int64 { return &s.Limits.Auth }, 1)},
	{name: "RATE_LIMIT_READ", initial: "60", takes: "a whole number from 1 to 1000000000",
		meaning: "reads a minute, of one client",
		set:     requests(func(s *settings) *int64 { return &s.Limits.Read }, 1)},
	{name: "RATE_LIMIT_WRITE", initial: "30", takes: "a whole number from 1 to 1000000000",
		meaning: "writes a minute, of one client",
		set:     requests(func(s *settings) *int64 { return &s.Limits.Write }, 1)},
	{name: "RATE_LIMIT_EXPENSIVE", initial: "5", takes: "a whole number from 1 to 1000000000",
		meaning: "expensive requests a minute, of one client",
		set:     requests(func(s *settings) *int64 { return &s.Limits.Expensive }, 1)},
	{name: "RATE_LIMIT_REFRESH", initial: "30", takes: "a whole number from 1 to 1000000000",
		meaning: "refreshes a minute, of one session",
		set:     requests(func(s *settings) *int64 { return &s.Limits.Refresh }, 1)},
	{name: "RATE_LIMIT_VERIFY", initial: "0", takes: "a whole number from 0 to 1000000000",
		meaning: "verifications a minute of one credential that is good; 0: as many as come",
		set:     requests(func(s *settings) *int64 { return &s.Limits.Verify }, 0)},
	{name: "RATE_LIMIT_API_KEY", initial: "0", takes: "a whole number from 0 to 1000000000",
		meaning: "requests a minute of one API key, of all classes and from wherever; 0: as many as of one address",
		set:     requests(func(s *settings) *int64 { return &s.Limits.PerKey }, 0)},
	{name: "TRUSTED_PROXIES", without: "none", takes: "addresses and networks of proxies, parted by commas, such as 10.0.0.0/8,2001:db8::/48; no bits beyond the mask",
		meaning: "proxies whose word is taken for where a request comes from, else it comes from the other end of its socket; what is wider than 10.0.0.0/8, fc00::/7 or a /32 of other IPv6 addresses is refused in production",
		set:     func(s *settings, v string) bool { return networks(&s.HTTP.Proxies.Trusted, v) }},
	{name: "TRUSTED_PROXY_HEADER", initial: "x-forwarded-for", word: true, takes: "x-forwarded-for or forwarded",
		meaning: "the one header of trusted proxies that is read, from the right; forwarded is that of RFC 7239",
		set:     func(s *settings, v string) bool { return proxyHeader(&s.HTTP.Proxies.Header, v) }},
	{name: "TRUSTED_HOSTS", without: "any", takes: "hosts without scheme and port, parted by commas, such as example.com,*.example.com",
		meaning: "the names that are answered; another Host gets 400, but for probes of /health, /healthz and /readyz by address, a bare name or none; * is any, and production refuses it",
		set:     func(s *settings, v string) bool { return hosts(&s.HTTP.Hosts, v) }},
	{name: "CORS_ORIGINS", without: "none", takes: "origins as browsers send them, parted by commas, such as https://app.example.com,https://www.example.com",
		meaning: "the web origins whose scripts may read answers; *, http:// and localhost are refused in production",
		set:     func(s *settings, v string) bool { return origins(&s.HTTP.Origins, v) }},
	{name: "COOKIE_MODE", initial: "off", word: true, takes: "off or on",
		meaning: "on: browsers get their tokens in cookies too, which no script can read; a request by cookie must be JSON and come from a page of this service or of CORS_ORIGINS, which may then not be *",
		set:     func(s *settings, v string) bool { s.HTTP.Cookies.On = v == "on"; return v == "on" || v == "off" }},
	{name: "SSL_CERTFILE", without: "plain HTTP", takes: "the path of a file, with SSL_KEYFILE",
		meaning: "the certificate and its chain, as PEM: serve HTTPS (TLS 1.2 and 1.3, HTTP/2 too); renewed files are served without a restart, once they agree and are valid. Production requires them, or TRUSTED_PROXIES for a proxy that ends TLS",
		set:     func(s *settings, v string) bool { return path(&s.CertFile, v) }},
	{name: "SSL_KEYFILE", without: "plain HTTP", takes: "the path of a file, with SSL_CERTFILE",
		meaning: "the key of SSL_CERTFILE, as PEM",
		set:     func(s *settings, v string) bool { return path(&s.KeyFile, v) }},
	{name: "GRAPHQL_INTROSPECTION", without: "on, but off in production", word: true, takes: "true or false, or on or off",
		meaning: "whether anybody may ask for the GraphQL schema, and /graphiql is served",
		set: func(s *settings, v string) bool {
			s.Introspection = v == "true" || v == "on" || v == "" && s.Environment != production
			return slices.Contains([]string{"", "true", "false", "on", "off"}, v)
		}},
	{name: "LOG_FILE", without: "stderr", takes: "the path of a file", meaning: "where the log is appended to",
		set: func(s *settings, v string) bool { s.LogFile = v; return !strings.ContainsRune(v, 0) }},
	{name: "LOG_LEVEL", initial: "info", word: true, takes: "debug, info, warn or error", meaning: "the least level that is logged",
		set: func(s *settings, v string) bool {
			switch v {
			case "debug", "info", "warn", "error":
				return s.LogLevel.UnmarshalText([]byte(v)) == nil
			}
			return false
		}},
	{name: "LOG_FORMAT", initial: "json", word: true, takes: "json or text", meaning: "how log lines are written",
		set: func(s *settings, v string) bool { s.LogFormat = v; return v == "json" || v == "text" }},
	{name: "PASSWORD_HASHER", initial: "bcrypt", word: true, takes: "bcrypt or argon2id",
		meaning: "how passwords are hashed (argon2id takes 19 MiB for each of those that hash at once, which are one fewer than the cores); a hash of the other kind is upgraded at the next sign-in",
		set:     func(s *settings, v string) bool { s.Hasher = v; return v == "bcrypt" || v == "argon2id" }},
	{name: "BCRYPT_COST", initial: "12", takes: "a whole number from 10 to 16",
		meaning: "the cost of bcrypt hashes; another one is upgraded at the next sign-in. With argon2id it is the cost of the old hashes alone: leave it as it was",
		set: func(s *settings, v string) bool {
			n, err := strconv.Atoi(v)
			s.BcryptCost = n
			return err == nil && n >= 10 && n <= 16
		}},
	{name: "REVOCATION_MAX_STALENESS", initial: "5s", takes: "a duration from 100ms to 1h",
		meaning: "how old the view of the revocations may be before signed-in requests get 503",
		set:     duration(func(s *settings) *time.Duration { return &s.MaxStaleness }, 100*time.Millisecond, time.Hour)},
	{name: "REVOCATION_POLL", initial: "1s", takes: "a duration from 10ms to 1h, below REVOCATION_MAX_STALENESS",
		meaning: "how often a database that other processes write to, which Badger is not, is asked for what the feed may have missed",
		set:     duration(func(s *settings) *time.Duration { return &s.Poll }, 10*time.Millisecond, time.Hour)},
	{name: "FEED_RETENTION", without: "the life of an access token", takes: "a duration from 1s to 24h, or nothing",
		meaning: "how far back another service that follows the revocations may resume",
		set: func(s *settings, v string) bool {
			return v == "" || duration(func(s *settings) *time.Duration { return &s.Retention }, time.Second, 24*time.Hour)(s, v)
		}},
	{name: "MAX_CONNECTIONS", initial: "20000", takes: "a whole number from 1 to 1000000",
		meaning: "WebSockets and event streams that may be open at a time",
		set:     whole(func(s *settings) *int { return &s.PerServer })},
	{name: "MAX_CONNECTIONS_PER_USER", initial: "32", takes: "a whole number from 1 to 1000000",
		meaning: "the same of one user",
		set:     whole(func(s *settings) *int { return &s.PerUser })},
	{name: "REVOCATION_STRICT", initial: "false", word: true, takes: "true or false",
		meaning: "refuse also while only the database is silent; matters once there is a feed beside it",
		set: func(s *settings, v string) bool {
			s.Strict = v == "true"
			return v == "true" || v == "false"
		}},
	{name: "MIN_FREE_SPACE", initial: "256MiB", takes: "a number of bytes up to 1024GiB, such as 268435456, 256MiB or 1GiB; or 0",
		meaning: "the free space of the store's disk below which new users, files and sign-ins get 507, while tokens are judged and revocations and events go on, from a reserve of 32 MiB in the end; 0: it is not watched, and a full disk kills the process",
		set:     func(s *settings, v string) bool { return size(&s.MinFreeSpace, v) }},
	{name: "AUDIT_CHECKPOINTS", without: "the log alone", takes: "the path of a file, or nothing; a receiver on another machine is for AUDIT_WEBHOOK_URL",
		meaning: "where signed checkpoints of the audit trail are appended to, once a minute while there are new records, beside the log: on another machine they show what whoever owns the store and the keys has changed, and `xteam audit verify` holds the trail against them",
		set:     func(s *settings, v string) bool { return path(&s.AuditCheckpoints, v) && !strings.Contains(v, "://") }},
	{name: "AUDIT_WEBHOOK_URL", without: "none", takes: "https://HOST/PATH, with AUDIT_WEBHOOK_PRIVATE=true also http://, or nothing",
		meaning: "where the signed head of the audit trail is posted, once a minute while there are new records, by one server of many, signed as alerts are; one that is not taken is tried again, after a restart too, and holds up nothing. `xteam audit verify --checkpoints` takes a file of what the receiver kept", mask: maskURL,
		set: func(s *settings, v string) bool { s.AuditURL = v; return v == "" || isWebhook(v) }},
	{name: auditSecret, without: "none", takes: "at least 24 bytes, or whsec_ and base64 of as many; `xteam secret generate` makes one",
		meaning: "what the signatures of those messages are made with; AUDIT_WEBHOOK_URL needs it. Read through SECRETS_URL, once at the start", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || webhook.CheckSecret(secret.New(v)) == nil }},
	{name: "AUDIT_WEBHOOK_PRIVATE", initial: "false", word: true, takes: "true or false",
		meaning: "as ALERT_WEBHOOK_PRIVATE, for AUDIT_WEBHOOK_URL",
		set: func(s *settings, v string) bool {
			s.AuditPrivate = v == "true"
			return v == "true" || v == "false"
		}},
	{name: "ALERT_RULES", without: "as the table has them", takes: "RULE=THRESHOLD/WINDOW/COOLDOWN or RULE=off, separated by commas, of the rules that `xteam alerts rules` lists",
		meaning: "what is changed of the rules by which alerts are raised, such as failed_sign_ins_by_account=10/5m/30m,epoch_raised=off",
		set: func(s *settings, v string) (ok bool) {
			var err error
			s.AlertRules, err = alert.ParseRules(v)
			return err == nil
		},
		why: func(v string) error { _, err := alert.ParseRules(v); return err }},
	{name: "AUDIT_RETENTION", initial: "0", takes: "0, or a duration from 24h to 876000h",
		meaning: "how long events and their records in the audit trail are kept; what is left can be verified as before. 0: for ever",
		set: func(s *settings, v string) bool {
			d, err := time.ParseDuration(v)
			s.AuditRetention = d
			return err == nil && (d == 0 || d >= day && d <= 876000*time.Hour)
		}},
	{name: "EVENT_FILE", without: "none", takes: "the path of a file, or nothing",
		meaning: "where every security event is appended to, one a line, each by one server of many; it is open only while it is written, so it may be moved away at any time",
		set:     func(s *settings, v string) bool { return path(&s.EventFile, v) }},
	{name: "EVENT_SYSLOG_URL", without: "none", takes: "syslog://HOST:PORT, syslogs://HOST:PORT for TLS, or nothing",
		meaning: "a receiver of syslog (RFC 5424 over TCP, octets counted) that is sent every security event, each by one server of many; production takes TLS, but for this machine itself", mask: maskURL,
		set: func(s *settings, v string) bool { s.SyslogURL = v; return v == "" || isSyslog(v) }},
	{name: "EVENT_FORMAT", initial: "json", word: true, takes: "json or cef",
		meaning: "how events are written to EVENT_FILE and EVENT_SYSLOG_URL: as JSON, or in the Common Event Format of ArcSight, which cuts values to 1,023 bytes",
		set:     func(s *settings, v string) bool { s.EventCEF = v == "cef"; return v == "json" || v == "cef" }},
	{name: "ALERT_WEBHOOK_URL", without: "none", takes: "https://HOST/PATH, on this machine or with ALERT_WEBHOOK_PRIVATE=true also http://, or nothing",
		meaning: "where alerts are posted, each by one server of many, signed after standardwebhooks.com; one that is not taken is tried again, after a restart too, and holds up nothing. No redirect is followed", mask: maskURL,
		set: func(s *settings, v string) bool {
			s.AlertURL = v
			return v == "" || isWebhook(v)
		}},
	{name: webhookSecret, without: "made at the first start with ALERT_WEBHOOK_URL", kept: true, takes: "at least 24 bytes, or whsec_ and base64 of as many; `xteam secret generate` makes one",
		meaning: "what the signatures of alerts are made with; one that was made is kept in DATA_DIR/secrets, for the receiver to be given. Servers that share a store need it with ALERT_WEBHOOK_URL. Read through SECRETS_URL, once at the start", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || webhook.CheckSecret(secret.New(v)) == nil }},
	{name: "ALERT_WEBHOOK_PRIVATE", initial: "false", word: true, takes: "true or false",
		meaning: "whether the webhook may be on this machine or in a private network, and plain http; link-local addresses, where clouds hand out credentials, are refused always. Where it is not given, one that ALERT_WEBHOOK_URL itself puts on this machine, as localhost or 127.0.0.1, may",
		set: func(s *settings, v string) bool {
			s.AlertPrivate = v == "true"
			return v == "true" || v == "false"
		}},
	{name: "NOTIFY_WEBHOOK_URL", without: "none", takes: "https://HOST/PATH, with NOTIFY_WEBHOOK_PRIVATE=true also http://, or nothing",
		meaning: "where a notice is posted of each sign-in from a network that its user had not signed in from, for whoever sends mail: with the user's address, and a link by which they end that sign-in. Signed and tried again as alerts are; needs PUBLIC_URL", mask: maskURL,
		set: func(s *settings, v string) bool { s.NotifyURL = v; return v == "" || isWebhook(v) }},
	{name: notifySecret, without: "none", takes: "at least 24 bytes, or whsec_ and base64 of as many; `xteam secret generate` makes one",
		meaning: "what the signatures of notices are made with; NOTIFY_WEBHOOK_URL needs it. Read through SECRETS_URL, once at the start", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || webhook.CheckSecret(secret.New(v)) == nil }},
	{name: "NOTIFY_WEBHOOK_PRIVATE", initial: "false", word: true, takes: "true or false",
		meaning: "as ALERT_WEBHOOK_PRIVATE, for NOTIFY_WEBHOOK_URL",
		set: func(s *settings, v string) bool {
			s.NotifyPrivate = v == "true"
			return v == "true" || v == "false"
		}},
	{name: "PUBLIC_URL", without: "none", takes: "https://HOST or http://HOST, with a path if there is one, without query and fragment, or nothing",
		meaning: "where people reach this service, as links in notices begin; production takes https", mask: maskURL,
		set: func(s *settings, v string) bool { s.PublicURL = v; return v == "" || isPublic(v) }},
	{name: "FIREWALL_URL", without: "none", takes: "awswaf://REGION/SCOPE?ipv4=NAME/ID&ipv6=NAME/ID, https://HOST/PATH, with FIREWALL_PRIVATE=true also http://, or nothing",
		meaning: "a firewall that turns away what `xteam blocked-ips` has: two IP sets of AWS WAF (SCOPE is REGIONAL or CLOUDFRONT), which hold nothing else from then on, or a webhook that is posted the whole list, signed. One server of many keeps it, and sets it again once a minute; while it does not answer, the servers refuse by themselves as ever", mask: maskURL,
		set: func(s *settings, v string) bool { s.FirewallURL = v; return v == "" || isFirewall(v) }},
	{name: firewallSecret, without: "none", takes: "at least 24 bytes, or whsec_ and base64 of as many; `xteam secret generate` makes one",
		meaning: "what the signatures of the lists are made with that go to a webhook; a FIREWALL_URL of https needs it. Read through SECRETS_URL, once at the start", mask: maskSecret,
		set: func(_ *settings, v string) bool { return v == "" || webhook.CheckSecret(secret.New(v)) == nil }},
	{name: "FIREWALL_PRIVATE", initial: "false", word: true, takes: "true or false",
		meaning: "as ALERT_WEBHOOK_PRIVATE, for a FIREWALL_URL of https or http",
		set: func(s *settings, v string) bool {
			s.FirewallPrivate = v == "true"
			return v == "true" || v == "false"
		}},
	{name: "UPLOAD_DIR", without: "DATA_DIR/files", takes: "the path of a folder, or nothing for DATA_DIR/files",
		meaning: "where the bytes of uploaded files are kept; servers that share a database need the same folder, on a file system with locks (flock), such as NFS 4. DATA_DIR/files is made with the first file",
		set:     func(s *settings, v string) bool { return path(&s.UploadDir, v) }},
	{name: "MAX_UPLOAD_SIZE", initial: "104857600", takes: "a number of bytes from 1 up to 1024GiB, such as 104857600 or 100MiB, not above UPLOAD_QUOTA if that is given",
		meaning: "how long an uploaded file may be",
		set:     func(s *settings, v string) bool { return size(&s.Uploads.MaxSize, v) && s.Uploads.MaxSize > 0 }},
	{name: "UPLOAD_QUOTA", initial: "1GiB", takes: "a number of bytes from 1 up to 1024GiB, such as 1GiB",
		meaning: "how many bytes of files one user may keep, where it is not given at least one file of MAX_UPLOAD_SIZE, beside which there may be 1000 files",
		set:     func(s *settings, v string) bool { return size(&s.Uploads.Quota, v) && s.Uploads.Quota > 0 }},
	{name: "ALLOWED_EXTENSIONS", initial: ".py,.js,.ts,.json,.md", takes: "extensions with their dots, parted by commas, of those whose content can be checked: the README lists them",
		meaning: "which files may be uploaded; the content must agree: text is UTF-8, JSON is JSON, anything else is what its first bytes say",
		set: func(s *settings, v string) (ok bool) {
			s.Uploads.Extensions, ok = upload.ParseExtensions(strings.Split(v, ","))
			return ok
		}},
	{name: "METRICS_ADDR", without: "on HTTP_ADDR, for administrators", takes: "host:port, such as 127.0.0.1:9100, or nothing",
		meaning: "an address of its own for /metrics, open to whoever reaches it; production warns of one that is not of this machine or a private network",
		set: func(s *settings, v string) bool {
			s.MetricsAddr = v
			_, port, err := net.SplitHostPort(v)
			_, bad := strconv.ParseUint(port, 10, 16)
			return v == "" || err == nil && bad == nil
		}},
	{name: "OTEL_EXPORTER_OTLP_ENDPOINT", without: "nothing is sent", takes: "the URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318, without user and query, or nothing",
		meaning: "an OpenTelemetry collector that is sent traces and metrics; while it does not answer they are dropped, and nobody waits", mask: maskURL,
		set: func(s *settings, v string) bool {
			s.Collector = v
			u, err := url.Parse(v)
			return v == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
		}},
	{name: headersSetting, without: "none", takes: "name=value pairs, parted by commas, the values percent-encoded",
		meaning: "headers of each request to the collector, such as a credential", mask: maskSecret,
		set: func(_ *settings, v string) bool { _, ok := collectorHeaders(v); return ok }},
	{name: "OTEL_TRACES_SAMPLER_ARG", initial: "1", takes: "a number from 0 to 1",
		meaning: "the part of the requests that are followed; what a trusted proxy has decided comes first",
		set: func(s *settings, v string) bool {
			ratio, err := strconv.ParseFloat(v, 64)
			s.TraceRatio = ratio
			return err == nil && ratio >= 0 && ratio <= 1
		}},
	{name: "OTEL_METRIC_EXPORT_INTERVAL", initial: "60000", takes: "a whole number of milliseconds from 100 to 3600000",
		meaning: "how often the metrics are sent to the collector",
		set: func(s *settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 32)
			s.MetricsEvery = time.Duration(n) * time.Millisecond
			return err == nil && n >= 100 && n <= 3600000
		}},
}

// headersSetting holds headers for the collector, which may be secret.
const headersSetting = "OTEL_EXPORTER_OTLP_HEADERS"

// collectorHeaders reads them.
func collectorHeaders(text string) (map[string]string, bool) {
	all := map[string]string{}
	if text == "" {
		return all, true
	}
	for one := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(one), "=")
		value, err := url.PathUnescape(value)
		if !ok || err != nil || name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, false
		}
		all[name] = value
	}
	return all, true
}

const day = 24 * time.Hour

// given is a setting's value as it was given, if it was.
func given(get lookup, name string) string {
	v, _ := get(name)
	return v
}

// value is what the setting has: what was given, else what an empty value stands for.
func (row *setting) value(get lookup) string {
	if row.word {
		return strings.ToLower(row.got(get))
	}
	return row.got(get)
}

// got is the same as it was written.
func (row *setting) got(get lookup) string { return cmp.Or(given(get, row.name), row.initial) }

// faults is everything that is wrong with the settings, a line each.
type faults []string

func (f faults) Error() string { return strings.Join(f, "\n") }

// parse reads every setting of the table. Its error names all that is wrong.
func parse(get lookup) (settings, error) {
	var s settings
	var wrong faults
	complain := func(name string) {
		for i := range table {
			if row := &table[i]; row.name == name {
				line := fmt.Sprintf("%s: got %s, takes %s", name, row.show(row.got(get)), row.takes)
				if row.why != nil {
					if err := row.why(row.value(get)); err != nil {
						line += ": " + err.Error()
					}
				}
				wrong = append(wrong, line)
			}
		}
	}
	bad := map[string]bool{}
	for i := range table {
		if row := &table[i]; !row.set(&s, row.value(get)) {
			bad[row.name] = true
			complain(row.name)
		}
	}
	if given(get, "JWT_ALGORITHM") == "" { // a rotation by hand to another is not undone by the next one
		s.Algorithm = ""
	}
	// What two settings say together is judged where each by itself is good.
	if !bad["REFRESH_TOKEN_EXPIRE_DAYS"] && !bad["SESSION_MAX_DAYS"] && s.Refresh > s.Session {
		complain("REFRESH_TOKEN_EXPIRE_DAYS")
	}
	if !bad["REVOCATION_POLL"] && !bad["REVOCATION_MAX_STALENESS"] && s.Poll >= s.MaxStaleness {
		complain("REVOCATION_POLL")
	}
	if given(get, "UPLOAD_QUOTA") == "" {
		s.Uploads.Quota = max(s.Uploads.Quota, s.Uploads.MaxSize) // of one file at least
	}
	if !bad["MAX_UPLOAD_SIZE"] && !bad["UPLOAD_QUOTA"] && s.Uploads.MaxSize > s.Uploads.Quota {
		complain("MAX_UPLOAD_SIZE")
	}
	signing, root := given(get, "SECRET_KEY"), given(get, "ROOT_KEY")
	unsure := bad["DATABASE_URL"] || bad["REDIS_URL"] || bad["REVOCATION_URL"] || bad["RATE_LIMIT_URL"]
	if s.shared() && !unsure && s.SecretsURL == "env:" { // what one server made for itself, another does not have
		for _, name := range []string{"SECRET_KEY", "ROOT_KEY"} {
			if given(get, name) == "" && !(name == "ROOT_KEY" && s.Environment == production) && !(name == "SECRET_KEY" && s.Algorithm != "" && s.Algorithm != keyset.HS256) {
				wrong = append(wrong, name+": got nothing, takes at least 32 bytes: servers that share a store need the same; `xteam secret generate` makes one")
			}
		}
	}
	if root == "" && s.Environment == production && s.SecretsURL == "env:" {
		wrong = append(wrong, "ROOT_KEY: got nothing, takes at least 32 bytes: production needs it; `xteam secret generate` makes one")
	}
	if root != "" && root == signing {
		wrong = append(wrong, "ROOT_KEY: got the value of SECRET_KEY, takes one of its own: other services may know SECRET_KEY")
	}
	if root != "" && slices.Contains(earlier(get), root) {
		wrong = append(wrong, "ROOT_KEY: got a value of SECRET_KEY_PREVIOUS, takes one of its own: other services may know that one")
	}
	if u, err := url.Parse(s.AlertURL); err == nil && given(get, "ALERT_WEBHOOK_PRIVATE") == "" {
		s.AlertPrivate = local(u.Hostname()) // who names this machine means it
	}
	for _, hook := range []struct {
		url, word, at string
		private, made bool // made: a secret that is not given
	}{{"ALERT_WEBHOOK_URL", webhookSecret, s.AlertURL, s.AlertPrivate, !s.shared()}, {"NOTIFY_WEBHOOK_URL", notifySecret, s.NotifyURL, s.NotifyPrivate, false}, {"AUDIT_WEBHOOK_URL", auditSecret, s.AuditURL, s.AuditPrivate, false}} {
		if hook.at != "" && !bad[hook.url] && s.SecretsURL == "env:" && given(get, hook.word) == "" && !hook.made {
			complain(hook.word)
		}
		if strings.HasPrefix(hook.at, "http:") && !bad[hook.url] && !hook.private {
			complain(hook.url)
		}
	}
	if s.NotifyURL != "" && !bad["NOTIFY_WEBHOOK_URL"] && s.PublicURL == "" {
		complain("PUBLIC_URL")
	}
	if strings.HasPrefix(s.FirewallURL, "http") && !bad["FIREWALL_URL"] && s.SecretsURL == "env:" && given(get, firewallSecret) == "" {
		complain(firewallSecret)
	}
	if strings.HasPrefix(s.FirewallURL, "http:") && !bad["FIREWALL_URL"] && !s.FirewallPrivate {
		complain("FIREWALL_URL")
	}
	if s.HTTP.Cookies.On && s.HTTP.Origins.Any() {
		wrong = append(wrong, "CORS_ORIGINS: got *, takes with COOKIE_MODE=on the origins by name: any page could act in its visitor's name")
	}
	if s.CertFile == "" && s.KeyFile != "" {
		complain("SSL_CERTFILE")
	}
	if s.CertFile != "" && s.KeyFile == "" {
		complain("SSL_KEYFILE")
	}
	if s.Environment == production {
		s.Unfit = unfit(&s)
		if s.SecretsURL == "env:" {
			s.Unfit = append(s.Unfit, guessed(get)...)
		}
	}
	if wrong != nil {
		return settings{Unfit: s.Unfit}, wrong
	}
	return s, nil
}

// shared reports whether other servers may work on the same state.
func (s *settings) shared() bool {
	return s.DatabaseURL != "" || s.RevocationURL != "" || s.RateLimitURL != inMemory
}

// forServing is what stops a server: err, which parse answered with s, and in production what is unfit for it. A command that mends a running system has
// no need to ask.
func (s *settings) forServing(err error) error {
	if s.Unfit != nil {
		return errors.Join(err, s.Unfit)
	}
	return err
}

// show is a refused value as it may be printed: masked when it must not be seen, cut when it is long.
func (row *setting) show(v string) string {
	switch {
	case v == "":
		return "nothing"
	case row.mask != nil:
		return row.mask(v)
	case len(v) > 60:
		return strconv.Quote(v[:60]) + "…"
	}
	return strconv.Quote(v)
}

// inMemory is the RATE_LIMIT_URL of buckets that each server has for itself.
const inMemory = "memory:"

// database reads DATABASE_URL.
func database(s *settings, v string) bool {
	if v == "" {
		s.Store = s.Folder
		return true
	}
	u, err := url.Parse(v)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "badger":
		s.Store = filepath.Clean(u.Path)
		return u.Host == "" && len(u.Path) >= 2 && u.RawQuery == "" && u.User == nil
	case "postgres", "postgresql", "postgresql+asyncpg":
		s.DatabaseURL = v
		return u.Host != ""
	}
	return false
}

// isRedis reports whether the text has the form of a Redis' URL; what it names in the end is for its adapter to say.
func isRedis(v string) bool {
	u, err := url.Parse(strings.ReplaceAll(v, ",", "-")) // of several hosts
	return err == nil && u.Host != "" && slices.Contains([]string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}, u.Scheme)
}

func maskSecret(v string) string { return fmt.Sprintf("%s (%d bytes)", redacted, len(v)) }

// maskURL shows the scheme alone, since what follows may hold a password.
func maskURL(v string) string {
	if scheme, _, ok := strings.Cut(v, "://"); ok && len(scheme) <= 20 {
		return strconv.Quote(scheme+"://") + "…"
	}
	return redacted
}

func duration(field func(*settings) *time.Duration, least, most time.Duration) func(*settings, string) bool {
	return func(s *settings, v string) bool {
		d, err := time.ParseDuration(v)
		*field(s) = d
		return err == nil && d >= least && d <= most
	}
}

// whole reads a number of things.
func whole(field func(*settings) *int) func(*settings, string) bool {
	return func(s *settings, v string) bool {
		n, err := strconv.Atoi(v)
		*field(s) = n
		return err == nil && n >= 1 && n <= 1_000_000
	}
}

// requests reads a number of requests a minute.
func requests(field func(*settings) *int64, least int64) func(*settings, string) bool {
	return func(s *settings, v string) bool {
		n, err := strconv.ParseInt(v, 10, 64)
		*field(s) = n
		return err == nil && n >= least && n <= ratelimit.MaxCapacity
	}
}

// size reads a number of bytes, with KiB, MiB or GiB behind it or nothing.
func size(field *int64, v string) bool {
	unit := int64(1)
	for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, ok := strings.CutSuffix(v, suffix); ok {
			v, unit = number, bytes
		}
	}
	n, err := strconv.ParseUint(v, 10, 40)
	*field = int64(n) * unit
	return err == nil && n <= uint64(1<<40/unit)
}

func count(field func(*settings) *time.Duration, unit time.Duration, most int) func(*settings, string) bool {
	return func(s *settings, v string) bool {
		n, err := strconv.Atoi(v)
		*field(s) = time.Duration(min(max(n, 0), most)) * unit
		return err == nil && n >= 1 && n <= most
	}
}
