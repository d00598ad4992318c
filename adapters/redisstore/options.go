package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/xteam/xteam/domain/secret"
)

// Options say where Redis is and how it is used. Parse makes them of a URL.
type Options struct {
	Addresses []string // HOST:PORT of the server, of the Sentinels, or of some nodes of the Cluster
	Master    string   // the name by which Sentinels know the primary; not empty: Addresses are Sentinels
	Cluster   bool     // Addresses are nodes of a Redis Cluster
	DB        int      // the number of the database; a Cluster has only 0
	Username  string
	Password  secret.Text

	SentinelUsername string
	SentinelPassword secret.Text

	TLS        bool
	CAFile     string // PEM certificates of the only authorities that are trusted; empty: those of the system
	ServerName string // what certificates are checked for; empty: the host that was dialled

	// Namespace is the first part of every key; default xteam.
	Namespace string
	// Timeout bounds each call but those of the buckets; default 1 s.
	Timeout time.Duration
	// BucketTimeout bounds each call of the buckets; default 20 ms.
	BucketTimeout time.Duration

	// Writes has Follow end while Redis takes no writes, and so tell nothing as complete that others could not add to: for those who record there themselves. A reader who may not write leaves it off.
	Writes bool

	// Now is the clock by which the lives of entries are reckoned; default time.Now.
	Now func() time.Time
	// Logger takes a line when the buckets' breaker opens and closes, and of each panic in what many callers share; default none.
	Logger *slog.Logger
}

// errOptions is what every refusal of Options matches in the package's own tests.
var errOptions = errors.New("the Redis URL is refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errOptions, fmt.Sprintf(format, args...))
}

const urlForms = "redis://, rediss://, redis+sentinel:// or redis+cluster:// and USER:PASSWORD@HOST:PORT"

// Parse reads a URL, in the forms of the package's comment. No error repeats it, for it holds a password.
func Parse(text string) (Options, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return Options{}, refuse("it has the form %s", urlForms)
	}
	var o Options
	switch scheme {
	case "rediss", "rediss+sentinel", "rediss+cluster":
		o.TLS = true
	case "redis", "redis+sentinel", "redis+cluster":
	default:
		return Options{}, refuse("it begins with none of redis://, rediss://, redis+sentinel:// and redis+cluster://")
	}
	_, shape, _ := strings.Cut(scheme, "+")
	o.Cluster = shape == "cluster"
	if strings.Contains(rest, "#") {
		return Options{}, refuse("it holds a # outside a password, or one in it that is not written as %%23")
	}
	rest, query, _ := strings.Cut(rest, "?")
	place, path, _ := strings.Cut(rest, "/")
	if err := o.parsePlace(place, shape); err != nil {
		return Options{}, err
	}
	if err := o.parsePath(path, shape); err != nil {
		return Options{}, err
	}
	if err := o.parseQuery(query, shape); err != nil {
		return Options{}, err
	}
	return o, nil
}

// parsePlace reads USER:PASSWORD@HOST:PORT,….
func (o *Options) parsePlace(place, shape string) error {
	hosts := place
	if at := strings.LastIndexByte(place, '@'); at >= 0 {
		hosts = place[at+1:]
		user, password, _ := strings.Cut(place[:at], ":")
		user, err := url.PathUnescape(user)
		if err != nil {
			return refuse("its user is not written as a URL asks: every special character as %%XX")
		}
		password, err = url.PathUnescape(password)
		if err != nil {
			return refuse("its password is not written as a URL asks: every special character as %%XX")
		}
		o.Username, o.Password = user, secret.New(password)
	}
	port := "6379"
	if shape == "sentinel" {
		port = "26379"
	}
	for address := range strings.SplitSeq(hosts, ",") {
		address, err := withPort(address, port)
		if err != nil {
			return err
		}
		o.Addresses = append(o.Addresses, address)
	}
	if len(o.Addresses) > 1 && shape == "" {
		return refuse("it names several hosts: with redis+sentinel:// or redis+cluster:// they are Sentinels or nodes of a Cluster")
	}
	return nil
}

func withPort(address, port string) (string, error) {
	host, given, err := net.SplitHostPort(address)
	if err != nil {
		host, given = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"), port
		if ip, err := netip.ParseAddr(host); strings.Contains(host, ":") && (err != nil || !ip.Is6()) {
			return "", refuse("a host of it is not HOST:PORT")
		}
	}
	if n, err := strconv.Atoi(given); host == "" || strings.ContainsFunc(host, noHost) || err != nil || n < 1 || n > 65535 {
		return "", refuse("a host of it is not HOST:PORT")
	}
	return net.JoinHostPort(host, given), nil
}

