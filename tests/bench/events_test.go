package bench_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/eventfile"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/metrics"
	"github.com/xteam/xteam/adapters/syslog"
	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// eventful is the folder of a process that is the product with what it does about events, or without: eventsAre says which.
const (
	eventful  = "XTEAM_BENCH_EVENTS_IN"
	eventsAre = "XTEAM_BENCH_EVENTS"
	eventsTo  = "XTEAM_BENCH_EVENTS_TO" // the receivers of a webhook and of syslog, parted by a space

	eventsOn  = "on"  // journal, live feed, metrics, trail with checkpoints, alerts, and a file, a webhook and syslog that everything goes to
	eventsOff = "off" // nobody is told of anything: no event is committed, linked, judged or delivered
)

// BenchmarkEvents asks two servers that differ in what they do about events, in turns, what a guarded request costs them: one that is let in, one that is refused, which is told of and counted, and
// one that is let in while others sign in and out. What the server does beside the requests counts too: it is the processor time of the whole process.
func BenchmarkEvents(b *testing.B) {
	with, without := serveEvents(b, eventsOn), serveEvents(b, eventsOff)
	const connections, rounds, each, stream = 32, 41, 300 * time.Millisecond, 40 // short rounds: others share the machine
	compare := func(figure string, status int, token func(s *server) string) {
		spent := func(s *server) func() float64 {
			request := []byte("GET " + verifyPath + " HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAuthorization: Bearer " + token(s) + "\r\n\r\n")
			return func() float64 {
				before := s.spent(b)
				n := s.ask(b, status, request, connections, each)
				return float64((s.spent(b) - before).Nanoseconds()) / 1000 / float64(n)
			}
		}
		on, off := spent(with), spent(without)
		on()
		off()
		costs, least := inTurns(rounds, on, off)
		ratio := costs.over(least)
		metric(b, ratio.median(), "x-of-no-events")
		report.add(row{figure: figure, goal: "≤ 1.05 × without events", measured: costs.show("%.1f") + " µs", baseline: "without " + least.shown("%.1f", "µs"), ratio: ratio.show("%.3f"), met: ratio.median() <= 1.05})
	}
	signedIn := func(s *server) string { text, _ := s.signIn(b); return text }
	compare("a guarded request that is let in (forward-auth), processor time with all that events do", http.StatusOK, signedIn)

	ctx, stop := context.WithCancel(b.Context())
	var others sync.WaitGroup
	for _, s := range []*server{with, without} {
		others.Go(func() { s.comeAndGo(ctx, b, stream) })
	}
	compare(fmt.Sprintf("the same while %d a second sign in and out", stream), http.StatusOK, signedIn)
	stop()
	others.Wait()

	if err := without.cmd.Process.Signal(syscall.SIGUSR1); err != nil { // from now on it makes no events
		b.Fatal(err)
	}
	compare("a guarded request that is refused, told of and counted", http.StatusUnauthorized, func(*server) string { return expired(b) })
}

// spent is the processor time that the server's threads have used, which the kernel knows more finely than what cpu reads. A thread that has ended is missing in it; Go's seldom do.
func (s *server) spent(b *testing.B) (all time.Duration) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		b.Fatalf("no threads are listed: %v", err) // it takes Linux
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		var ran int64
		if _, err := fmt.Sscan(string(text), &ran); err != nil {
			b.Fatal(err)
		}
		all += time.Duration(ran)
	}
	return all
}

// expired is a token that was good an hour ago.
func expired(b *testing.B) string {
	was := instant.Unix(time.Now().Unix()).Add(-2 * time.Hour)
	text, err := newCodec(b, jwtcodec.Options{}).Sign(token.Claims{ID: random[id.Token](), Subject: random[id.User](), Session: random[id.Session](), Issuer: "xteam", Audience: []string{"xteam"}, ClientID: "xteam",
		Roles: []string{"user"}, Generation: 1, IssuedAt: was, NotBefore: was, ExpiresAt: was.Add(time.Hour)})
	if err != nil {
		b.Fatal(err)
	}
	return text.RevealPlaintext()
}

