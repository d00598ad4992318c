package security_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/id"
)

// asvsExhibits are of OWASP ASVS 5.0, of pages in browsers and of SQL.
var asvsExhibits = []exhibit{
	{ids: []string{"ASVS-6.2.1", "ASVS-6.2.9"}, play: lengthsOfPasswords, tests: []string{"domain/account/password_test.go:TestPassword"}},
	{ids: []string{"ASVS-6.2.4", "ASVS-6.2.12"}, play: commonPasswords, tests: []string{"domain/account/password_test.go:TestCommonPassword"}},
	{ids: []string{"ASVS-6.2.5", "ASVS-6.2.8"}, play: passwordsAsTheyAre},
	{ids: []string{"ASVS-6.1.1", "ASVS-6.3.1"}, play: guessedFromEverywhere, tests: []string{"app/attempts_test.go:TestKnownNetworksHaveTheirOwn"}},
	{ids: []string{"ASVS-6.3.8"}, play: takenNames},
	{ids: []string{"ASVS-6.4.1"}, play: setUpOnce, tests: []string{"app/setup_test.go:TestSetUpAtOnce", "tests/e2e/setup_test.go:TestSetUpLink"}},
	{ids: []string{"ASVS-7.2.3"}, play: idsAreChance},
	{ids: []string{"ASVS-7.2.4"}, play: chosenSessionID},
	{ids: []string{"ASVS-7.3.1", "ASVS-7.3.2"}, play: sessionsEnd, tests: []string{"domain/session/session_test.go:TestTheAbsoluteEndStands"}},
	{ids: []string{"ASVS-7.4.1", "ASVS-7.4.2", "ASVS-7.4.3", "ASVS-7.4.4", "ASVS-7.4.5"}, play: whatEndsSessions},
	{ids: []string{"ASVS-7.5.1"}, play: currentPasswordIsAsked},
	{ids: []string{"ASVS-7.5.2"}, play: ownSessions},
	{ids: []string{"ASVS-8.2.3", "CVE-2026-27946"}, play: massAssignment},
	{ids: []string{"ASVS-9.1.1"}, play: signaturesOfOthers},
	{ids: []string{"ASVS-9.1.2"}, play: algorithmConfusion, tests: []string{"adapters/jwtcodec/keys_test.go:TestAnAlgorithmIsItsKeys"}},
	{ids: []string{"ASVS-9.1.3"}, play: kidIsAName},
	{ids: []string{"ASVS-9.2.1", "ASVS-9.2.3", "ASVS-9.2.4"}, play: everyCheckRefuses},
	{ids: []string{"ASVS-9.2.2"}, play: typesOfTokens},
	{ids: []string{"ASVS-13.2.6"}, why: "that each pool, timeout and retry is a documented setting is a property of the table of settings, which is held against the README", tests: []string{"cmd/xteam/readme_test.go:TestReadmeSettings", "adapters/pgstore/store_test.go:TestPoolExhausted"}},
	{ids: []string{"ASVS-13.3.1", "CVE-2026-40173"}, play: nothingForDebugging, tests: []string{"cmd/xteam/settings_test.go:TestSettingsRefused"}},
	{ids: []string{"ASVS-13.4.2"}, play: productionTellsNothing},
	{ids: []string{"ASVS-13.4.4"}, play: noTrace},
	{ids: []string{"ASVS-13.4.5"}, why: "it is of the server's listeners, which the program itself shows with METRICS_ADDR set", tests: []string{"tests/e2e/metrics_test.go:TestMetrics", "cmd/xteam/edge_test.go:TestMetricsForAnybody"}},
	{ids: []string{"ASVS-16.2.1", "ASVS-16.3.1", "ASVS-16.3.2"}, play: refusalsLeaveEvents, tests: []string{"app/events_test.go:TestEveryActIsTold"}},
	{ids: []string{"ASVS-16.5.4"}, play: oneFormOfRefusal, tests: []string{"adapters/httpapi/api_test.go:TestPanic"}},
	{ids: []string{"CORS", "CVE-2024-25124", "CVE-2024-41657"}, play: foreignOrigins, tests: []string{"adapters/httpapi/cors_test.go:TestCORSLookAlikes", "cmd/xteam/edge_test.go:TestCookieMode"}},
	{ids: []string{"CSRF", "CVE-2025-47910", "CVE-2025-24358"}, play: otherPagesRequests, tests: []string{"adapters/httpapi/cookies_test.go:TestCookiesOfOtherPages"}},
	{ids: []string{"SQL"}, play: textThatLooksLikeSQL, tests: []string{"adapters/pgstore/store_test.go:TestTextThatLooksLikeSQL"}},
	{ids: []string{"CVE-2024-27304"}, why: "a message to PostgreSQL would have to be of 4 GiB, and no body is longer than 1 MiB: what remains is pgx's own, whose version is held by go.mod and looked at by govulncheck", tests: []string{"adapters/pgstore/store_test.go:TestTextThatLooksLikeSQL"}},
	{ids: []string{"CVE-2026-41889"}, why: "it is of the protocol that is spoken with a real PostgreSQL, where the simple one is shown to be refused", tests: []string{"adapters/pgstore/open_test.go:TestNeverTheSimpleProtocol"}},

	{ids: []string{"ASVS-5.2.1"}, play: filesAreStopped, tests: []string{"domain/upload/upload_test.go:TestTheSizeIsRefusedWhileItComes", "app/uploads_test.go:TestWhatIsRefusedLeavesNothing"}},
	{ids: []string{"ASVS-5.2.2"}, play: contentAgrees, tests: []string{"domain/upload/upload_test.go:TestContentMustAgreeWithTheName", "domain/upload/upload_test.go:TestAnExtensionIsAskedOfTheLabel", "adapters/mimetypes/mimetypes_test.go:TestNamesAndContentsAgree"}},
	{ids: []string{"ASVS-5.2.4"}, play: quotas, tests: []string{"app/uploads_test.go:TestTheQuotaHoldsOnSeveralNodesAtOnce", "app/uploads_test.go:TestWhatIsOnItsWayIsWithinTheQuota"}},
	{ids: []string{"ASVS-5.3.1", "ASVS-5.3.2", "CVE-2026-6815"}, play: namesAreLabels, tests: []string{"domain/upload/upload_test.go:TestALabelIsANameThatEverySystemTakes", "adapters/diskfiles/diskfiles_test.go:TestALinkLeadsNowhere"}},
	{ids: []string{"flood-uploads"}, why: "what a broken or slow upload leaves is the port's contract, which each store of files is held to", tests: []string{"adapters/diskfiles/diskfiles_test.go:TestFiles", "app/uploads_test.go:TestTheRecordDecides"}},
}