// noHost reports whether a character stands in no host: names in other scripts are written as DNS has them.
func noHost(r rune) bool { return r <= ' ' || r >= 0x7f || r == '[' || r == ']' }

func (o *Options) parsePath(path, shape string) error {
	switch {
	case shape == "sentinel":
		if path == "" || strings.Contains(path, "/") {
			return refuse("redis+sentinel:// names the primary after the hosts: /MASTER")
		}
		o.Master = path
	case path == "":
	case shape == "cluster":
		return refuse("a Redis Cluster has no numbered databases: nothing follows the hosts but the query")
	default:
		return o.parseDB(path)
	}
	return nil
}

func (o *Options) parseDB(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 65535 {
		return refuse("the number of its database is not a number")
	}
	o.DB = n
	return nil
}

func (o *Options) parseQuery(query, shape string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return refuse("its query is not written as a URL asks")
	}
	for name, given := range values {
		if len(given) > 1 {
			return refuse("its query gives a name twice")
		}
		switch v := given[0]; {
		case name == "db" && shape != "cluster":
			err = o.parseDB(v)
		case name == "tls" && (v == "true" || v == "false" && !o.TLS):
			o.TLS = v == "true"
		case name == "tls":
			err = refuse("tls is true or false, and not false with rediss://")
		case name == "ca":
			o.CAFile = v
		case name == "server_name":
			o.ServerName = v
		case name == "namespace":
			o.Namespace = v
		case name == "sentinel_username" && shape == "sentinel":
			o.SentinelUsername = v
		case name == "sentinel_password" && shape == "sentinel":
			o.SentinelPassword = secret.New(v)
		default:
			err = refuse("its query holds a name that it does not take: it takes db, tls, ca, server_name, namespace and, with Sentinels, sentinel_username and sentinel_password")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Exposed reports whether passwords and addresses of clients would cross a network unencrypted: there is no TLS, and a host is not this machine.
func (o Options) Exposed() bool {
	for _, address := range o.Addresses {
		host, _, _ := net.SplitHostPort(address)
		ip, err := netip.ParseAddr(host)
		if !o.TLS && host != "localhost" && (err != nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
}

// checked fills in the defaults.
func (o Options) checked() (Options, error) {
	if len(o.Addresses) == 0 {
		return o, refuse("it names no host: give HOST:PORT")
	}
	if o.Namespace == "" {
		o.Namespace = "xteam"
	}
	if len(o.Namespace) > 64 || strings.ContainsAny(o.Namespace, "{} *?[]\\^\r\n") {
		return o, refuse("its namespace holds a space, a brace or another special character, or more than 64")
	}
	if (o.CAFile != "" || o.ServerName != "") && !o.TLS {
		return o, refuse("it names an authority or a server's name without TLS: begin it with rediss")
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.BucketTimeout <= 0 {
		o.BucketTimeout = 20 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func (o Options) tls() (*tls.Config, error) {
	if !o.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("the certificates of Redis' authority cannot be read: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, refuse("the file of its authority, %s, holds no certificate in PEM", o.CAFile)
	}
	return c, nil
}

// client makes a client that connects when it is first used. Whoever retries a call that is not idempotent may do twice what was asked once.
func (o Options) client(tls *tls.Config, retries int, timeout time.Duration) redis.UniversalClient {
	if retries == 0 {
		retries = -1 // as go-redis spells none
	}
	u := &redis.UniversalOptions{
		Addrs:      slices.Clip(slices.Clone(o.Addresses)), // go-redis appends to it
		MasterName: o.Master, DB: o.DB, Username: o.Username, Password: o.Password.RevealPlaintext(),
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword.RevealPlaintext(), TLSConfig: tls, IsClusterMode: o.Cluster,
		ContextTimeoutEnabled: true, // else a hung server is waited for, whatever the context says
		Protocol:              2, DisableIdentity: true,
		MaxRetries: retries, MinRetryBackoff: 5 * time.Millisecond, MaxRetryBackoff: 50 * time.Millisecond,
		DialTimeout: o.Timeout, DialerRetries: 1, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout, PoolSize: 64,
	}
	off := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled} // else each connection asks for what only one vendor's servers know
	switch {
	case o.Master != "":
		return redis.NewFailoverClient(u.Failover()) // which never asks
	case o.Cluster:
		cluster := u.Cluster()
		cluster.MaintNotificationsConfig = off
		return redis.NewClusterClient(cluster)
	}
	simple := u.Simple()
	simple.MaintNotificationsConfig = off
	return redis.NewClient(simple)
}
