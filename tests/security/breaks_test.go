package security_test

// unbreakable are exhibits at which no break is aimed, and why.
var unbreakable = map[string]string{}

// Files that are broken more than once.
const (
	codecFile     = "adapters/jwtcodec/codec.go"
	formFile      = "adapters/jwtcodec/form.go"
	keysFile      = "adapters/jwtcodec/keys.go"
	ringFile      = "adapters/jwtcodec/ring.go"
	scannerFile   = "adapters/jwtcodec/scanner.go"
	readFile      = "adapters/jwks/read.go"
	policyFile    = "domain/token/policy.go"
	sessionFile   = "domain/session/session.go"
	setFile       = "domain/revocation/set.go"
	guardFile     = "app/guard.go"
	sessionsFile  = "app/sessions.go"
	viewFile      = "app/view/view.go"
	accountFile   = "domain/account/account.go"
	passwordFile  = "domain/account/password.go"
	tethersFile   = "app/tethers.go"
	clientFile    = "adapters/httpapi/client.go"
	verifyFile    = "adapters/httpapi/verify.go"
	chainFile     = "adapters/httpapi/chain.go"
	routesFile    = "adapters/httpapi/routes.go"
	problemsFile  = "adapters/httpapi/problems.go"
	decodeFile    = "adapters/httpapi/decode.go"
	pageFile      = "adapters/httpapi/page.go"
	cookiesFile   = "adapters/httpapi/cookies.go"
	corsFile      = "adapters/httpapi/cors.go"
	limitsFile    = "adapters/graphqlapi/limits.go"
	graphHTTPFile = "adapters/graphqlapi/http.go"
	socketFile    = "adapters/graphqlapi/socket.go"
	remoteFile    = "adapters/jwks/remote.go"
)