func (n *node) register(name, pass string) answer {
	return n.post(v1+"/auth/register", object{"email": name + "@example.com", "username": name, "password": pass}, "")
}

func lengthsOfPasswords(t *testing.T) {
	n := one(t, plan{})
	for i, c := range []struct {
		pass   string
		status int
	}{
		{"x7Qp2vK", 422}, {"x7Qp2vKz", 201}, {strings.Repeat("x7Qp2vKz", 8), 201}, {strings.Repeat("äöü", 12), 201}, {strings.Repeat("äöü", 12) + "a", 422}, {"", 422}, {strings.Repeat("x7Qp2vKz", 9), 201}, {strings.Repeat("x7Qp2vKz", 9) + "a", 422}, {strings.Repeat("x", 100_000), 422},
	} {
		name := fmt.Sprint("user", i)
		if a := n.register(name, c.pass); a.status != c.status {
			t.Errorf("%d bytes: %d %s, want %d", len(c.pass), a.status, a.body, c.status)
		}
		if c.status != http.StatusCreated {
			continue
		}
		in := func(pass string) int {
			return n.post(v1+"/auth/login", object{"username": name, "password": pass}, "").status
		}
		if got := in(c.pass); got != http.StatusOK {
			t.Errorf("%d bytes do not sign in: %d", len(c.pass), got)
		}
		if got := in(c.pass[:len(c.pass)-1]); got == http.StatusOK {
			t.Errorf("%d bytes were cut", len(c.pass))
		}
	}
}

func commonPasswords(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, pass := range []string{"password", "12345678", "qwertyuiop", "PASSWORD1", "iloveyou1", "letmein123", "welcome1", "changeme"} {
		if a := n.register("bea", pass); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s at registration: %d", pass, a.status)
		}
		if a := n.post(v1+"/auth/change-password", object{"current_password": password, "new_password": pass}, ann.access); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s at a change: %d", pass, a.status)
		}
		if g := n.graphql("mutation($p: String!) { register(input: {email: \"bea@example.com\", username: \"bea\", password: $p}) { id } }", object{"p": pass}, ""); g.problem() != "validation_failed" {
			t.Errorf("%s by GraphQL: %s", pass, g.body)
		}
	}
}

