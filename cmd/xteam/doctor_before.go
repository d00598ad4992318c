package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// before is the checklist of a deployment that does not run yet.
var before = []examination{
	{"secrets.storage", false, secretsStorage},
	{"secret_key.strength", true, secretStrength},
	{"tls.on", true, tlsOn},
	{"cors.restricted", true, corsRestricted},
	{"hosts.trusted", true, hostsTrusted},
	{"ratelimit.on", true, rateLimitOn},
	{"tokens.lifetime", false, tokensLifetime},
	{"db.encrypted", true, dbEncrypted},
	{"redis.encrypted", true, ofRedis(redisEncrypted)},
	{"redis.auth", true, ofRedis(redisAuth)},
	{"redis.noeviction", true, ofRedis(redisEviction)},
	{"redis.durable", false, ofRedis(redisDurable)},
	{"redis.entries", false, ofRedis(redisEntries)},
	{"db.networks", false, storeNetworks},
	{"deps.scanned", false, depsScanned},
	{"data.permissions", false, dataPermissions},
	{"files.folder", false, filesPlace},
}

// secretsStorage looks where the settings' secrets lie: who else can read them.
func secretsStorage(ctx context.Context, p *patient) finding {
	info, err := os.Stat(settingsFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return unseen("run this where the service runs, as its user", "%s cannot be looked at: %v", settingsFile, err)
	case info.Mode().Perm()&0o077 != 0:
		return fail("chmod 600 "+settingsFile, "%s is open to other users (mode %#o)", absolute(settingsFile), info.Mode().Perm())
	default:
		switch held, err := committed(ctx, settingsFile); {
		case err != nil:
			return unseen("see to it that git does not hold it: git ls-files "+settingsFile, "whether %s is committed could not be seen: %v", settingsFile, err)
		case held:
			return fail("git rm --cached "+settingsFile+", name it in .gitignore, and change every secret in it: the history keeps them", "%s is committed to git", absolute(settingsFile))
		}
	}
	for _, name := range secretNames {
		kept := filepath.Join(p.s.Folder, envsecrets.Folder, name)
		if info, err := os.Stat(kept); err == nil && info.Mode().Perm()&0o077 != 0 {
			return fail("chmod 600 "+kept, "%s is open to other users (mode %#o)", absolute(kept), info.Mode().Perm())
		}
	}
	where := "the environment, " + settingsFile + " or the data folder"
	if p.s.SecretsURL != "env:" {
		where = strings.Trim(maskURL(p.s.SecretsURL), `"`)
	}
	return pass("secrets are read from %s; no file of them is open to others, or committed", where)
}

// committed reports whether git holds a file of the working directory.
func committed(ctx context.Context, file string) (bool, error) {
	at, err := filepath.Abs(".")
	if err != nil {
		return false, err
	}
	for ; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			break
		}
		if at == filepath.Dir(at) {
			return false, nil
		}
	}
	err = exec.CommandContext(ctx, "git", "ls-files", "--error-unmatch", "--", file).Run() //nolint:gosec // G204: the file is settingsFile
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