// ask keeps connections busy with one request for a while, and answers how many answers there were; each must have the status.
func (s *server) ask(b *testing.B, status int, request []byte, connections int, d time.Duration) (answered int) {
	b.Helper()
	ctx, stop := context.WithTimeout(b.Context(), d)
	defer stop()
	begins := []byte("HTTP/1.1 " + strconv.Itoa(status) + " ")
	if status == http.StatusOK {
		begins = ok
	}
	counts, faults := make([]int, connections), make([]error, connections)
	var group sync.WaitGroup
	for i := range connections {
		group.Go(func() {
			counts[i], faults[i] = driveFor(ctx, strings.TrimPrefix(s.base, "http://"), begins, [][]byte{request}, 0)
		})
	}
	group.Wait()
	for i := range connections {
		if faults[i] != nil {
			b.Fatal(faults[i])
		}
		answered += counts[i]
	}
	return answered
}

// comeAndGo signs in and out, so many times a second, until ctx ends.
func (s *server) comeAndGo(ctx context.Context, b *testing.B, every int) {
	tick := time.NewTicker(time.Second / time.Duration(every))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.comeAndGoOnce(n % comers); err != nil {
			b.Error(err)
			return
		}
	}
}

// comers are users who sign in and out: of many sessions of one user each sign-in would have to read all.
const comers = 100

func comer(n int) string { return fmt.Sprintf("comer%d@example.com", n) }

func (s *server) comeAndGoOnce(n int) error {
	resp, err := client.Post(s.base+"/api/v1/auth/login", "application/json", strings.NewReader(`{"email":"`+comer(n)+`","password":"`+password+`"}`))
	if err != nil {
		return err
	}
	var in struct {
		Token string `json:"access_token"`
	}
	err = errors.Join(json.NewDecoder(resp.Body).Decode(&in), resp.Body.Close())
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("sign in: got %d (%w)", resp.StatusCode, err)
	}
	if status, err := s.status(http.MethodPost, logoutPath, in.Token); err != nil || status != http.StatusNoContent && status != http.StatusServiceUnavailable {
		return fmt.Errorf("log-out: got %d (%w)", status, err)
	}
	return nil
}

// serveEvents starts the product's use cases in a process of their own, with what events do or without.
func serveEvents(b *testing.B, are string) *server {
	b.Helper()
	folder := b.TempDir()
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(hook.Close)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{eventful + "=" + folder, eventsAre + "=" + are, eventsTo + "=" + hook.URL + " " + receiveSyslog(b)}
	return launch(b, cmd)
}

// receiveSyslog takes whatever comes, and closes in its turn.
func receiveSyslog(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
		}
	}()
	return "syslog://" + l.Addr().String()
}

// The rest is the other process.