func passwordsAsTheyAre(t *testing.T) {
	n := one(t, plan{})
	for i, pass := range []string{"onlysmallletterszq", "ONLYGREATLETTERSZQ", "93718264503917", "  blanks at both ends  ", "   \t inside   zq", "ünïcödé zq", "日本語のパスワード", "!!!***((()))zq"} {
		name := fmt.Sprint("user", i)
		if a := n.register(name, pass); a.status != http.StatusCreated {
			t.Errorf("%q: %d %s", pass, a.status, a.body)
		}
		for _, other := range []string{strings.TrimSpace(pass) + "x", strings.ToUpper(pass) + "x", strings.ToLower(pass) + " "} {
			if other != pass && n.post(v1+"/auth/login", object{"username": name, "password": other}, "").status == http.StatusOK {
				t.Errorf("%q signs in as %q", other, pass)
			}
		}
		if got := n.post(v1+"/auth/login", object{"username": name, "password": pass}, ""); got.status != http.StatusOK {
			t.Errorf("%q does not sign in", pass)
		}
	}
}

func guessedFromEverywhere(t *testing.T) {
	rules, err := alert.ParseRules("failed_sign_ins_by_address=off,password_spraying=off,failed_sign_ins_by_account=off")
	if err != nil {
		t.Fatal(err)
	}
	n := one(t, plan{change: func(o *assembly.Options) {
		o.AlertRules = rules
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 1000, Read: 1000, Write: 1000}
	}})
	boss := n.boss()
	n.user("ann", account.RoleUser)
	own := n.signIn("ann") // from the address that is known from now on
	eventually(t, "events are judged", soon, func() bool { return strings.Contains(n.log.String(), `"duty":"alerts"`) })
	refused := 0
	for i := range few(1000) {
		a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": "a wrong password"}, from: fmt.Sprintf("203.%d.%d.5", i>>8, i&255)})
		if a.status == http.StatusTooManyRequests {
			refused++
		}
		if i%60 == 59 {
			n.turn(time.Minute) // a minute for each sixty
		}
	}
	if refused < few(1000)/2 {
		t.Errorf("%d guesses were refused before any hashing", refused)
	}
	eventually(t, "an alert is raised", soon, func() bool {
		return strings.Contains(n.get(v1+"/admin/alerts", boss.access).body, "guessing_from_many_addresses")
	})
	if a := n.get(v1+"/users/me", n.signIn("ann").access); a.status != http.StatusOK {
		t.Errorf("the owner, from the known address: %d", a.status)
	}
	if a := n.refresh(own.refresh, home, browser); a.status != http.StatusOK {
		t.Errorf("the owner's live session: %d %s", a.status, a.body)
	}
}

func takenNames(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 5, Read: 1000, Write: 1000}
	}})
	n.user("ann", account.RoleUser)
	count := map[int]int{}
	for range 10 {
		count[n.register("ann", "another password of the tests").status]++
	}
	if count[http.StatusConflict] != 5 || count[http.StatusTooManyRequests] != 5 {
		t.Errorf("ten registrations of a taken name: %v", count)
	}
}