// secretStrength reads the secrets as a start does, but makes none.
func secretStrength(ctx context.Context, p *patient) finding {
	scheme, _, _ := strings.Cut(p.s.SecretsURL, ":")
	source, cleanup, err := sources[scheme](ctx, p.s, p.get, slog.New(slog.DiscardHandler))
	if err != nil {
		return unseen("see to SECRETS_URL", "the secrets cannot be read: %v", err)
	}
	defer cleanup()
	if scheme == "env" { // which is read anew for a server, and here is what the other checks are about
		source.Secrets = envsecrets.New(p.get)
	}
	found := map[string]string{}
	var seen []string
	for _, name := range []string{app.SecretKey, app.RootKey} {
		text, err := source.Secrets.Get(ctx, name)
		switch {
		case errors.Is(err, ports.ErrNotFound) && scheme == "env" && !p.s.shared() && (name == app.SecretKey || p.s.Environment != production):
			seen = append(seen, name+" is made by the program, of 32 random bytes")
			continue
		case errors.Is(err, ports.ErrNotFound):
			return fail("put one there: xteam secret generate", "%s is not given", name)
		case err != nil:
			return unseen("see to "+name+" in SECRETS_URL", "%s cannot be read: %v", name, err)
		}
		found[name] = text.RevealPlaintext()
		if n := len(found[name]); n < minSecret {
			return fail("replace it: xteam secret generate", "%s has %d bytes, and needs %d", name, n, minSecret)
		}
		if weak := secret.Weakness(text); weak != "" {
			return fail("replace it: xteam secret generate", "%s is a value that %s", name, weak)
		}
		seen = append(seen, fmt.Sprintf("%s has %d bytes of no known pattern", name, len(found[name])))
	}
	if found[app.SecretKey] != "" && found[app.SecretKey] == found[app.RootKey] {
		return fail("give ROOT_KEY a value of its own: xteam secret generate", "ROOT_KEY is SECRET_KEY, which other services may know")
	}
	return pass("%s", strings.Join(seen, "; "))
}

// certificate days below which a renewal is late.
const lateRenewal = 21 * 24 * time.Hour

func tlsOn(_ context.Context, p *patient) finding {
	if why := unfitTLS(&p.s); why != nil {
		return unlike("nothing says that clients reach this service over TLS, or too many may say so", why)
	}
	if p.s.CertFile == "" {
		return pass("a proxy among %v ends TLS: that was said, and is not seen from here", p.s.HTTP.Proxies.Trusted)
	}
	c, err := openCertificate(&p.s)
	if err != nil {
		return fail("give a certificate and the key that belongs to it", "%v", err)
	}
	leaf := c.current.Load().Leaf
	what := fmt.Sprintf("a certificate for %s, valid until %s; TLS 1.2 and 1.3", strings.Join(leaf.DNSNames, ", "), leaf.NotAfter.Format(time.DateOnly))
	switch left := leaf.NotAfter.Sub(p.now); {
	case p.now.Before(leaf.NotBefore):
		return fail("use one that is valid now, or set the clock", "%s; its time begins %s", what, leaf.NotBefore.Format(time.DateTime))
	case left <= 0:
		return fail("renew it; a renewed file is taken up without a restart", "%s: that is over", what)
	case left < lateRenewal:
		return warn("renew it; a renewed file is taken up without a restart", "%s: %d days left", what, int(left/(24*time.Hour)))
	}
	return pass("%s", what)
}

func corsRestricted(_ context.Context, p *patient) finding {
	if why := unfitOrigins(&p.s); why != nil {
		return unlike("pages that are not sure to be yours may read answers: "+readers(&p.s), why)
	}
	if len(p.s.HTTP.Origins.All()) == 0 {
		return pass("no page of another origin may read answers")
	}
	return pass("pages of %s may read answers", readers(&p.s))
}

// readers names the origins whose pages may read answers.
func readers(s *settings) string {
	if s.HTTP.Origins.Any() {
		return "*"
	}
	return strings.Join(s.HTTP.Origins.All(), ", ")
}

func hostsTrusted(_ context.Context, p *patient) finding {
	if why := unfitHosts(&p.s); why != nil {
		return unlike("any Host is answered", why)
	}
	return pass("another Host than those of TRUSTED_HOSTS is refused")
}

func rateLimitOn(_ context.Context, p *patient) finding {
	switch p.s.Limits.Mode {
	case app.Enforce:
		return pass("%d requests a minute of one address, %d sign-ins", p.s.Limits.PerAddress, p.s.Limits.Auth)
	case app.Shadow:
		return fail("RATE_LIMIT_ENABLED=true", "limits are counted, and refuse nothing (shadow)")
	}
	return fail("RATE_LIMIT_ENABLED=true", "limits are off")
}