// beEventful serves until it is told to end.
func beEventful(folder string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := withEvents(ctx, folder, os.Getenv(eventsAre) == eventsOn, os.Getenv(eventsTo)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// chain runs steps until one fails, and remembers what closes what the others have opened.
type chain struct {
	err   error
	close []func()
}

func (c *chain) end() {
	for i := len(c.close) - 1; i >= 0; i-- {
		c.close[i]()
	}
}

func opened[T any](c *chain, step func() (T, func(), error)) (is T) {
	if c.err != nil {
		return is
	}
	is, done, err := step()
	if c.err = err; err == nil && done != nil {
		c.close = append(c.close, done)
	}
	return is
}

// begun is opened for what cannot fail.
func begun[T any](c *chain, step func() (T, func())) (is T) {
	return opened(c, func() (T, func(), error) {
		is, done := step()
		return is, done, nil
	})
}

// withEvents is the product on the embedded store, with all that is done about events, or without any of it.
func withEvents(ctx context.Context, folder string, on bool, receivers string) error {
	const plenty = ratelimit.MaxCapacity
	registry := metrics.New()
	o := assembly.Options{Tunables: tunables, Node: "bench", Meter: registry, Limits: app.LimiterOptions{PerAddress: plenty, Auth: plenty, Read: plenty, Write: plenty}}
	out, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return err
	}
	defer out.Close()
	log, err := journal.NewLogger(out, slog.LevelInfo, "json")
	if err != nil {
		return err
	}
	secrets := assembly.OpenSecrets(assembly.Source{Secrets: envsecrets.New(func(name string) (string, bool) {
		v, has := map[string]string{app.SecretKey: signing.RevealPlaintext(), app.RootKey: rootKey}[name]
		return v, has
	}), Name: "the benchmark"}, folder, log)
	c := &chain{}
	defer func() { c.end() }()
	db := opened(c, func() (assembly.Database, func(), error) {
		return assembly.OpenBadger(ctx, folder, 0, secrets, log)
	})
	if c.err != nil {
		return c.err
	}
	codec, told := assembly.NewCodec(), log
	if !on {
		told = slog.New(slog.DiscardHandler)
		db.Stores.Accounts, db.Stores.Sessions, db.Stores.Events = mutedAccounts{db.Stores.Accounts}, mutedSessions{db.Stores.Sessions}, mutedEvents{db.Stores.Events}
	}
	v := opened(c, func() (*view.View, func(), error) { return assembly.StartView(ctx, db, nil, o, log) })
	live := begun(c, func() (*app.Live, func()) {
		if !on {
			return assembly.StartLive(ctx, journal.New(told), db, assembly.Options{})
		}
		return assembly.StartLive(ctx, journal.New(told), db, o)
	})
	buckets := assembly.NewBuckets()
	limiter := opened(c, func() (*app.Limiter, func(), error) { return assembly.StartLimiter(ctx, buckets, nil, o, live, log) })
	if c.err != nil {
		return c.err
	}
	core, err := assembly.StartCore(ctx, db, v, codec, plain{}, live, limiter, nil, o, log)
	if err != nil {
		return err
	}
	if !on {
		core.Limiter = nil // which would count what is refused, for the alerts
		core.Random = silenced()
	}
	guard := app.NewGuard(core)
	keys := begun(c, func() (*app.APIKeys, func()) { return assembly.StartAPIKeys(ctx, core, guard) })
	sessions := begun(c, func() (*app.Sessions, func()) { return assembly.StartSessions(ctx, core) })
	accounts := app.NewAccounts(core)
	revoker := assembly.NewRevoker(core, sessions, o)
	rotator := opened(c, func() (*app.Rotator, func(), error) {
		return assembly.StartRotator(ctx, core, codec, db, secrets, o, log)
	})
	pending := opened(c, func() (*app.Pending, func(), error) { return assembly.StartPending(ctx, core, db, log) })
	var trail *app.Trail
	if on {
		o.Trail.Send = appendTo(filepath.Join(folder, "checkpoints"))
		trail = begun(c, func() (*app.Trail, func()) { return assembly.StartTrail(ctx, core, db, o, log) })
	}
	blocks := opened(c, func() (*app.Blocks, func(), error) { return assembly.StartBlocks(ctx, core, o, log) })
	var alerts *app.Alerts
	if on {
		alerts = opened(c, func() (*app.Alerts, func(), error) {
			return assembly.StartAlerts(ctx, core, trail, blocks, revoker, o, log)
		})
	}
	if c.err != nil {
		return c.err
	}
	tethers := begun(c, func() (*app.Tethers, func()) { return assembly.StartTethers(ctx, core, guard, blocks, o, log) })
	incidents := opened(c, func() (*app.Incidents, func(), error) {
		return assembly.StartIncidents(ctx, core, accounts, revoker, blocks, keys, trail, tethers, o, log)
	})
	if c.err != nil {
		return c.err
	}
	nodes := opened(c, func() (*app.Nodes, func(), error) {
		return assembly.StartNodes(ctx, core, db, nil, blocks, incidents, o, log)
	})
	streams, err := assembly.NewStreams(core, db, buckets, tethers, live, o)
	if err = errors.Join(err, c.err); err != nil {
		return err
	}
	if on {
		begun(c, func() (*app.Sinks, func()) { return everySink(ctx, core, folder, receivers, log) })
	}
	api := assembly.NewAPI(db, v, guard, keys, limiter, sessions, accounts, app.NewSetUp(core, accounts), revoker, rotator, pending, trail, alerts, incidents, assembly.NewDisowner(core, db), blocks, nodes, nil, secrets, streams, o, log)
	for n := -1; n < comers; n++ {
		who := app.Registration{Email: must(account.ParseEmail(email)), Username: must(account.ParseUsername("bench")), Password: secret.New(password)}
		if n >= 0 {
			who.Email, who.Username = must(account.ParseEmail(comer(n))), must(account.ParseUsername(fmt.Sprintf("comer%d", n)))
		}
		if _, err := accounts.Create(ctx, app.Actor{Name: app.Operator}, who, account.RoleUser); err != nil {
			return err
		}
	}
	return serveUntil(ctx, api.Handler(), log)
}

// serveUntil serves on a free port until ctx ends.
func serveUntil(ctx context.Context, h http.Handler, log *slog.Logger) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := httpapi.Server(h, log)
	done := make(chan error, 1)
	go func() { done <- s.Serve(httpapi.Plain(l)) }()
	fmt.Printf("ready http://%s\n", l.Addr())
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
	}
	_ = s.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// silenced is random until SIGUSR1, and from then on fails: so no event is made any more of what is refused.