func setUpOnce(t *testing.T) {
	n := one(t, plan{})
	first := app.NewSetUp(n.core, n.accounts)
	token, err := first.Offer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.turn(31 * time.Minute)
	reg := func(name string) app.Registration {
		e, _ := account.ParseEmail(name + "@example.com")
		u, _ := account.ParseUsername(name)
		return app.Registration{Email: e, Username: u, Password: token}
	}
	if _, err := first.Use(t.Context(), app.Request{}, token, reg("late")); err == nil {
		t.Error("a link of 31 minutes makes an administrator")
	}
	if token, err = first.Offer(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 20 {
		all.Go(func() {
			if _, err := first.Use(context.Background(), app.Request{}, token, reg(fmt.Sprint("root", i))); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("20 uses at once make %d administrators", made)
	}
	if again, err := first.Offer(t.Context()); err != nil || !again.IsZero() {
		t.Errorf("a link is offered beside an administrator: %v", err)
	}
	if a := n.post(v1+"/setup", object{"token": token.RevealPlaintext(), "email": "z@example.com", "username": "zoe", "password": password}, ""); a.status != http.StatusForbidden {
		t.Errorf("the link again: %d %s", a.status, a.body)
	}
}

func idsAreChance(t *testing.T) {
	seen := make(map[id.Session]bool, 1_000_000)
	for range few(1_000_000) {
		one, err := id.New[id.Session](rand.Reader)
		if err != nil || seen[one] {
			t.Fatalf("after %d ids %v comes twice: %v", len(seen), one, err)
		}
		seen[one] = true
	}
	n := one(t, plan{})
	n.user("ann", account.RoleUser)
	texts := map[string]bool{}
	for range 50 {
		in := n.signIn("ann")
		if len(in.refresh) < 43 || texts[in.refresh] || texts[in.access] {
			t.Fatalf("%d characters", len(in.refresh))
		}
		texts[in.refresh], texts[in.access] = true, true
	}
}

func sessionsEnd(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Tunables.Refresh, o.Tunables.Session = 2*24*time.Hour, 5*24*time.Hour
	}})
	used := n.ann()
	for day := range 5 {
		idle := n.signIn("ann")
		n.turn(24*time.Hour - time.Second)
		a := n.refresh(used.refresh, home, browser)
		if a.status != http.StatusOK {
			t.Errorf("day %d: %d %s", day+1, a.status, a.body)
		}
		used = tokensOf(a)
		if day > 0 {
			continue
		}
		other := n.signIn("ann")
		n.turn(-24*time.Hour + time.Second)
		n.turn(2*24*time.Hour + time.Second)
		if a := n.refresh(idle.refresh, home, browser); a.status != http.StatusUnauthorized || a.code() != "token_expired" {
			t.Errorf("a session that was idle for two days: %d %s", a.status, a.body)
		}
		if a := n.refresh(other.refresh, home, browser); a.status != http.StatusOK {
			t.Errorf("one that was idle for one: %d %s", a.status, a.body)
		}
		n.turn(-24*time.Hour - 2*time.Second)
	}
	n.turn(time.Minute)
	if a := n.refresh(used.refresh, home, browser); a.status != http.StatusUnauthorized {
		t.Errorf("after its absolute end: %d %s", a.status, a.body)
	}
}

func whatEndsSessions(t *testing.T) {
	n := one(t, plan{})
	boss := n.boss()
	n.user("ann", account.RoleUser)
	for name, end := range map[string]func(tokens){
		"log-out":            func(a tokens) { n.post(v1+"/auth/logout", nil, a.access) },
		"log-out everywhere": func(tokens) { n.post(v1+"/auth/logout-all", nil, n.signIn("ann").access) },
		"an administrator":   func(tokens) { n.post(v1+"/admin/revoke-user-tokens", object{"user_id": "ann"}, boss.access) },
		"disabling":          func(tokens) { n.post(v1+"/admin/users/ann/disable", object{}, boss.access) },
		"a change of password": func(tokens) {
			n.post(v1+"/auth/change-password", object{"current_password": password, "new_password": password + "2"}, n.signIn("ann").access)
		},
		"another's new password": func(tokens) { n.post(v1+"/admin/users/ann/password", object{"password": password + "3"}, boss.access) },
		"a change of role":       func(tokens) { n.post(v1+"/admin/users/ann/role", object{"role": "admin"}, boss.access) },
	} {
		in := n.signIn("ann")
		n.takenEverywhere(in.access)
		end(in)
		n.refusedEverywhere(in.access, "token_revoked")
		if a := n.refresh(in.refresh, home, browser); a.status != http.StatusUnauthorized && name != "a change of role" {
			t.Errorf("%s: a refresh: %d %s", name, a.status, a.body)
		}
		n.post(v1+"/admin/users/ann/enable", object{}, boss.access)
		n.post(v1+"/admin/users/ann/password", object{"password": password}, boss.access)
		n.post(v1+"/admin/users/ann/role", object{"role": "user"}, boss.access)
		if a := n.get(v1+"/users/me", in.access); a.status != http.StatusUnauthorized {
			t.Errorf("%s: the token is good again: %d", name, a.status)
		}
	}
}