func tokensLifetime(_ context.Context, p *patient) finding {
	what := fmt.Sprintf("access tokens live %v, unused refresh tokens %d days", p.s.Access, int(p.s.Refresh/day))
	switch {
	case p.s.Access > time.Hour:
		return fail("ACCESS_TOKEN_EXPIRE_MINUTES=30, 60 at most", "%s", what)
	case p.s.Refresh > 30*day:
		return fail("REFRESH_TOKEN_EXPIRE_DAYS=7, 30 at most", "%s", what)
	}
	return pass("%s", what)
}

func dbEncrypted(ctx context.Context, p *patient) finding {
	if p.s.DatabaseURL == "" {
		return pass("the store is a folder of this machine: nothing crosses a network, and personal fields are sealed in it")
	}
	seen, err := pgstore.Look(ctx, p.s.DatabaseURL)
	if err != nil {
		return unseen("see to DATABASE_URL, and run this from where the service runs", "%v", err)
	}
	p.database = &seen
	switch {
	case !seen.Durable:
		return fail("set fsync=on and synchronous_commit=on at the server", "the database acknowledges what a loss of power takes")
	case seen.URL.Local:
		return pass("%s is reached through a socket of this machine", seen.URL.Name)
	case seen.Verified:
		return pass("%s, %s, and its certificate was verified", seen.URL.Name, seen.Protocol)
	case seen.Protocol != "":
		return fail("DATABASE_URL="+seen.URL.Suggestion+", with the password", "%s is encrypted (%s) with whoever answers: no certificate was verified", seen.URL.Name, seen.Protocol)
	}
	return fail("DATABASE_URL="+seen.URL.Suggestion+", with the password", "%s is not encrypted", seen.URL.Name)
}

// seenRedis is a Redis as it was looked at.
type seenRedis struct {
	setting string
	seen    redisstore.Seen
	err     error
}

// ofRedis looks at every Redis of the settings, once, and tells the worst of them.
func ofRedis(judge func(seenRedis) finding) func(context.Context, *patient) finding {
	return func(ctx context.Context, p *patient) finding {
		if p.redis == nil {
			for _, of := range []struct{ setting, url string }{{"REVOCATION_URL", p.s.RevocationURL}, {"RATE_LIMIT_URL", p.s.RateLimitURL}} {
				if of.url == "" || of.url == inMemory || of.setting == "RATE_LIMIT_URL" && of.url == p.s.RevocationURL {
					continue
				}
				one := seenRedis{setting: of.setting}
				o, err := redisstore.Parse(of.url)
				if one.err = err; err == nil {
					one.seen, one.err = redisstore.Look(ctx, o)
				}
				p.redis = append(p.redis, one)
			}
		}
		worst := pass("there is no Redis")
		for i, one := range p.redis {
			var f finding
			if one.err != nil {
				f = unseen("see to "+one.setting+", and run this from where the service runs", "%s: %v", one.setting, one.err)
			} else {
				f = judge(one)
			}
			order := []string{passes, unknown, warns, fails}
			if i == 0 || slices.Index(order, f.Verdict) > slices.Index(order, worst.Verdict) {
				worst = f
			}
		}
		return worst
	}
}

func redisEncrypted(r seenRedis) finding {
	switch {
	case r.seen.Encrypted:
		return pass("%s is TLS, and its certificate was verified", r.setting)
	case r.seen.Local:
		return pass("%s does not leave this machine", r.setting)
	}
	return fail(r.setting+"=rediss://USER:PASSWORD@HOST:PORT", "%s crosses a network in the clear", r.setting)
}

func redisAuth(r seenRedis) finding {
	if r.seen.Asks {
		return pass("%s turns away whoever gives no password", r.setting)
	}
	return fail("give it an ACL user with a password (ACL SETUSER), disable the default user, and name both in "+r.setting, "%s answers whoever asks", r.setting)
}

func redisEviction(r seenRedis) finding {
	switch r.seen.Policy {
	case "":
		return unseen("let its user read CONFIG GET maxmemory-policy or INFO", "%s does not tell its maxmemory-policy", r.setting)
	case "noeviction":
		return pass("%s drops nothing when its memory is full", r.setting)
	}
	return fail("CONFIG SET maxmemory-policy noeviction, and the same in its file", "%s drops keys when its memory is full (%s)", r.setting, r.seen.Policy)
}