var breaks = []broken{
	// Tokens.
	{"a token is split at every dot", []edit{
		{formFile, `if first < 1 || last < first+2`, `if len(strings.Split(text, ".")) != 3 || first < 1 || last < first+2`},
	}, []seen{{"CVE-2025-30204 flood-dots", "bytes of the guard"}}},
	{"of an expired token the signature is not asked", []edit{
		{codecFile, `"sync/atomic"`, "\"sync/atomic\"\n\t\"time\""},
		{codecFile, `if !k.verify(p) {`, `if !k.verify(p) && e.claims.ExpiresAt.Seconds() > time.Now().Unix() {`},
	}, []seen{{"CVE-2024-51744", "want invalid until the address"}}},
	{"the signature is not asked", []edit{
		{codecFile, `if !k.verify(p) {`, `if false {`},
	}, []seen{{"CVE-2024-51744", "want invalid until the address"}, {"ASVS-9.1.1", "a signature under another secret: 200"}}},
	{"aud as an array counts as none, and none is good", []edit{
		{policyFile, `if !contains(c.Audience, p.Audience) {`, `if len(c.Audience) > 0 && !contains(c.Audience, p.Audience) {`},
		{scannerFile, `c.Audience, good, ok = s.texts(true)`, `array := s.d.PeekKind() == '['; c.Audience, good, ok = s.texts(true); if array { c.Audience = nil }`},
	}, []seen{{"CVE-2020-26160", "got 200"}}},
	{"the audience is not looked at", []edit{
		{policyFile, `if !contains(c.Audience, p.Audience) {`, `if false {`},
	}, []seen{{"RFC8725-3.9", "another audience: 200"}, {"RFC8725-3.3 ASVS-9.2.3", "aud: 200"}, {"ASVS-9.2.4", "aud: 200"}, {"RFC7662", "for another audience"}}},
	{"the issuer is not looked at", []edit{
		{policyFile, `if c.Issuer != p.Issuer {`, `if false {`},
	}, []seen{{"RFC8725-3.8", "another issuer: 200"}, {"RFC8725-3.3", "iss: 200"}}},
	{"the times of a token are not looked at", []edit{
		{policyFile, `if now >= c.ExpiresAt.Add(p.Leeway) {`, `if false {`},
		{policyFile, `if c.IssuedAt > now.Add(p.Leeway) || c.NotBefore > now.Add(p.Leeway) {`, `if false {`},
	}, []seen{{"ASVS-9.2.1", "expired: 200"}, {"failure-clock-forward", "an hour ahead, a token of half an hour: 200"}}},
	{"no clock may be behind another", []edit{
		{policyFile, `if c.IssuedAt > now.Add(p.Leeway) || c.NotBefore > now.Add(p.Leeway) {`, `if c.IssuedAt > now || c.NotBefore > now {`},
	}, []seen{{"failure-clock-back failure-clock-skew", "want it taken"}}},
	{"the token says by which algorithm it is verified", []edit{
		{scannerFile, `return !h.foreign && h.alg == v.method.Alg()`, `return !h.foreign`},
		{codecFile, `return len(p.signature) == v.size &&`, `return confused(v, p) || len(p.signature) == v.size &&`},
		{keysFile, `// symmetric fills in a key for HS256`, "func confused(v *verifier, p parts) bool {\n\tder, _ := x509.MarshalPKIXPublicKey(v.verifying)\n\treturn v.method.Alg() != \"HS256\" && jwt.SigningMethodHS256.Verify(p.signed, p.signature, der) == nil\n}\n\n// symmetric fills in a key for HS256"},
	}, []seen{{"CVE-2026-33322 RFC8725-3.1 ASVS-9.1.2", "DER under the kid"}}},
	{"none is an algorithm", []edit{
		{scannerFile, `return !h.foreign && h.alg == v.method.Alg()`, `return !h.foreign && (h.alg == "none" || h.alg == v.method.Alg())`},
		{codecFile, `return len(p.signature) == v.size &&`, "return bytes.Contains(p.header, []byte(`\"none\"`)) || len(p.signature) == v.size &&"},
	}, []seen{{"RFC8725-3.2", "with alg none: 200"}}},
	{"a key set need not have keys", []edit{
		{readFile, `if set.Keys == nil {`, `if false {`},
	}, []seen{{"CVE-2024-21664", "was taken as a key set"}}},
	{"a JWE is counted through", []edit{
		{formFile, `"encoding/base64"`, "\"crypto/sha256\"\n\t\"encoding/base64\"\n\t\"encoding/json\""},
		{formFile, "\tvar p parts\n", "\tvar p parts\n\tif all := strings.Split(text, \".\"); len(all) == 5 {\n\t\tvar h struct{ P2c int }\n\t\traw, _ := base64url.DecodeString(all[0])\n\t\t_ = json.Unmarshal(raw, &h)\n\t\tvar sum [32]byte\n\t\tfor range h.P2c / 500 {\n\t\t\tsum = sha256.Sum256(sum[:])\n\t\t}\n\t}\n"},
	}, []seen{{"CVE-2023-49290", "\"p2c\":2000000000}: "}}},
	{"a JWE is inflated", []edit{
		{formFile, `"encoding/base64"`, "\"bytes\"\n\t\"compress/flate\"\n\t\"encoding/base64\"\n\t\"io\""},
		{formFile, "\tvar p parts\n", "\tvar p parts\n\tif all := strings.Split(text, \".\"); len(all) == 5 {\n\t\traw, _ := base64url.DecodeString(all[3])\n\t\t_, _ = io.ReadAll(flate.NewReader(bytes.NewReader(raw)))\n\t}\n"},
	}, []seen{{"CVE-2024-28122", "bytes of the guard"}}},
	{"a JWE without a key is cut out of nothing", []edit{
		{formFile, "\tvar p parts\n", "\tvar p parts\n\tif all := strings.Split(text, \".\"); len(all) == 5 {\n\t\t_ = all[1][0]\n\t}\n"},
	}, []seen{{"CVE-2026-34986", "it panics"}}},
	{"keys of all issuers are cached by kid alone", []edit{
		{ringFile, `"slices"`, "\"slices\"\n\t\"sync\""},
		{ringFile, "\told := r.keys[source.ID]\n", "\tif k, err := readKey(source); err == nil && verifyOnly {\n\t\tone, _ := everyKey.LoadOrStore(source.ID, k)\n\t\treturn one.(*key), nil\n\t}\n\told := r.keys[source.ID]\n"},
		{ringFile, `// newKey is the key of this ring`, "var everyKey sync.Map\n\n// newKey is the key of this ring"},
	}, []seen{{"CVE-2026-49998", "cold, at B: <nil>"}}},
	{"verdicts are cached", []edit{
		{guardFile, `"errors"`, "\"errors\"\n\t\"sync\""},
		{guardFile, "\tclaims, err := g.codec.Parse(bearer)\n", "\tif c, ok := verdicts.Load(bearer); ok {\n\t\treturn c.(Caller), nil\n\t}\n\tclaims, err := g.codec.Parse(bearer)\n"},
		{guardFile, "\treturn Caller{Claims: claims}, g.view.Check(claims)\n}\n", "\terr = g.view.Check(claims)\n\tif err == nil {\n\t\tverdicts.Store(bearer, Caller{Claims: claims})\n\t}\n\treturn Caller{Claims: claims}, err\n}\n\nvar verdicts sync.Map\n"},
	}, []seen{{"CVE-2026-33496", "was revoked: 200"}, {"GHSA-qvp4-rpmr-xwrr", "it is introspected as active"}, {"CVE-2026-9097", "got 200"}}},

	// Sessions.
	{"a refresh is checked in one step and marked in another", []edit{
		{sessionsFile, "is, out = was.Redeem(t, next", "time.Sleep(10 * time.Millisecond)\n\t\tis, out = before.Redeem(t, next"},
		{sessionsFile, "\tacct, whole := &is.Account, is.System\n\tnext, err", "\tacct, whole, before := &is.Account, is.System, is.Session\n\tnext, err"},
	}, []seen{{"CVE-2026-1035", "one refresh token has"}}},
	{"no refresh token may be repeated", []edit{
		{sessionFile, `if t.Counter+1 == s.Counter &&`, `if false &&`},
	}, []seen{{"keycloak/keycloak#49213", "committed: the same token after the recovery: 401"}, {"failure-clock-skew", "the parent does not get its successor again"}}},
	{"every ancestor may be repeated in the grace", []edit{
		{sessionFile, "\tcase live:\n", "\tcase live || now.Sub(s.Last.At) < Grace && t.Counter+1 < s.Counter:\n"},
	}, []seen{{"supabase/auth#466 RFC9700-4.14", "an ancestor within ten seconds: 200"}}},
	{"a reuse ends nothing", []edit{
		{sessionFile, "\ts, _ = s.End(revocation.RefreshReuse, End{Now: now})\n\treturn s, Outcome{Verdict: Reused}", "\treturn s, Outcome{Verdict: Unknown}"},
	}, []seen{{"RFC9700-2.2.2", "after the reuse of its ancestor: 200"}}},
	{"a refresh token is repeated for anybody", []edit{
		{sessionFile, ` && s.Last.From.Same(from) {`, ` {`},
	}, []seen{{"CVE-2026-55672", "with another User-Agent: 200"}}},
	{"the access tokens of an ended session go on", []edit{
		{setFile, `if bySession.maybe() {`, `if false && bySession.maybe() {`},
	}, []seen{{"CVE-2026-56750", "the socket is not closed"}, {"CVE-2025-29928 ASVS-7.5.2", "got 200"}}},
	{"a cookie says which session begins", []edit{
		{"app/app.go", "type Request struct {\n", "type Request struct {\n\tWanted string\n"},
		{"adapters/httpapi/chain.go", "\tagent := x.r.Header.Get(\"User-Agent\")\n\treturn app.Request{ID: x.id,", "\tagent, wanted := x.r.Header.Get(\"User-Agent\"), \"\"\n\tif c, err := x.r.Cookie(\"sid\"); err == nil {\n\t\twanted = c.Value\n\t}\n\treturn app.Request{Wanted: wanted, ID: x.id,"},
		{sessionsFile, "\tfirst, err := s.refreshToken(sid, 1)\n", "\tif one, err := id.Parse[id.Session](r.Wanted); err == nil {\n\t\tsid = one\n\t}\n\tfirst, err := s.refreshToken(sid, 1)\n"},
	}, []seen{{"CVE-2024-38513 ASVS-7.2.4", "which is not fresh"}}},
	{"a source of chance that fails is not noticed", []edit{
		{"domain/id/id.go", "; err != nil {\n\t\treturn zero, err\n\t}\n\tif v == zero", "; err != nil {\n\t\tv[0] = 1\n\t}\n\tif v == zero"},
		{sessionsFile, "if _, err := io.ReadFull(s.core.Random, t.Secret[:]); err != nil {", "if _, err := io.ReadFull(s.core.Random, t.Secret[:]); false {"},
	}, []seen{{"CVE-2025-66630", "a sign-in with 0 bytes of chance: 200"}}},

	// Revocations.
	{"a log-out that was not stored counts as one", []edit{
		{sessionsFile, "e, one)\n\treturn err\n}", "e, one)\n\t_ = err\n\treturn nil\n}"},
	}, []seen{{"CVE-2020-15223", "a log-out that the store did not take: 204"}}},
	{"a view that heard nothing is believed", []edit{
		{viewFile, `if !v.Fresh() {`, `if false {`},
	}, []seen{{"CVE-2022-41316", "a token was taken before the revocations were heard"}, {"failure-closed", "it was not so that nobody is let in"}}},
	{"the store lets a revocation go before its token ends", []edit{
		{"adapters/badgerstore/revocations.go", `item.ExpiresAt = expiry(e.Until)`, `item.ExpiresAt = uint64(time.Now().Unix())`},
	}, []seen{{"CVE-2021-29653", "revoked false"}}},
	{"of two cut-offs the last one counts", []edit{
		{"domain/revocation/rules.go", `next.issued = max(r.issued, e.Before)`, `next.issued = e.Before`},
	}, []seen{{"CVE-2026-8922 CVE-2026-18218", "between two cut-offs"}}},
	{"disabling an account ends nothing", []edit{
		{sessionsFile, `if !ok || acct.Disabled || acct.Decoy {`, `if !ok || acct.Decoy {`},
		{sessionsFile, `err == nil && (now.Disabled || !now.Password.Equal(checked))`, `err == nil && !now.Password.Equal(checked)`},
		{accountFile, `a, e := a.RevokeAll(act, revocation.UserDisabled)`, `a, e := a.raise(act, revocation.UserDisabled)`},
		{accountFile, "\tcase a.Disabled:\n\t\treturn revocation.UserDisabled, false\n\tcase g < a.SessionsFrom:", "\tcase g < a.SessionsFrom:"},
		{accountFile, "\tcase a.Disabled:\n\t\treturn revocation.UserDisabled, false\n\tcase g < a.KeysFrom:", "\tcase g < a.KeysFrom:"},
	}, []seen{{"CVE-2025-14559", "a disabled account's sign-in: 200"}, {"CVE-2026-1609", "a refresh: 200"}, {"CVE-2024-47000", "the API key: 200"}, {"ASVS-7.4.2", "disabling: a refresh: 200"}}},
	{"what should end an account's sessions ends its tokens alone", []edit{
		{accountFile, `return a.Revoke(act, revocation.PasswordChanged)`, `return a.raise(act, revocation.PasswordChanged)`},
		{accountFile, "a, e := a.Revoke(act, why)\n\ta.KeysFrom", "a, e := a.raise(act, why)\n\ta.KeysFrom"},
	}, []seen{{"ASVS-7.4.3", "a change of password: a refresh: 200"}, {"ASVS-7.4.5", "an administrator: a refresh: 200"}}},
	{"a log-out does nothing, and another is for administrators", []edit{
		{sessionsFile, "func (s *Sessions) Logout(ctx context.Context, r Request, c Caller) error {\n", "func (s *Sessions) Logout(ctx context.Context, r Request, c Caller) error {\n\tif true {\n\t\treturn nil\n\t}\n"},
		{routesFile, `path: v1 + "/auth/logout-all", class: write, access: signedIn`, `path: v1 + "/auth/logout-all", class: write, access: admin`},
	}, []seen{{"ASVS-7.4.1", "log-out: a refresh: 200"}, {"ASVS-7.4.4", "log-out everywhere: a refresh: 200"}, {"CVE-2026-9097", "a refresh after the log-out: 200"}}},
	{"what is open outlives its token", []edit{
		{tethersFile, "\tif caller.Claims != nil {\n\t\th.until", "\tif false {\n\t\th.until"},
	}, []seen{{"CVE-2023-40025", "the socket is not closed"}}},
	{"what is open does not hear of revocations", []edit{
		{tethersFile, `cancel := t.view.Subscribe(func(revocation.Entry) { signal(t.wake) })`, `cancel := t.view.Subscribe(func(revocation.Entry) {})`},
		{tethersFile, `err := t.refusal(t.tether(caller, addr, nil), instant.Of(t.now()))`, `var err error`},
	}, []seen{{"appwrite/sdk-for-web#25", "the socket is not closed"}}},
	{"a user is revoked by the clock", []edit{
		{setFile, "if byUser.maybe() {\n\t\t\tearlier(User, s.users.lookup((*[16]byte)(&c.Subject), c.Generation))", "if byUser.maybe() {\n\t\t\tearlier(User, s.users.lookup((*[16]byte)(&c.Subject), 0))"},
	}, []seen{{"CVE-2020-26892", "the new token: 401"}}},

	// Sign-in.
	{"a table of buckets that is full forgets", []edit{
		{"adapters/memstore/shard.go", "\ts.sweep(now)\n\ts.sweepAt = ", "\tfor _, t := range s.tables {\n\t\tclear(t.own)\n\t}\n\ts.sweep(now)\n\ts.sweepAt = "},
	}, []seen{{"CVE-2024-21662", "a full table forgot a spent bucket"}}},
	{"a failed sign-in is of the name that was sent", []edit{
		{sessionsFile, `all[0].Subject = acct.ID.String()`, `all[0].Subject = login`},
	}, []seen{{"CVE-2025-24806", "it was not so that the alert is there"}}},
	{"letter case counts in names", []edit{
		{"domain/account/name.go", `func (u Username) Folded() string { return lower(u.name) }`, `func (u Username) Folded() string { return u.name }`},
	}, []seen{{"CVE-2026-47203", "it was not so that the alert is there"}, {"CVE-2025-6004 CVE-2025-54998", "three spellings of one name have"}}},
	{"for a name that does not exist nothing is hashed", []edit{
		{sessionsFile, "\tok, upgrade, err := s.core.Passwords.Compare(ctx, acct.Password, password) //", "\tif acct.ID.IsZero() {\n\t\ttry.missed()\n\t\treturn Tokens{}, s.failed(ctx, r, login.String(), &acct)\n\t}\n\tok, upgrade, err := s.core.Passwords.Compare(ctx, acct.Password, password) //"},
	}, []seen{{"CVE-2025-6011 CVE-2026-44332 CVE-2026-32595", "compares 0 passwords"}, {"CVE-2025-6011", "they take ["}}},
	{"checks of one password at once are merged", []edit{
		{sessionsFile, `ok, upgrade, err := s.core.Passwords.Compare(ctx, acct.Password, password) //`, `ok, upgrade, err := merged(ctx, s.core.Passwords, acct.Password, password) //`},
		{sessionsFile, `// heldBack has the journal`, "var merging sync.Map\n\ntype merge struct {\n\tonce        sync.Once\n\tok, upgrade bool\n\terr         error\n}\n\nfunc merged(ctx context.Context, p ports.Passwords, hash, password secret.Text) (bool, bool, error) {\n\tone, _ := merging.LoadOrStore(password.RevealPlaintext(), &merge{})\n\tm := one.(*merge)\n\tm.once.Do(func() {\n\t\tm.ok, m.upgrade, m.err = p.Compare(ctx, hash, password)\n\t\ttime.Sleep(10 * time.Millisecond)\n\t\tmerging.Delete(password.RevealPlaintext())\n\t})\n\treturn m.ok, m.upgrade, m.err\n}\n\n// heldBack has the journal"},
	}, []seen{{"CVE-2026-71326 CVE-2026-88010", "of ann's sign-ins are good"}}},
	{"forwarded addresses are believed of anybody, by other headers too", []edit{
		{clientFile, `if !p.trusts(client) {`, `if false {`},
		{clientFile, `return p.forwardedFor(client, r.Header["X-Forwarded-For"]), secure`, `return p.forwardedFor(client, append(r.Header["X-Forwarded-For"][:1:1], r.Header["X_Forwarded_For"]...)), secure`},
		{clientFile, "\treturn p.forwardedFor(client", "\tif len(r.Header[\"X-Forwarded-For\"]) == 0 {\n\t\treturn client, secure\n\t}\n\treturn p.forwardedFor(client"},
	}, []seen{{"CVE-2020-28483 GHSA-3fxj-6jh8-hvhx RFC9700-4.13", "sign-in 6: 401, want 429"}, {"CVE-2025-64484 CVE-2026-52845 CVE-2026-54763", "sign-in 3: 401, want 429"}}},
	{"an identity that a credential lacks is left out, or is what Connection says", []edit{
		{verifyFile, "\th[identitySession] = nobody\n", ""},
		{verifyFile, "\tx.named = true\n", "\tx.named = !strings.Contains(strings.ToLower(x.r.Header.Get(\"Connection\")), \"x-auth-user\")\n"},
	}, []seen{{"CVE-2026-30851", "X-Auth-Session is []"}, {"CVE-2026-29054 GHSA-w9mr-28mw-j8hg", "X-Auth-User is []"}}},
	{"what the client says it asks for decides", []edit{
		{chainFile, "\tif asksForAnother(r.URL.Path) { // the mux", "\tif asksForAnother(r.URL.Path) && r.Header.Get(\"X-Forwarded-Uri\") == \"/public\" {\n\t\tx.WriteHeader(http.StatusOK)\n\t\treturn\n\t}\n\tif asksForAnother(r.URL.Path) { // the mux"},
	}, []seen{{"CVE-2026-35051 CVE-2026-40575", "nobody with map[X-Forwarded-Uri:[/public]]: 200"}}},

	// GraphQL, sockets and API keys.
	{"a document may have any number of directives and fields", []edit{
		{limitsFile, `maxDirectives = 100`, `maxDirectives = 1_000_000`},
		{limitsFile, `maxFields     = 10_000`, `maxFields     = 20_000_000`},
		{limitsFile, `maxRepeats    = 500`, `maxRepeats    = 20_000_000`},
	}, []seen{{"CVE-2023-49559", "of the operation:"}, {"flood-graphql", "a bomb:"}}},
	{"documents are kept for ever", []edit{
		{"adapters/graphqlapi/documents.go", "\tdelete(d.kept, d.ring[d.next])\n", ""},
	}, []seen{{"flood-graphql", "documents leave"}}},
	{"of a GraphQL request the first field alone is charged", []edit{
		{graphHTTPFile, "\tc.charged.Store(true)\n\treturn c.Visit.Admit(r)", "\tif c.charged.Swap(true) {\n\t\tr.Class = app.Exempt\n\t}\n\treturn c.Visit.Admit(r)"},
	}, []seen{{"CVE-2026-35441", "100 aliased sign-ins"}}},
	{"a socket may wait for ever, and leaves its operations behind", []edit{
		{socketFile, `initPatience  = 10 * time.Second`, `initPatience  = 10 * time.Hour`},
		{socketFile, `ctx, cancel := context.WithCancel(s.ctx)`, `ctx, cancel := context.WithCancel(context.Background())`},
	}, []seen{{"gqlgen#2006", "the socket is not closed"}, {"gqlgen#806 gqlgen#1245 gqlgen#2167", "nothing is left of abrupt ends"}}},
	{"a cursor of another list is taken", []edit{
		{"adapters/graphqlapi/lists.go", ` || b[0] != of || length != 0 && len(b) != 1+length {`, ` {`},
	}, []seen{{"CVE-2026-33504", "after a cursor that is"}}},
	{"an API key is worth its owner", []edit{
		{"app/apikeys.go", `if apikey.Granted(acct.Role).Has(s) && c.May(s) {`, `if true {`},
		{"app/apikeys.go", `if err == nil && k.Owner != who.User() {`, `if false {`},
		{chainFile, "\tcase len(own) == 1:\n\t\treturn own[0], true, nil", "\tcase len(own) == 1:\n\t\tr.Header.Set(\"X-Trusted\", \"yes\")\n\t\treturn own[0], true, nil"},
		{chainFile, "\tx.caller = who\n", "\tif x.caller = who; x.r.Header.Get(\"X-Trusted\") != \"\" {\n\t\treturn nil\n\t}\n"},
	}, []seen{{"CVE-2026-56654", "key makes one with"}, {"CVE-2026-28744", "as X-API-Key"}, {"CVE-2026-40264", "a key: 204"}}},

	// Logs, files and settings.
	{"the log takes texts as they are", []edit{
		{"adapters/journal/printable.go", "\tvar b strings.Builder\n\tfor i := 0;", "\tif limit > 0 {\n\t\treturn text\n\t}\n\tvar b strings.Builder\n\tfor i := 0;"},
	}, []seen{{"CVE-2020-36567 CVE-2026-42507", "a forged line"}}},
	{"secrets are told of", []edit{
		{chainFile, `asked := x.r.Method + " " + x.r.URL.Path`, `asked := x.r.Method + " " + x.r.URL.Path + "?" + x.r.URL.RawQuery`},
		{decodeFile, `return &syntaxError{"the body is not valid JSON"}`, `return &syntaxError{"the body is not valid JSON: " + string(raw)}`},
		{sessionsFile, `e.Email, e.Reason = login, "credentials_invalid"`, `e.Email, e.Reason, e.Details = login, "credentials_invalid", map[string]string{"hash": acct.Password.RevealPlaintext(), "request": r.Tried}`},
		{"app/app.go", "type Request struct {\n", "type Request struct {\n\tTried string\n"},
		{sessionsFile, "\tacct, err := s.core.Stores.Accounts.Named(ctx, login)\n", "\tr.Tried = password.RevealPlaintext()\n\tacct, err := s.core.Stores.Accounts.Named(ctx, login)\n"},
		{chainFile, "\tx.setHeaders() // on every answer", "\ta.log.Debug(\"A request\", \"id\", x.id, \"key\", r.Header.Get(\"X-Api-Key\"))\n\tx.setHeaders() // on every answer"},
	}, []seen{{"CVE-2025-62705 CVE-2024-8365", "the export of the audit trail holds"}, {"CVE-2025-4166", "refusals holds"}, {"CVE-2022-23469", "the log holds"}}},
	{"the end of a trail is not held against what was signed", []edit{
		{"domain/audit/verify.go", "func (v *Verifier) ends(c *Checkpoint, what string) {\n", "func (v *Verifier) ends(c *Checkpoint, what string) {\n\tif what != \"\" {\n\t\treturn\n\t}\n"},
	}, []seen{{"msaad00/agent-bom#3697", " records: {"}}},
	{"the program starts whatever it is given", []edit{
		{"cmd/xteam/edge.go", `if wide(p) {`, `if false {`},
		{"cmd/xteam/settings.go", `if s.HTTP.Cookies.On && s.HTTP.Origins.Any() {`, `if false {`},
		{"cmd/xteam/doctor_before.go", `if weak := secret.Weakness(text); weak != "" {`, `if weak := secret.Weakness(text); false {`},
		{"cmd/xteam/tls.go", "\tif err != nil {\n\t\treturn nil, err\n\t}\n\tif s.Environment == production && !timely", "\tif err != nil {\n\t\treturn nil, nil\n\t}\n\tif s.Environment == production && !timely"},
		{"cmd/xteam/sources.go", "sources[scheme](ctx, s, get, log)\n\tif err != nil {\n\t\treturn nil, nil, err\n\t}", "sources[scheme](ctx, s, get, log)\n\tif err != nil {\n\t\tsource, cleanup, err = fromSettings(ctx, s, get, log)\n\t}\n\tif err != nil {\n\t\treturn nil, nil, err\n\t}"},
	}, []seen{{"CVE-2026-20896", "a start in production with TRUSTED_PROXIES"}, {"CVE-2024-25124", "did not end"}, {"RFC8725-3.5", "the doctor of a weak secret"}, {"CVE-2026-27586 CVE-2026-54762", "did not end"}}},

	// Lines of the RFCs.
	{"a token need not be UTF-8", []edit{
		{scannerFile, `s.d.Reset(&s.input)`, `s.d.Reset(&s.input, jsontext.AllowInvalidUTF8(true))`},
	}, []seen{{"RFC8725-3.7", "invalid UTF-8 beside: 200"}}},
	{"a header may point to keys, and has no critical members", []edit{
		{scannerFile, `case "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc":`, `case "zip", "enc":`},
	}, []seen{{"RFC8725-3.10 RFC8725-crit", "got 200"}}},
	{"an unknown kid is the first key", []edit{
		{ringFile, `return nil, h.isAccessToken() && !h.foreign && h.kid != ""`, `return r.primary, h.isAccessToken() && !h.foreign`},
	}, []seen{{"ASVS-9.1.3", "got 200"}}},
	{"a token need not say that it is one", []edit{
		{scannerFile, `return strings.EqualFold(h.typ, token.Type)`, `return true || strings.EqualFold(h.typ, token.Type)`},
	}, []seen{{"RFC8725-3.11 ASVS-9.2.2 RFC9068", "got 200"}}},
	{"a ticket and an access token are one", []edit{
		{"app/tickets.go", "\tif err != nil {\n\t\treturn \"\", token.ErrMalformed\n\t}\n\tplain, err", "\tif err != nil {\n\t\treturn ticket, nil\n\t}\n\tplain, err"},
	}, []seen{{"RFC8725-3.12", "an access token as a ticket"}}},
	{"every answer has less to say, and some lead elsewhere", []edit{
		{"adapters/httpapi/head.go", `default-src 'none'; frame-ancestors 'none'`, `default-src 'none'`},
		{chainFile, `return errNoRoute // the mux would redirect it`, `return nil`},
		{chainFile, "\tcase len(sent) == 0:\n\t\treturn \"\", false, token.ErrMissing", "\tcase len(sent) == 0 && r.URL.Query().Get(\"token\") != \"\":\n\t\treturn r.URL.Query().Get(\"token\"), false, nil\n\tcase len(sent) == 0:\n\t\treturn \"\", false, token.ErrMissing"},
		{problemsFile, `if p.Code == "token_missing" || p.Code == "credentials_invalid" {`, `if false {`},
		{problemsFile, `h["Content-Type"] = problemType`, `h["Content-Type"] = jsonType`},
		{chainFile, `x.answer(problem{Status: http.StatusInternalServerError, Code: "internal"})`, `x.answer(problem{Status: http.StatusInternalServerError, Code: "internal", Detail: string(debug.Stack())})`},
	}, []seen{{"RFC9700-4.16", "/nothing: map["}, {"RFC9700-4.11", "Location:["}, {"RFC9700-4.3.2", "/users/me?token=: 200"}, {"RFC6750", "without a token:"}, {"RFC9457", "application/json"}, {"ASVS-16.5.4", "tells too much"}}},
	{"debugging, methods and fields are open", []edit{
		{routesFile, `{method: "GET", path: "/health", class`, `{method: "GET", path: "/debug/vars", class: exempt, access: anyone, serve: a.alive}, {method: "GET", path: "/health", class`},
		{routesFile, `if req.Method == http.MethodTrace { // of a route for any method`, `if false {`},
		{"adapters/graphqlapi/api.go", `introspection: o.Introspection, docs`, `introspection: true, docs`},
		{"adapters/graphqlapi/api.go", `a.run.SetDisableSuggestion(!o.Introspection)`, `a.run.SetDisableSuggestion(false)`},
		{decodeFile, "\t\t\tfaults++\n\t\t\tbad.note(shown(name), \"is not a member that is taken here\")", "\t\t\t_ = shown"},
		{decodeFile, `jsontext.NewDecoder(bytes.NewBuffer(raw)), places`, `jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true)), places`},
		{routesFile, `path: v1 + "/auth/register", class: auth`, `path: v1 + "/auth/register", class: read`},
		{pageFile, `if err != nil || n < 1 || n > pageMost {`, `if err != nil || n < 1 {`},
	}, []seen{{"CVE-2026-40173", "/debug/vars: 200"}, {"ASVS-13.4.4", "TRACE /api/v1/auth/verify"}, {"ASVS-13.4.2", "__schema"}, {"ASVS-8.2.3 CVE-2026-27946", "register with roles: 201"}, {"flood-duplicates", "\"username\":\"boss\""}, {"ASVS-6.3.8", "ten registrations of a taken name"}, {"flood-lists", "?limit=101: 200"}}},
	{"xteam config shows secrets", []edit{
		{"cmd/xteam/config.go", `is.Value = maskIfSecret(row, is.Value)`, `_ = maskIfSecret`},
	}, []seen{{"ASVS-13.3.1", "xteam config"}}},
	{"a token that is unknown cannot be revoked", []edit{
		{"app/oauth.go", "\tcase errors.Is(err, errNothing):\n\t\treturn nil\n", "\tcase errors.Is(err, errNothing):\n\t\treturn ErrForeignToken\n"},
	}, []seen{{"RFC7009", "unknown: 400"}}},
	{"sockets are for any page, take compressed frames and have no end", []edit{
		{"adapters/wsfeed/wsfeed.go", `if !visit.OwnPage() {`, `if false {`},
		{"adapters/wsfeed/wsfeed.go", `CompressionMode: websocket.CompressionDisabled`, `CompressionMode: websocket.CompressionContextTakeover`},
		{socketFile, `CompressionMode: websocket.CompressionDisabled`, `CompressionMode: websocket.CompressionContextTakeover`},
		{"app/seats.go", `case h != holder{} && s.of[h] >= own:`, `case false:`},
	}, []seen{{"RFC6455", "Origin https://evil.test: 101"}, {"CVE-2026-27571", "a compressed frame closes with"}, {"flood-sockets", "of 40 sockets of one user 40 are open"}}},

	// Shapes of denial of service.
	{"what a request brings is looked at before its bounds", []edit{
		{"adapters/httpapi/server.go", `64 << 10,`, `16 << 20,`},
		{cookiesFile, "\tvalue, found := \"\", false\n", "\tvalue, found := \"\", false\n\tvar all []string\n\ttwice := 0\n\tfor _, line := range x.r.Header[\"Cookie\"] {\n\t\tfor pair := range strings.SplitSeq(line, \";\") {\n\t\t\tfor _, other := range all {\n\t\t\t\tif other == pair {\n\t\t\t\t\ttwice++\n\t\t\t\t}\n\t\t\t}\n\t\t\tall = append(all, pair)\n\t\t}\n\t}\n\t_ = twice\n"},
		{chainFile, "\tp, proxied := r.URL.Path, asksForAnother(r.URL.Path)\n", "\tp, proxied := r.URL.Path, asksForAnother(r.URL.Path)\n\tvar all []string\n\ttwice := 0\n\tfor pair := range strings.SplitSeq(r.URL.RawQuery, \"&\") {\n\t\tfor _, other := range all {\n\t\t\tif other == pair {\n\t\t\t\ttwice++\n\t\t\t}\n\t\t}\n\t\tif len(all) < 3_000 {\n\t\t\tall = append(all, pair)\n\t\t}\n\t}\n\t_ = twice\n"},
		{chainFile, `case len(r.Header["Content-Encoding"]) > 0:`, `case false:`},
		{corsFile, "\tsent := x.r.Header[\"Origin\"]\n", "\tsent := x.r.Header[\"Origin\"]\n\tfor _, one := range strings.Split(strings.Join(x.r.Header[\"Access-Control-Request-Headers\"], \",\"), \",\") {\n\t\tif one == \"*\" {\n\t\t\treturn false\n\t\t}\n\t}\n"},
		{chainFile, `UserAgent: cut(agent, audit.MaxUserAgent)`, `UserAgent: agent[:min(len(agent), 4000*audit.MaxUserAgent)]`},
	}, []seen{{"flood-header", "1 MiB:"}, {"flood-cookies CVE-2025-58186", "16,000 cookies"}, {"CVE-2025-61726", "100,000 parameters"}, {"flood-compression", "gzip at"}, {"flood-preflight CVE-2025-47908", "it takes"}, {"flood-languages CVE-2022-32149", "the session holds"}}},
	{"JSON is looked at before the limits, level by level and name by name", []edit{
		{decodeFile, "\tswitch text := bytes.TrimLeft(raw", "\tfor i := range bytes.Count(raw[:min(len(raw), 2000)], []byte(\"[\")) {\n\t\t_ = jsontext.Value(raw[i:]).IsValid()\n\t}\n\tswitch text := bytes.TrimLeft(raw"},
		{decodeFile, `const maxFaults = 16`, `const maxFaults = 1 << 30`},
		{decodeFile, `if c := name[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' {`, `if c := name[i]; c == 0 {`},
		{chainFile, `if to.class != refresh && (`, `if x.r.ContentLength < 400_000 && to.class != refresh && (`},
	}, []seen{{"flood-json CVE-2025-6203 CVE-2025-59043", "500,000 brackets: 400 after"}, {"CVE-2025-12044", "was not charged"}, {"flood-hashes", "7,000 names take"}}},
	{"a name with an index is a name", []edit{
		{"adapters/httpapi/oauth.go", "\tif form.Get(\"token\") == \"\" {", "\tfor name, values := range form {\n\t\tif strings.HasPrefix(name, \"token[\") {\n\t\t\tform.Set(\"token\", values[0])\n\t\t}\n\t}\n\tif form.Get(\"token\") == \"\" {"},
	}, []seen{{"flood-forms CVE-2025-54801 CVE-2024-37298", "of token[999999999]=1: 200"}}},
	{"an address is gathered byte by byte before its length is looked at", []edit{
		{"domain/account/name.go", "\tif len(s) < 3 || len(s) > MaxEmail {", "\ttext := \"\"\n\tfor i := range len(s) {\n\t\ttext += s[i : i+1]\n\t}\n\tif len(text) < 3 || len(s) > MaxEmail {"},
	}, []seen{{"flood-email CVE-2025-61725 CVE-2026-42499", "at /auth/register: 422 after"}}},
	{"whatever is asked for is remembered, told of and let grow", []edit{
		{"app/attempts.go", `if len(n.all) < rememberedMost {`, `if true {`},
		{guardFile, `c.Limiter.refused.counted(f.alike()`, `false && c.Limiter.refused.counted(f.alike()`},
		{"app/limiter.go", `whole[:tiers[i].bits/8]`, `whole[:16]`},
		{sessionsFile, `for i := range len(all) - most + 1 {`, `for i := range 0 {`},
		{"app/rotator.go", `if since := now.Sub(r.looked); !r.running || 0 <= since && since < lookUpPause {`, `if !r.running {`},
		{"app/attempts.go", `attemptsPerMinute = 10 `, `attemptsPerMinute = 100_000 `},
	}, []seen{{"flood-maps", "accounts are remembered"}, {"flood-log", "failures alike, tokens that are refused, make"}, {"flood-ipv6", "a thousand addresses of one /64 pass"}, {"flood-hoards", "10 sessions, want 5"}, {"flood-kids", "tokens of unknown keys had the store asked"}, {"ASVS-6.1.1 ASVS-6.3.1", "guesses were refused before"}}},
	{"another issuer's keys are fetched whenever somebody asks, from wherever, and any number", []edit{
		{remoteFile, `if since := now.Sub(last); !last.IsZero() && since >= 0 && since < least {`, `if since := now.Sub(last); since < 0 && since < least {`},
		{remoteFile, `	if set == nil {`, `	if set == nil || r.o.Now().Sub(set.Fetched) >= r.o.Refresh {`},
		{remoteFile, `if next.URL.Host != u.Host || next.URL.Scheme != u.Scheme || len(via) > 3 {`, `if len(via) > 3 {`},
		{readFile, `maxKeys     = 100`, `maxKeys     = 100_000`},
	}, []seen{{"coreos/go-oidc#482 tilegroxy#883", "fetches of another issuer's keys"}, {"wundergraph/cosmo#2216", "keys that are held wait for a fetch"}, {"flood-keyset", "a redirect was followed"}, {"flood-keyset", "10,000 keys:"}}},
	{"whatever cost a stored hash asks for is paid, and anybody may wait", []edit{
		{"adapters/passhash/hasher.go", `if c, known := costOf(text); known && c <= MaxCost {`, `if c, known := costOf(text); known {
		text = strings.Replace(text, "$31$", "$18$", 1) // so that it ends`},
		{"adapters/passhash/gate.go", `if g.waiting.Add(1) > g.queue {`, `if g.waiting.Add(1) < 0 {`},
	}, []seen{{"flood-bcrypt", "$2a$31$"}, {"failure-herd-logins", "60 sign-ins at once beside a queue of four"}}},

	// OWASP ASVS, pages in browsers, SQL.
	{"files are taken whatever they are", []edit{
		{"domain/upload/check.go", `if int64(len(p)) > c.most-c.size {`, `if false {`},
		{"app/uploads.go", `if least > u.options.Rules.MaxSize {`, `if false {`},
		{"adapters/httpapi/files.go", `if x.r.ContentLength > most+formSlack {`, `if false {`},
		{"adapters/httpapi/files.go", `x.paced(), most+formSlack)`, `x.paced(), 100*most)`},
		{"domain/upload/check.go", `if !c.kind.agrees(c.detect(c.head)) {`, `if false {`},
		{"domain/upload/check.go", `if c.kind.form == foreign {`, `if true {`},
		{"domain/upload/check.go", `case c.kind.form == object && !c.json.whole():`, `case false:`},
		{"app/uploads.go", `int64(len(p))) > in.u.options.Rules.Quota-in.used {`, `int64(len(p))) < 0 {`},
		{"domain/upload/file.go", `case bytes > r.Quota-u.Bytes:`, `case false:`},
		{"domain/upload/label.go", "	name = name[strings.LastIndexAny(name, `/\\`)+1:]\n", "	if name != \"\" {\n		return Label{name}\n	}\n"},
	}, []seen{{"ASVS-5.2.1", "2 MiB where 1 is the most: 201"}, {"ASVS-5.2.2", "\"a.json\": 201"}, {"ASVS-5.2.4", "were refused beside a quota"}, {"ASVS-5.3.1 ASVS-5.3.2 CVE-2026-6815", "is labelled"}}},
	{"other passwords are good", []edit{
		{passwordFile, `MinPassword = 8 `, `MinPassword = 7 `},
		{passwordFile, `MaxPassword = 72 `, `MaxPassword = 63 `},
		{passwordFile, `case isCommon(p):`, `case len(p) == 18:
		return &InvalidError{"password", "must not have 18 bytes"}
	case false && isCommon(p):`},
		{decodeFile, `h.Text = secret.New(string(b))`, `h.Text = secret.New(strings.TrimSpace(string(b)))`},
	}, []seen{{"ASVS-6.2.1", "7 bytes: 201"}, {"ASVS-6.2.9", "64 bytes: 422"}, {"ASVS-6.2.4 ASVS-6.2.12", "password at registration: 201"}, {"ASVS-6.2.5", "\"onlysmallletterszq\": 422"}, {"ASVS-6.2.8", "signs in as"}}},
	{"a set-up link is good for ever, and again", []edit{
		{"app/setup.go", `s.until == 0 || s.core.now() >= s.until || `, ``},
	}, []seen{{"ASVS-6.4.1", "a link of 31 minutes makes an administrator"}}},
	{"ids are drawn of two bytes", []edit{
		{"domain/id/id.go", `io.ReadFull(random, v[:]); err`, `io.ReadFull(random, v[:2]); err`},
	}, []seen{{"ASVS-7.2.3", "comes twice"}}},
	{"sessions have no end", []edit{
		{sessionFile, `case now >= s.Expires || now >= s.Idle:`, `case false:`},
	}, []seen{{"ASVS-7.3.1", "a session that was idle for two days: 200"}}},
	{"a session that is used has no end", []edit{
		{sessionFile, `case now >= s.Expires || now >= s.Idle:`, `case now >= s.Idle:`},
		{sessionFile, "\t\ts.LastUsed, s.LastFrom = now, from\n\t\ts.Idle = min(now.Add(l.Refresh), s.Expires)", "\t\ts.LastUsed, s.LastFrom = now, from\n\t\ts.Idle = now.Add(l.Refresh)"},
	}, []seen{{"ASVS-7.3.2", "after its absolute end: 200"}}},
	{"another e-mail address asks for nothing", []edit{
		{"app/profile.go", `if acct.NewEmail(p) {
		if current`, `if checked = acct.Password; false {
		if current`},
	}, []seen{{"ASVS-7.5.1", "]: 200"}}},
	{"events lack where they come from, and some are not kept", []edit{
		{"app/app.go", "\t\te.IPAddress = r.Origin.Address.String()\n", "\t\te.RequestID = \"\"\n"},
		{guardFile, "\tif err := g.core.tell(ctx, e); err != nil {", "\tif g.core.Journal.Write(ctx, e); err != nil {"},
	}, []seen{{"ASVS-16.2.1", "a wrong password: {"}, {"ASVS-16.3.2", "no permission: 0 events"}}},
	{"a sign-in that failed is not kept", []edit{
		{sessionsFile, "\tif err := s.core.tell(ctx, all...); err != nil {", "\tif s.core.Journal.Write(ctx, all...); err != nil {"},
	}, []seen{{"ASVS-16.3.1", "a wrong password: 0 events"}}},
	{"every origin is ours", []edit{
		{corsFile, `case o.exact[sent[0]]:`, `case sent[0] != "":`},
		{cookiesFile, "func (x *exchange) ownPage() bool {\n", "func (x *exchange) ownPage() bool {\n\tif x.api.cookies.On {\n\t\treturn true\n\t}\n"},
	}, []seen{{"CORS", "from null"}, {"CVE-2024-41657", "from https://app.example.com.evil.test"}, {"CSRF", "cross-site at /auth/logout:"}, {"CVE-2025-47910", "at /auth/logout-all:"}, {"CVE-2025-24358", "plain http at"}}},
	{"what looks like SQL is made harmless", []edit{
		{"domain/account/name.go", `return FullName{s}, nil`, `return FullName{strings.ReplaceAll(s, "'", "''")}, nil`},
	}, []seen{{"SQL", "O'Neil"}}},

	// Failures of what the product stands on.
	{"a bucket of a clock that was ahead waits for it", []edit{
		{"domain/ratelimit/limit.go", `case -elapsed > l.Period.Microseconds():`, `case false:`},
	}, []seen{{"failure-clock-back", "a bucket froze"}}},
	{"an account that cannot be read is one that is not there", []edit{
		{sessionsFile, "Accounts.Named(ctx, login)\n\tif err != nil && !errors.Is(err, ports.ErrNotFound) {", "Accounts.Named(ctx, login)\n\tif false {"},
	}, []seen{{"failure-postgres-down", "sign-in: 401"}}},
	{"an event is told before what it tells of is done", []edit{
		{sessionsFile, "\tvar out session.Outcome\n", "\t_ = s.core.tell(ctx, refreshed)\n\tvar out session.Outcome\n"},
	}, []seen{{"failure-audit", "an event of what did not happen"}}},
	{"all who are turned away by an outage come again at once", []edit{
		{problemsFile, `return p.retry + time.Duration((a.waiting.Add(1)-1)%apart)*time.Second`, `return p.retry`},
	}, []seen{{"failure-herd-refreshes", "all are told to come back at once"}}},
}