func currentPasswordIsAsked(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, body := range []object{{"email": "new@example.com"}, {"email": "new@example.com", "current_password": "a wrong password"}, {"email": "new@example.com", "current_password": ""}} {
		if a := n.ask(request{method: "PATCH", path: v1 + "/users/me", body: body, bearer: ann.access}); a.status != http.StatusUnprocessableEntity && a.status != http.StatusUnauthorized {
			t.Errorf("%v: %d %s", body, a.status, a.body)
		}
	}
	if a := n.post(v1+"/auth/change-password", object{"current_password": "a wrong password", "new_password": "another password of the tests"}, ann.access); a.status != http.StatusUnauthorized {
		t.Errorf("a wrong current password: %d %s", a.status, a.body)
	}
	if a := n.get(v1+"/users/me", ann.access); !strings.Contains(a.body, "ann@example.com") {
		t.Errorf("%s", a.body)
	}
	if a := n.ask(request{method: "PATCH", path: v1 + "/users/me", body: object{"email": "new@example.com", "current_password": password}, bearer: ann.access}); a.status != http.StatusOK {
		t.Errorf("with the current password: %d %s", a.status, a.body)
	}
}

func ownSessions(t *testing.T) {
	n := one(t, plan{})
	first := n.ann()
	second := n.signIn("ann")
	a := n.get(v1+"/auth/sessions", second.access)
	items, _ := a.json["items"].([]any)
	if len(items) != 2 {
		t.Fatalf("%s", a.body)
	}
	_, claims := parts(t, first.access)
	if a := n.ask(request{method: "DELETE", path: v1 + "/auth/sessions/" + claims["sid"].(string), bearer: second.access}); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	n.refusedEverywhere(first.access, "token_revoked")
	n.takenEverywhere(second.access)
}

func massAssignment(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, member := range []string{"roles", "role", "gen", "generation", "id", "email_verified", "is_active", "disabled", "created_at", "password_hash", "epoch", "Role", "is_admin"} {
		for _, value := range []any{"admin", []string{"admin"}, true, 99} {
			body := object{"email": "bea@example.com", "username": "bea", "password": password + "!", member: value}
			if a := n.post(v1+"/auth/register", body, ""); a.status != http.StatusUnprocessableEntity {
				t.Errorf("register with %s: %d %s", member, a.status, a.body)
			}
			if a := n.ask(request{method: "PATCH", path: v1 + "/users/me", body: object{"full_name": "Ann", member: value}, bearer: ann.access}); a.status != http.StatusUnprocessableEntity {
				t.Errorf("PATCH with %s: %d %s", member, a.status, a.body)
			}
			text, _ := json.Marshal(value)
			if g := n.graphql("mutation { register(input: {email: \"bea@example.com\", username: \"bea\", password: \"xxxxxxxxxxxxxxx\", "+member+": "+string(text)+"}) { id } }", nil, ""); g.problem() == "" {
				t.Errorf("register by GraphQL with %s: %s", member, g.body)
			}
		}
	}
	a := n.get(v1+"/users/me", ann.access)
	if a.text("role") != "user" || a.text("full_name") != "" {
		t.Errorf("something was changed: %s", a.body)
	}
	if a := n.post(v1+"/auth/login", object{"username": "bea", "password": password + "!"}, ""); a.status != http.StatusUnauthorized {
		t.Errorf("bea was made: %d", a.status)
	}
}

func nothingForDebugging(t *testing.T) {
	n := one(t, plan{})
	boss := n.boss()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/vars", "/debug", "/debug/requests", "/.env", "/.git/config", "/server-status", "/actuator/env", "/config", "/backup", "/swagger.json", "/graphql/schema"} {
		for _, bearer := range []string{"", boss.access} {
			if a := n.get(path, bearer); a.status != http.StatusNotFound {
				t.Errorf("%s: %d %.200s", path, a.status, a.body)
			}
		}
	}
	r := run(t, []string{"DATA_DIR=" + t.TempDir(), "SECRET_KEY=" + signingSecret, "ROOT_KEY=" + strings.ToLower(signingSecret) + "Z"}, "", "config")
	if strings.Contains(r.out+r.err, signingSecret) || strings.Contains(r.out+r.err, strings.ToLower(signingSecret)) || r.code != 0 {
		t.Errorf("xteam config: %d %s %s", r.code, r.out, r.err)
	}
}