func redisDurable(r seenRedis) finding {
	const how = "appendonly yes and appendfsync always in its file"
	switch {
	case r.setting == "RATE_LIMIT_URL":
		return pass("%s holds rate limits alone, which a crash may take", r.setting)
	case r.seen.Durable == redisstore.Nothing:
		return pass("%s has on disk what it acknowledges", r.setting)
	case r.seen.Durable == redisstore.Second:
		return warn(how, "a crash of %s takes up to a second of revocations, which the nodes put back from the database", r.setting)
	case r.seen.Durable == redisstore.Much:
		return warn(how, "a crash of %s takes all revocations since its last snapshot, which the nodes put back from the database", r.setting)
	}
	return unseen("let its user read CONFIG GET append*", "%s does not tell how it writes to disk", r.setting)
}

// redisEntries tells of revocations that lie in Redis and cannot be read. Without the keys it does not see which of the others are forged; the servers do.
func redisEntries(r seenRedis) finding {
	h := r.seen.Held
	switch {
	case r.setting == "RATE_LIMIT_URL":
		return pass("%s holds no revocations", r.setting)
	case !h.Known:
		return unseen("let its user read xteam:{r}:*", "the revocations in %s cannot be looked at", r.setting)
	case h.Damaged > 0:
		return fail("see who else may write there (ACL LIST), give the servers a user of their own, and let one run: it puts them right within two minutes", "of %d revocations in %s, %d cannot be read: something else writes there", h.Looked, r.setting, h.Damaged)
	case h.Later > 0:
		return warn("update the servers that were forgotten", "of %d revocations in %s, %d were written by a later version", h.Looked, r.setting, h.Later)
	}
	return pass("each of %d revocations in %s can be read", h.Looked, r.setting)
}

// dataPermissions looks whose the state is, and who else can get at it.
func dataPermissions(_ context.Context, p *patient) finding {
	folders := []string{p.s.Folder}
	if p.s.Store != "" && p.s.Store != p.s.Folder {
		folders = append(folders, p.s.Store)
	}
	var seen []string
	for _, folder := range folders {
		at := absolute(folder)
		info, err := os.Stat(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			seen = append(seen, at+" is not there yet: it is made for its owner alone")
			continue
		case err != nil:
			return unseen("run this as the service's user", "%s cannot be looked at: %v", at, err)
		}
		uid, known := ownerOf(info)
		if known && !ownsAlone(folder, uid) {
			return fail("chmod go-w "+at+" and the folders above it", "others than user %d can write to %s, or put another in its place", uid, at)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return fail("chmod 700 "+at, "%s is open to other users (mode %#o)", at, info.Mode().Perm())
		}
		if open, mode := opened(folder); open != "" {
			return fail("chmod go-rwx "+open, "%s is open to other users (mode %#o)", open, mode)
		}
		seen = append(seen, fmt.Sprintf("%s and all in it are user %d's alone", at, uid))
	}
	if p.s.LogFile != "" {
		if info, err := os.Stat(p.s.LogFile); err == nil && info.Mode().Perm()&0o007 != 0 {
			return warn("chmod o-rwx "+p.s.LogFile, "the log, which holds addresses of people, is open to every user (mode %#o)", info.Mode().Perm())
		}
	}
	return pass("%s", strings.Join(seen, "; "))
}

// opened is a file or folder under folder that other users can open, looking at so many.
func opened(folder string) (path string, mode fs.FileMode) {
	left := 10_000
	_ = filepath.WalkDir(folder, func(at string, d fs.DirEntry, err error) error {
		if left--; err != nil || left < 0 {
			return fs.SkipAll
		}
		if info, err := d.Info(); err == nil && info.Mode().Type() != fs.ModeSymlink && info.Mode().Perm()&0o077 != 0 {
			path, mode = absolute(at), info.Mode().Perm()
			return fs.SkipAll
		}
		return nil
	})
	return path, mode
}