func silenced() io.Reader {
	r := &randomUntil{}
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGUSR1)
	go func() { <-heard; r.over.Store(true) }()
	return r
}

type randomUntil struct{ over atomic.Bool }

func (r *randomUntil) Read(b []byte) (int, error) {
	if r.over.Load() {
		return 0, io.ErrClosedPipe
	}
	return rand.Read(b)
}

// everySink delivers everything to a file, a webhook and a receiver of syslog.
func everySink(ctx context.Context, core *app.Core, folder, receivers string, log *slog.Logger) (*app.Sinks, func()) {
	var hook, sys string
	if _, err := fmt.Sscan(receivers, &hook, &sys); err != nil {
		panic(err)
	}
	post := must(webhook.New(webhook.Options{URL: hook, Private: true, Secret: secret.New("a secret of the benchmark's webhook")}))
	sinks := must(app.NewSinks(core, log, app.SinkOptions{Name: "file", Sink: eventfile.New(filepath.Join(folder, "events"))},
		app.SinkOptions{Name: "webhook", Sink: webhook.NewSink(post)}, app.SinkOptions{Name: "syslog", Sink: must(syslog.New(syslog.Options{URL: sys}))}))
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); sinks.Run(ctx) }()
	return sinks, func() { cancel(); <-done }
}

// appendTo writes checkpoints as the product does.
func appendTo(path string) func(context.Context, []byte) error {
	return func(_ context.Context, line []byte) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(line)
		return errors.Join(err, f.Sync(), f.Close())
	}
}

// plain are passwords that are not hashed: what that costs is no event's.
type plain struct{}

func (plain) Hash(_ context.Context, p secret.Text) (secret.Text, error) { return p, nil }

func (plain) Compare(_ context.Context, hash, p secret.Text) (ok, upgrade bool, err error) {
	return hash.RevealPlaintext() == p.RevealPlaintext(), false, nil
}

// Stores that commit what they are given, less the events.

type mutedEvents struct{ ports.Events }

func (mutedEvents) Record(context.Context, ...audit.Event) error { return nil }

type mutedSessions struct{ ports.Sessions }

func (s mutedSessions) Create(ctx context.Context, one session.Session, e ports.Effects) error {
	e.Events = nil
	return s.Sessions.Create(ctx, one, e)
}

func (s mutedSessions) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	return s.Sessions.Update(ctx, sid, func(was session.Session) (session.Session, ports.Effects, error) {
		is, e, err := change(was)
		e.Events = nil
		return is, e, err
	})
}

type mutedAccounts struct{ ports.Accounts }

func (s mutedAccounts) Update(ctx context.Context, uid id.User, change func(account.Account) (account.Account, ports.Effects, error)) error {
	return s.Accounts.Update(ctx, uid, func(was account.Account) (account.Account, ports.Effects, error) {
		is, e, err := change(was)
		e.Events = nil
		return is, e, err
	})
}