func productionTellsNothing(t *testing.T) {
	n := one(t, plan{}) // without introspection, as in production
	for _, path := range []string{"/graphiql", "/playground", "/altair", "/voyager"} {
		if a := n.get(path, ""); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	for _, query := range []string{"{ __schema { types { name } } }", "{ __type(name: \"User\") { fields { name } } }", "query { ...F } fragment F on Query { __schema { queryType { name } } }", "{ usres { nodes { id } } }"} {
		a := n.graphql(query, nil, "")
		if strings.Contains(a.body, "queryType") || strings.Contains(a.body, `"fields"`) || strings.Contains(strings.ToLower(a.body), "did you mean") || a.problem() == "" {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	for _, r := range []request{{method: "GET", path: "/nothing"}, {method: "POST", path: v1 + "/auth/login", body: "{"}, {method: "POST", path: "/graphql", body: "{"}} {
		if a := n.ask(r); strings.Contains(a.body, ".go:") || strings.Contains(a.body, "goroutine") || a.header.Get("Server") != "" || a.header.Get("X-Powered-By") != "" {
			t.Errorf("%s: %s %v", r.path, a.body, a.header)
		}
	}
}

func noTrace(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, path := range []string{"/", v1 + "/users/me", v1 + "/auth/verify", v1 + "/auth/verify/x", "/graphql", "/ws", "/healthz", "/nothing"} {
		for _, method := range []string{"TRACE", "TRACK", "CONNECT", "DEBUG"} {
			a := n.ask(request{method: method, path: path, bearer: ann.access, header: http.Header{"X-Test": {"echo"}}})
			if method == "TRACE" && a.status != http.StatusMethodNotAllowed || a.status < 400 && !strings.HasPrefix(path, v1+"/auth/verify") || strings.Contains(a.body, "echo") || strings.Contains(a.body, ann.access) {
				t.Errorf("%s %s: %d %.200s", method, path, a.status, a.body)
			}
		}
	}
}

func refusalsLeaveEvents(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	_, claims := parts(t, ann.access)
	for name, c := range map[string]struct {
		r    request
		kind string
	}{
		"a wrong password": {request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": "x"}}, "authentication_failed"},
		"no permission":    {request{method: "GET", path: v1 + "/admin/users", bearer: ann.access}, "permission_denied"},
	} {
		c.r.from, c.r.header = "203.0.113.44", http.Header{"User-Agent": {"a test"}, "X-Request-Id": {"req-of-a-test"}}
		was := len(n.events())
		n.ask(c.r)
		all, _, err := n.store.Events().List(t.Context(), uint64(was), 100)
		if err != nil || len(all) != 1 {
			t.Errorf("%s: %d events, %v", name, len(all), err)
			continue
		}
		e := all[0]
		if string(e.Kind) != c.kind || e.IPAddress != "203.0.113.44" || e.UserAgent != "a test" || e.RequestID != "req-of-a-test" || e.Time == 0 || e.Outcome != "failure" || e.Subject != claims["sub"] && e.Actor != claims["sub"] {
			t.Errorf("%s: %+v", name, e)
		}
	}
	n.get(v1+"/users/me", "nonsense")
	if !strings.Contains(n.log.String(), "token_malformed") {
		t.Error("a refused token is not in the log")
	}
	for line := range strings.Lines(n.log.String()) {
		var one struct{ Time string }
		if json.Unmarshal([]byte(line), &one) != nil || !strings.HasSuffix(one.Time, "Z") {
			t.Errorf("a line without a time in UTC: %s", line)
		}
	}
}

func foreignOrigins(t *testing.T) {
	origins, err := httpapi.ParseOrigins([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	n := one(t, plan{change: func(o *assembly.Options) { o.HTTP.Origins = origins }})
	for _, origin := range []string{"null", "http://app.example.com", "https://app.example.com.evil.test", "https://evilapp.example.com", "https://app.example.com:8443", "https://APP.example.com.", "https://example.com", "https://app.example.com/", "file://", "https://app.example.com https://evil.test", "*"} {
		for _, r := range []request{{method: "GET", path: v1 + "/users/me"}, {method: "OPTIONS", path: v1 + "/users/me", header: http.Header{"Access-Control-Request-Method": {"PATCH"}}}, {method: "GET", path: "/nothing"}} {
			h := http.Header{"Origin": {origin}}
			for name, v := range r.header {
				h[name] = v
			}
			r.header = h
			if a := n.ask(r); a.header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(strings.Join(a.header["Vary"], ","), "Origin") {
				t.Errorf("%s %s from %s: %v", r.method, r.path, origin, a.header)
			}
		}
	}
	if a := n.ask(request{method: "GET", path: v1 + "/users/me", header: http.Header{"Origin": {"https://app.example.com"}}}); a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("its own: %v", a.header)
	}
	if r := serveOnce(t, "CORS_ORIGINS=*", "COOKIE_MODE=on"); r.code != 1 || !strings.Contains(r.err, "CORS_ORIGINS") {
		t.Errorf("* with cookies: %d %s", r.code, r.err)
	}
}

func otherPagesRequests(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) { o.HTTP.Cookies.On = true }})
	n.user("ann", account.RoleUser)
	begin := func() string { // what ended a session does not hide what follows
		in := n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": password}, header: http.Header{"Origin": {"https://example.com"}, "Sec-Fetch-Site": {"same-origin"}}})
		var cookies []string
		for _, line := range in.header["Set-Cookie"] {
			pair, _, _ := strings.Cut(line, ";")
			cookies = append(cookies, pair)
		}
		if len(cookies) == 0 {
			t.Fatalf("%d %s %v", in.status, in.body, in.header)
		}
		return strings.Join(cookies, "; ")
	}
	for name, h := range map[string]http.Header{
		"cross-site": {"Sec-Fetch-Site": {"cross-site"}}, "same-site": {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://other.example.com"}}, "null": {"Origin": {"null"}}, "plain http": {"Origin": {"http://example.com.evil.test"}}, "a look-alike": {"Origin": {"https://example.com.evil.test"}}, "cross-site that says it is none": {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://example.com"}},
	} {
		for _, path := range []string{"/auth/logout", "/auth/logout-all", "/api-keys", "/auth/refresh", "/auth/logout/", "/auth/../auth/logout", "//auth/logout"} {
			h["Cookie"] = []string{begin()}
			if a := n.ask(request{method: "POST", path: v1 + path, body: "{}", header: h}); a.status < 400 || a.status == http.StatusForbidden && a.code() != "cross_origin" && a.code() != "forbidden" {
				t.Errorf("%s at %s: %d %s", name, path, a.status, a.body)
			}
		}
		h["Cookie"] = []string{begin()}
		if a := n.ask(request{method: "POST", path: "/graphql", body: object{"query": "mutation { logout }"}, header: h}); a.status < 400 && a.problem() == "" {
			t.Errorf("%s by GraphQL: %d %s", name, a.status, a.body)
		}
	}
	cookie := begin()
	if a := n.ask(request{method: "POST", path: v1 + "/auth/logout", body: "a=b", header: http.Header{"Cookie": {cookie}, "Content-Type": {"text/plain"}, "Sec-Fetch-Site": {"same-origin"}}}); a.status != http.StatusUnsupportedMediaType && a.status != http.StatusForbidden {
		t.Errorf("a simple request: %d %s", a.status, a.body)
	}
	if a := n.ask(request{method: "GET", path: v1 + "/users/me", header: http.Header{"Cookie": {cookie}}}); a.status != http.StatusOK {
		t.Errorf("the session ended: %d %s", a.status, a.body)
	}
}

func textThatLooksLikeSQL(t *testing.T) {
	n := one(t, plan{})
	boss := n.boss()
	for i, name := range []string{"'; --", "$1", "$$; drop table accounts; $$", `"; select 1; "`, "\\'; --", "/* */", "%_%", "O'Neil"} {
		a := n.post(v1+"/auth/register", object{"email": fmt.Sprintf("a$$%d@example.com", i), "username": fmt.Sprint("user", i), "full_name": name, "password": "'; -- $1 " + password}, "")
		if a.status != http.StatusCreated || a.text("full_name") != name {
			t.Errorf("%q: %d %s", name, a.status, a.body)
			continue
		}
		in := n.post(v1+"/auth/login", object{"email": fmt.Sprintf("a$$%d@example.com", i), "password": "'; -- $1 " + password}, "")
		if me := n.get(v1+"/users/me", tokensOf(in).access); me.text("full_name") != name || me.text("email") != fmt.Sprintf("a$$%d@example.com", i) {
			t.Errorf("%q comes back as %s", name, me.body)
		}
		if a := n.get(v1+"/admin/users/"+strings.ReplaceAll(urlEscape(name), "+", "%20"), boss.access); a.status != http.StatusNotFound && a.status != http.StatusUnprocessableEntity {
			t.Errorf("a look-up of %q: %d %s", name, a.status, a.body)
		}
	}
}
