package httpapi

import (
	"slices"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
)

// doc is what is documented of a route beside what routes.go says of it. Whoever adds a route adds its doc to the table below; then `go generate ./adapters/httpapi` writes
// the description and the pages anew, and the tests of this package hold them against the routes, and every answer that they see against the description.
//
// A transport that stands inside this one (Mount) has its docs here too, with mounted.
//
// What a member means is read from the comment behind its field, and what a body is from that of its type.
type doc struct {
	id      string // what a generated client calls the operation
	title   string // what it does, in a few words
	about   string // and what must be known beside that
	query   []parameter
	body    any    // of the type that the handler decodes; nil: nothing is read
	upload  bool   // the body is a file, in a form
	form    bool   // the body is a form, not JSON
	needs   string // members without which the body is refused
	without bool   // the body may be left out
	example string // a body that is taken
	status  int    // of the answer
	answer  any    // of the type that the handler encodes; nil: no body
	media   string // of an answer that is no JSON of ours
	also    []otherAnswer
	refuses string // codes beside those that every route of its kind has
	within  string // another route, of whose description this one is a part
	mounted bool   // of another transport, whose routes are no lines of routes.go but Mounts; it charges and admits by itself
	secured bool   // with mounted: a credential is needed
}

// parameter is one of the query.
type parameter struct{ name, about, example string }

// otherAnswer is another answer that is no problem.
type otherAnswer struct {
	status int
	about  string
	answer any
}

var ofParts = []parameter{{"limit", "how many items at most, from 1 to 100; all when it is not given", "50"}, {"cursor", "`next` of the page before", ""}}

var ofPages = []parameter{{"limit", "how many items at most, from 1 to 100; 50 when it is not given", "50"}, {"cursor", "`next` of the page before", ""}}

// oauthAnswers are the refusals of OAuth's routes, which are no problems.
var oauthAnswers = []otherAnswer{{400, "`invalid_request`, `unauthorized_client` or `unsupported_token_type`.", oauthProblem{}}, {401, "`invalid_client`.", oauthProblem{}}, {403, "`insufficient_scope`.", oauthProblem{}},
	{413, "`invalid_request`.", oauthProblem{}}, {415, "`invalid_request`.", oauthProblem{}}, {429, "`temporarily_unavailable`.", oauthProblem{}}, {500, "`server_error`.", oauthProblem{}}, {503, "`temporarily_unavailable`.", oauthProblem{}}}

// docs are the docs of all routes, by method and path as they stand in routes.go.
func docs() map[string]doc {
	const v1 = "/api/v1"
	return map[string]doc{
		"POST " + v1 + "/auth/register": {id: "register", title: "Sign up", about: "A taken e-mail address or user name is told of, and limited as a sign-in is.",
			body: person{}, needs: "email username password", example: `{"email":"bea@example.com","username":"bea","password":"a long-legged heron","full_name":"Bea Example"}`,
			status: 201, answer: user{}, refuses: "taken no_space"},
		"POST " + v1 + "/auth/login": {id: "login", title: "Sign in", about: "An unknown user, a wrong password and a disabled account get the same answer in the same time. Where cookies are on, and the body is called `application/json`, the answer sets them too.",
			body: loginBody{}, needs: "password", example: `{"email":"ann@example.com","password":"correct horse battery"}`,
			status: 200, answer: tokens{}, refuses: "credentials_invalid too_many_attempts no_space"},
		"POST " + v1 + "/auth/refresh": {id: "refresh", title: "Get new tokens for a refresh token", about: "A refresh token is good once. Used again after the grace for a lost answer, it ends its session.",
			body: refreshBody{}, example: `{"refresh_token":"xr_live_token"}`,
			status: 200, answer: tokens{}, refuses: "token_malformed token_invalid token_expired token_revoked cross_origin"},
		"POST " + v1 + "/auth/logout":     {id: "logout", title: "Sign out", about: "Revokes the access token and its session.", status: 204},
		"POST " + v1 + "/auth/logout-all": {id: "logoutAll", title: "Sign out everywhere", about: "Revokes all of the user's tokens.", status: 200, answer: ended{}},
		"POST " + v1 + "/auth/change-password": {id: "changePassword", title: "Change your password", about: "Revokes all other tokens, and answers with a fresh pair.",
			body: changePasswordBody{}, needs: "current_password new_password", example: `{"current_password":"correct horse battery","new_password":"a longer-legged heron"}`,
			status: 200, answer: tokens{}, refuses: "credentials_invalid too_many_attempts no_space"},
		"GET " + v1 + "/auth/sessions":         {id: "listSessions", title: "List your sessions", about: "The oldest first.", query: ofParts, status: 200, answer: list[ownSignIn]{}},
		"DELETE " + v1 + "/auth/sessions/{id}": {id: "endSession", title: "End one of your sessions", status: 204},
		" " + verifyPath: {id: "verify", title: "May this request through?", about: "For a proxy: who the bearer is, in headers. It takes any method, and any path below it, as proxies append the one that they ask about. " +
			"What is demanded beside a good credential stands behind a comma: `/api/v1/auth/verify,role=admin,scope=users:read`; who has not all of it is refused with 403.",
			status: 200},
		" " + verifyPath + "/{path...}": {within: " " + verifyPath},
		"POST " + introspectPath: {id: "introspect", title: "Is this token taken? (RFC 7662)", about: "For services: what a token says that would be taken now. Of any other, whatever the reason, the answer is `{\"active\":false}`. " +
			"The client authenticates itself by an API key with the scope introspect: as bearer, in X-API-Key, or by `client_secret_basic` with the key's id and the key.",
			body: tokenForm{}, form: true, needs: "token", example: `{"token":"xr_live_token","token_type_hint":"refresh_token"}`, status: 200, answer: introspection{}, also: oauthAnswers},
		"POST " + revokePath: {id: "revokeToken", title: "Revoke a token (RFC 7009)", about: "An access token, or a refresh token and with it its session; of the key's owner, or of anybody with the scope admin. One that is not known is answered as one that was revoked. " +
			"The client authenticates itself by an API key with the scope tokens:revoke, as for introspection.",
			body: tokenForm{}, form: true, needs: "token", example: `{"token":"xr_live_token","token_type_hint":"refresh_token"}`, status: 200, also: oauthAnswers},
		"GET " + v1 + "/users/me": {id: "me", title: "Show your account", status: 200, answer: user{}},
		"PATCH " + v1 + "/users/me": {id: "changeMe", title: "Change your account", about: "A new e-mail address asks for the current password.",
			body: changeMeBody{}, example: `{"full_name":"Ann B. Example"}`, status: 200, answer: user{}, refuses: "taken credentials_invalid too_many_attempts"},

		"GET " + v1 + "/api-keys": {id: "listAPIKeys", title: "List your API keys", about: "The oldest first.", query: ofParts, status: 200, answer: list[programKey]{}},
		"POST " + v1 + "/api-keys": {id: "createAPIKey", title: "Make an API key", about: "The answer alone holds the key's text. Without scopes it may read `users/me`.",
			body: makeKeyBody{}, needs: "name", example: `{"name":"deploy","scopes":["users:read"],"expires_in_days":30}`, status: 201, answer: newKey{}, refuses: "too_many_api_keys no_space"},
		"DELETE " + v1 + "/api-keys/{id}": {id: "revokeAPIKey", title: "Revoke one of your API keys",
			query:  []parameter{{"children", "`true`: and all that it made, directly or not; `false` otherwise", "true"}},
			status: 204, also: []otherAnswer{{200, "With `children=true`: the keys that it ended.", endedKeys{}}}},
		"POST " + v1 + "/api-keys/{id}/rotate": {id: "rotateAPIKey", title: "Rotate one of your API keys", about: "Another key takes its place; both are good during the overlap.",
			body: rotateKeyBody{}, without: true, example: `{"overlap_hours":2}`, status: 201, answer: newKey{}, refuses: "key_state too_many_api_keys no_space"},

		"POST " + filesPath: {id: "uploadFile", title: "Upload a file", about: "One part called `file`, with a name whose extension is taken and content that agrees with it: text is UTF-8, JSON is JSON, anything else is what its first bytes say. The name is kept as a label, without what some system does not take in one.",
			upload: true, status: 201, answer: newFile{}, refuses: "quota_exceeded no_space"},
		"GET " + filesPath: {id: "listFiles", title: "List your files", about: "The oldest first.", query: ofPages, status: 200, answer: list[keptFile]{}},
		"GET " + filesPath + "/{id}": {id: "downloadFile", title: "Download one of your files", about: "As an attachment under its label. A `Range` of bytes is served; of several, all of it.", status: 200, media: "*/*",
			also: []otherAnswer{{206, "The bytes that `Range` asks for.", nil}, {304, "It is the one that `If-None-Match` names.", nil}}, refuses: "precondition_failed range_not_satisfiable"},
		"DELETE " + filesPath + "/{id}":              {id: "deleteFile", title: "Delete one of your files", status: 204, refuses: "no_space"},
		"DELETE " + v1 + "/admin/users/{user}/files": {id: "deleteFilesOf", title: "Delete all files of a user", about: "As when they are to be forgotten. To read them is for their owner alone.", status: 200, answer: deletedFiles{}, refuses: "no_space"},

		"GET " + v1 + "/admin/users": {id: "listUsers", title: "List users", query: ofPages, status: 200, answer: list[user]{}},
		"POST " + v1 + "/admin/users": {id: "createUser", title: "Make an account", about: "With `decoy` its credentials are honeytokens: its names, its password and the API key that is answered, this once, are refused as wrong ones are, and whoever tries one is a critical alert.", body: createUserBody{}, needs: "email username password",
			example: `{"email":"cid@example.com","username":"cid","password":"a short-legged heron","role":"user"}`, status: 201, answer: createdUser{}, refuses: "taken no_space"},
		"GET " + v1 + "/admin/users/{user}": {id: "showUser", title: "Show a user", status: 200, answer: user{}},
		"POST " + v1 + "/admin/users/{user}/disable": {id: "disableUser", title: "Disable a user", about: "Revokes all of their tokens. The last active administrator cannot be disabled, nor your own account.",
			body: disableUserBody{}, without: true, example: `{}`, status: 200, answer: user{}, refuses: "last_admin own_account"},
		"POST " + v1 + "/admin/users/{user}/enable": {id: "enableUser", title: "Enable a user", body: struct{}{}, without: true, example: `{}`, status: 200, answer: user{}},
		"POST " + v1 + "/admin/users/{user}/role": {id: "setRole", title: "Give a user a role", about: "Revokes all of their tokens. The last active administrator cannot be demoted.",
			body: setRoleBody{}, needs: "role", example: `{"role":"admin"}`, status: 200, answer: user{}, refuses: "last_admin"},
		"POST " + v1 + "/admin/users/{user}/password": {id: "setPassword", title: "Give a user a password", about: "Revokes all of their tokens. Not your own: for that, `change-password`.",
			body: setPasswordBody{}, needs: "password", example: `{"password":"a long-winged heron"}`, status: 200, answer: user{}, refuses: "own_account"},
		"POST " + v1 + "/admin/users/{user}/unlock": {id: "unlockUser", title: "Forget wrong passwords", about: "Whoever was braked for too many attempts at this account may try again.",
			body: struct{}{}, without: true, example: `{}`, status: 200, answer: user{}},
		"GET " + v1 + "/admin/sessions": {id: "listAllSessions", title: "List sessions that go on", query: append([]parameter{{"user", "an id, an e-mail address or a user name; everybody's when it is not given", "ann"}}, ofPages...),
			status: 200, answer: list[anySignIn]{}, refuses: "not_found"},
		"DELETE " + v1 + "/admin/sessions/{id}": {id: "endAnySession", title: "End a session", status: 204},
		"POST " + v1 + "/admin/revoke-user-tokens": {id: "revokeUserTokens", title: "Revoke all of a user's tokens", body: revokeUserTokensBody{}, needs: "user_id", example: `{"user_id":"ann@example.com"}`,
			status: 200, answer: ended{}, refuses: "not_found"},
		"POST " + v1 + "/admin/revocations": {id: "revoke", title: "Revoke", about: "Durable and in force on this node when it answers. Exactly one of `user_id`, `session_id`, `token`, `jti`, `kid`, `issued_before` and `all`.",
			body: revokeBody{}, example: `{"user_id":"ann","reason":"a lost laptop","dry_run":true}`, status: 200, answer: revoked{}, refuses: "not_found key_state taken"},
		"GET " + v1 + "/admin/nodes": {id: "listNodes", title: "List the nodes of the system", about: "Those that have said something within five seconds; the one that answers is the first.", status: 200, answer: list[systemNode]{}},
		"GET " + v1 + "/admin/api-keys": {id: "listAPIKeysOf", title: "List a user's API keys", query: append([]parameter{{"user", "an id, an e-mail address or a user name; it must be given", "ann"}}, ofParts...),
			status: 200, answer: list[anyProgramKey]{}, refuses: "not_found"},
		"GET " + v1 + "/admin/api-keys/{id}": {id: "showAPIKey", title: "Show an API key", about: "How it is used is up to a minute behind.", status: 200, answer: anyProgramKey{}},
		"POST " + v1 + "/admin/api-keys/{id}/revoke": {id: "revokeAnyAPIKey", title: "Revoke an API key", body: endKeyBody{}, without: true, example: `{"children":true,"reason":"found in a repository"}`,
			status: 200, answer: endedKeys{}},
		"GET " + v1 + "/admin/keys": {id: "listSigningKeys", title: "List signing keys", query: ofParts, status: 200, answer: list[signingKey]{}},
		"POST " + v1 + "/admin/keys/rotate": {id: "rotateSigningKey", title: "Rotate the signing key", about: "The one before verifies until its tokens are over. `graceful` publishes the new one before it signs.",
			body: rotateSigningKeyBody{}, without: true, example: `{"alg":"ES256","graceful":false}`, status: 200, answer: rotated{}, refuses: "key_state"},
		"POST " + v1 + "/admin/keys/{kid}/retire": {id: "retireSigningKey", title: "End a retiring signing key", status: 204, refuses: "key_state"},
		"POST " + v1 + "/admin/keys/{kid}/revoke": {id: "revokeSigningKey", title: "Revoke a signing key", about: "Everything that it signed is dead at once, and another key takes its place.",
			body: revokeSigningKeyBody{}, without: true, example: `{"reason":"it was in a backup"}`, status: 200, answer: revoked{}, refuses: "key_state"},
		"GET " + v1 + "/admin/alerts": {id: "listAlerts", title: "List alerts", about: "The newest first. `xteam alerts rules` tells by what rules they are raised.",
			query: append([]parameter{{"open", "`true`: those alone that nobody has acknowledged", "true"}}, ofPages...), status: 200, answer: list[alertItem]{}},
		"GET " + v1 + "/admin/alerts/{id}":              {id: "showAlert", title: "Show an alert", status: 200, answer: alertItem{}, refuses: "not_found"},
		"POST " + v1 + "/admin/alerts/{id}/acknowledge": {id: "acknowledgeAlert", title: "Acknowledge an alert", about: "What comes after it, of the same rule and group, is another alert.", status: 200, answer: alertItem{}, refuses: "not_found"},
		"POST " + v1 + "/admin/alerts/{id}/silence": {id: "silenceAlert", title: "Silence the rule of an alert", about: "Nobody is told meanwhile of what the rule finds of the same group, or of any group; it is kept all the same.",
			body: silenceBody{}, needs: "seconds", example: `{"seconds":3600,"every":false}`, status: 200, answer: silenced{}, refuses: "not_found too_many_silences"},
		"POST " + v1 + "/admin/alerts/{id}/contain": {id: "containAlert", title: "Contain an alert", about: "Blocks for an hour the addresses from which somebody guesses, but for those from where somebody had signed in before it began, and names who has signed in from them since; or ends what the user has who is misused.",
			body: containBody{}, without: true, example: `{"dry_run":true}`, status: 200, answer: containedAlert{}, refuses: "not_found not_containable"},
		"POST " + v1 + "/admin/alerts/test": {id: "testAlert", title: "Raise a test alert", about: "It means nothing, and goes where alerts go. The answer waits for up to twelve seconds until its receiver has taken it.", status: 201, answer: testedAlert{}},
		"GET " + v1 + "/admin/alert-rules":  {id: "listAlertRules", title: "List the rules by which alerts are raised", status: 200, answer: list[alertRule]{}},
		"GET " + app.DisownPath:             {id: "aboutDisown", title: "The page of a link by which a user ends a sign-in that was not theirs", status: 200, media: "text/html"},
		"POST " + v1 + "/auth/disown": {id: "disownSignIn", title: "End a sign-in that was not its user's", about: "With the token of the link in the notice of a sign-in from a new network. What its user has begun since from that network ends too. Good once, for a week.",
			body: disownRequest{}, needs: "token", example: `{"token":"what follows #token= in the notice"}`, status: 200, answer: disowned{}, refuses: "link_refused"},
		"GET " + v1 + "/admin/incidents": {id: "listIncidents", title: "List incidents", about: "The newest first.",
			query: append([]parameter{{"open", "`true`: those alone that are not resolved", "true"}}, ofPages...), status: 200, answer: list[incidentItem]{}},
		"POST " + v1 + "/admin/incidents": {id: "openIncident", title: "Open an incident", about: "It collects what is done under it, and what happened from `since` on.",
			body: openIncidentBody{}, needs: "name", example: `{"name":"a stolen laptop","since":"2026-05-01T12:00:00Z"}`, status: 201, answer: incidentItem{}, refuses: "incident_state"},
		"POST " + v1 + "/admin/incidents/drill": {id: "drillIncident", title: "Rehearse an incident", about: "Plays a whole incident on the running system, with two accounts of its own, for half a minute at the longest, and cleans up, also when whoever asks goes. That a step went wrong is an answer, with `passed` false. One drill at a time: beside another it is 409.", status: 200, answer: playedDrill{}, refuses: "incident_state"},
		"GET " + v1 + "/admin/incidents/{id}":   {id: "incidentStatus", title: "Show how far an incident is contained", about: "`current` in the place of the id is the one that is open, here and below. Nodes that had not said that they refuse what was contained are asked again.", status: 200, answer: incidentStatus{}, refuses: "not_found incident_state"},
		"POST " + v1 + "/admin/incidents/{id}/contain": {id: "containIncident", title: "Contain an incident", about: "Revokes, bars and blocks, and answers once all of it is in force here and the other nodes have been asked. What is wrong in what is asked for refuses the whole; what then fails is said of that target, and the others are contained all the same.",
			body: containIncidentBody{}, example: `{"users":["ann"],"networks":["198.51.100.0/24"],"reason":"a stolen laptop","dry_run":true}`, status: 200, answer: containedIncident{}, refuses: "not_found incident_state block_risky own_account"},
		"POST " + v1 + "/admin/incidents/{id}/isolate": {id: "isolateNode", title: "Isolate a node, or release it", about: "It serves nobody: it answers 503 to everything but probes, of which `/readyz` says no, and its own operator. An address is isolated by containing it.",
			body: isolateBody{}, needs: "node", example: `{"node":"node-1","force":true}`, status: 200, answer: isolated{}, refuses: "not_found incident_state"},
		"POST " + v1 + "/admin/incidents/{id}/verify": {id: "verifyIncident", title: "Try again what was contained", about: "Tokens like those that were withdrawn are shown to the guard of every node; accounts must be barred, sessions ended, addresses turned away; and the audit trail is read.", status: 200, answer: verifiedIncident{}, refuses: "not_found incident_state"},
		"POST " + v1 + "/admin/incidents/{id}/eradicate": {id: "eradicateIncident", title: "Replace credentials of the system", about: "And list what only people can change.",
			body: eradicateBody{}, example: `{"signing_key":true,"reason":"it may have been read"}`, status: 200, answer: eradicated{}, refuses: "not_found incident_state key_state"},
		"POST " + v1 + "/admin/incidents/{id}/recover": {id: "recoverIncident", title: "Let sign-ins in, step by step", about: "The same users as before are let in at each higher percentage; administrators always are.",
			body: recoverBody{}, needs: "percent", example: `{"percent":100}`, status: 200, answer: recovering{}, refuses: "not_found incident_state"},
		"POST " + v1 + "/admin/incidents/{id}/report": {id: "reportIncident", title: "Report an incident", about: "What the audit trail tells of it, in order, as Markdown, with the users to be told. The whole trail is verified.", status: 200, answer: incidentReport{}, refuses: "not_found incident_state"},
		"POST " + v1 + "/admin/incidents/{id}/resolve": {id: "resolveIncident", title: "Close an incident", about: "Not while it holds sign-ins back or a node is isolated.",
			body: resolveBody{}, without: true, example: `{"note":"the laptop was found","force":true}`, status: 200, answer: incidentItem{}, refuses: "not_found incident_state"},
		"GET " + v1 + "/admin/blocked-ips": {id: "listBlockedIPs", title: "List blocked addresses", query: ofPages, status: 200, answer: list[blockedIP]{}},
		"POST " + v1 + "/admin/blocked-ips": {id: "blockIP", title: "Block an address or a network",
			about: "Whoever comes from it is refused everywhere: by this server from the next request, by the others within a second. A block of the same network is replaced. What would shut out whoever could take it back needs `force`: this machine, your own address, a trusted proxy, or a very wide network.",
			body:  blockBody{}, needs: "cidr", example: `{"cidr":"198.51.100.0/24","reason":"guesses passwords","expires_in_seconds":3600}`, status: 201, answer: blocking{}, refuses: "block_risky too_many_blocks"},
		"DELETE " + v1 + "/admin/blocked-ips": {id: "unblockIP", title: "Unblock an address or a network", about: "It stands in the query, since a network has a slash.",
			query: []parameter{{"cidr", "the network as it was blocked; it must be given", "203.0.113.0/24"}}, status: 204, refuses: "not_found"},
		"POST " + v1 + "/admin/explain": {id: "explain", title: "Explain a token", about: "What an access token, a refresh token or an API key says, whether it would be taken now, and if not, why. It is neither repeated nor logged.",
			body: explainBody{}, needs: "token", example: `{"token":"eyJhbGciOiJIUzI1NiJ9.e30.x"}`, status: 200, answer: explanation{}},

		"GET " + v1 + "/admin/audit": {id: "auditTrail", title: "Read the audit trail", about: "Records in their order, and at the end what is committed and not linked yet, whose `seq` is null.",
			query:  []parameter{{"limit", "how many records at most, from 1 to 100; 50 when it is not given", "50"}, {"after", "the number of a record to begin behind, 0 for the beginning; without it the last records are shown", "0"}},
			status: 200, answer: auditPage{}},
		"GET " + v1 + "/admin/audit/export": {id: "exportAudit", title: "Export the audit trail", about: "A line for each record, in the form of JSON or CEF, and at the end a signed count and head; an export without that end is not whole. `xteam audit verify --file` reads it. It is told of in the trail.",
			query: []parameter{{"format", "`jsonl`, which it is when it is not given, or `cef`", "jsonl"}, {"from", "a time (RFC 3339): from the first record of that time or later on", "2026-05-01T00:00:00Z"},
				{"to", "a time: up to the last record of that time or earlier", "2026-06-01T00:00:00Z"}},
			status: 200, media: "text/plain"},
		"GET " + v1 + "/admin/audit/verify":  {id: "verifyAudit", title: "Verify the audit trail", about: "Reads all of it. What is wrong is answered with its place, not refused.", status: 200, answer: auditReport{}},
		"GET " + v1 + "/admin/audit/keys":    {id: "auditKeys", title: "Public keys of the audit trail", about: "With one of them an export is verified anywhere. Keep it elsewhere.", status: 200, answer: auditKeys{}},
		"POST " + v1 + "/admin/audit/review": {id: "reviewAudit", title: "Record a review of the audit trail", body: reviewBody{}, without: true, example: `{"note":"all of May, nothing odd"}`, status: 204},
		"POST " + v1 + "/admin/audit/erase": {id: "eraseAudit", title: "Erase a user from the audit trail", about: "Takes out what is personal of all that they did and of what tells of them; the chain holds as before. For the operator alone: `xteam audit erase`.",
			body: eraseBody{}, needs: "user", example: `{"user":"ann"}`, status: 200, answer: erasedRecords{}, refuses: "not_found"},
		"GET " + v1 + "/events": {id: "ownEvents", title: "Follow your own security events", about: "Server-sent events, `security` for each; `reset` where some are left out, and at last `end` with the code of why the server ends it. It goes on from `Last-Event-ID`; an event may come again.",
			status: 200, media: "text/event-stream", refuses: "too_many_connections"},
		"GET " + v1 + "/admin/events": {id: "listEvents", title: "List security events, or follow them", about: "In the order in which they were committed. Asked for `text/event-stream`, it follows everybody's as `/api/v1/events` does one's own.",
			query: ofPages, status: 200, answer: list[app.EventView]{}, refuses: "too_many_connections"},
		"GET " + v1 + "/revocations": {id: "followRevocations", title: "Follow the revocations", about: "Server-sent events: `snapshot`, in parts, everything that is live; `revocation`, each that is new; `heartbeat` every second, with how old all that is; `reset`, when `Last-Event-ID` is of no place any more and a snapshot follows; `end`. Compressed where gzip is accepted.",
			status: 200, media: "text/event-stream", refuses: "too_many_connections"},
		"POST " + v1 + "/auth/ws-ticket": {id: "wsTicket", title: "Get a ticket for /ws", about: "For `/ws?ticket=`: good once, for 30 seconds.", status: 200, answer: ticket{}},
		"POST /graphql": {id: "graphql", title: "Ask over GraphQL", about: "One operation: `query`, `variables`, `operationName`. Each field at its top is admitted and charged as the route of the same use case is. With `Accept: application/graphql-response+json` what is no valid operation is answered 400, else 200.",
			status: 200, media: "application/json", mounted: true, refuses: "unsupported_media_type body_too_large"},
		"GET /graphql": {id: "graphqlQuery", title: "Ask a query over GraphQL, or open a socket", about: "A query in the URL; mutations go by POST. A WebSocket of the subprotocol `graphql-transport-ws` serves subscriptions too: the token is in `connection_init`.",
			query:  []parameter{{"query", "a document of GraphQL", "{__typename}"}, {"variables", "a JSON object", "{}"}, {"operationName", "of a document with several operations", ""}},
			status: 200, media: "application/json", mounted: true, refuses: "too_many_connections cross_origin"},
		"GET /graphiql": {id: "graphiql", title: "A page to try GraphQL out", about: "Not served where the schema may not be asked for, as in production.", status: 200, media: "text/html", mounted: true},
		"GET /ws": {id: "webSocket", title: "Follow security events over a WebSocket", about: "Your own; an administrator's are everybody's. The token is in `?token=`, in `Sec-WebSocket-Protocol: xteam, TOKEN`, in a ticket or in a header or cookie; whatever else stands in `Sec-WebSocket-Protocol` is taken for one. Each message is an event. It closes with 4401 and the reason when the token ends.",
			query:  []parameter{{"token", "an access token", ""}, {"ticket", "of `/api/v1/auth/ws-ticket`", ""}, {"after", "`after` of the last event that was received: it goes on from there, at the price of an expensive request; beyond that, or from a place that is not yours, it begins with `{\"kind\":\"gap\"}`", "AQAAAAAAAAABUQ"}},
			status: 101, mounted: true, secured: true, refuses: "upgrade_required too_many_connections cross_origin"},

		"GET /health":  {id: "health", title: "Does it live?", status: 200, answer: status{}},
		"GET /healthz": {id: "healthz", title: "Does it live? As Kubernetes asks", status: 200, answer: status{}},
		"GET /readyz":  {id: "ready", title: "Can it answer?", status: 200, answer: readiness{}, also: []otherAnswer{{503, "Not now.", readiness{}}}},
		"GET /setup":   {id: "aboutSetUp", title: "What a set-up link is for", status: 200, media: "text/plain"},
		"POST " + v1 + "/setup": {id: "setUp", title: "Make the first administrator", about: "With the token of the link that a server without an administrator prints at its start. Good once.",
			body: setUpBody{}, needs: "token email username password", example: `{"token":"of the link","email":"root@example.com","username":"root","password":"a grey-winged heron"}`,
			status: 201, answer: user{}, refuses: "setup_refused taken no_space"},
		"GET /.well-known/jwks.json": {id: "jwks", title: "The public keys (RFC 7517)", about: "Empty while HS256 alone signs. It may be kept for five minutes.", status: 200, media: "application/jwk-set+json"},
		"GET /metrics":               {id: "metrics", title: "Metrics for Prometheus", status: 200, media: "text/plain"},
		"GET /":                      {id: "home", title: "Where you are, for people", status: 200, media: "text/html"},
		"GET /openapi.json":          {id: "openAPI", title: "This description", status: 200, media: "application/json"},
		"GET /docs":                  {id: "docs", title: "This description for people", status: 200, media: "text/html"},
		"GET /docs/problems":         {id: "problems", title: "What each code means, and what to do", status: 200, media: "text/html"},
	}
}

// schemaNames are what types are called outside, where that is not their own name.
func schemaNames() map[string]string {
	return map[string]string{"person": "Registration", "signIn": "Session", "ownSignIn": "OwnSession", "anySignIn": "SessionOfUser", "pastSignIn": "PastSession", "programKey": "APIKey", "anyProgramKey": "APIKeyOfUser",
		"newKey": "NewAPIKey", "endedKeys": "RevokedAPIKeys", "keyState": "SigningKeyState", "withdrawal": "Revocation", "revoked": "RevocationResult", "ended": "SessionsEnded", "rotated": "RotationResult",
		"newFile": "NewFile", "keptFile": "File", "deletedFiles": "FilesDeleted", "nodeTime": "NodeTime", "systemNode": "Node", "maker": "APIKeyMaker", "readiness": "Readiness", "ageCheck": "AgeCheck", "fieldError": "FieldError", "EventView": "SecurityEvent", "ticket": "Ticket"}
}

// memberValues are the only values of members that have no others, by the schema's name and the member's.
func memberValues() map[string][]string {
	return map[string][]string{"User.role": {"user", "admin"}, "CreateUserBody.role": {"user", "admin"}, "SetRoleBody.role": {"user", "admin"}, "Tokens.token_type": {"bearer"},
		"APIKey.environment": {"dev", "stg", "prd"}, "APIKey.status": {"live", "retiring", "expired", "revoked"}, "SigningKey.state": {"next", "primary", "retiring", "gone", "revoked"},
		"Explanation.kind": {"access_token", "refresh_token", "api_key", "unknown"}, "Check.status": {"ok", "fail", "degraded"}, "SecurityEvent.severity": {"info", "warning", "critical"}, "SecurityEvent.outcome": {"success", "failure"}, "SecurityEvent.kind": eventKinds(), "Readiness.status": {"ok", "fail"}, "Status.status": {"ok"}}
}

// eventKinds are the kinds of security events, in order.
func eventKinds() (all []string) {
	for _, k := range audit.Kinds() {
		all = append(all, string(k))
	}
	slices.Sort(all)
	return all
}

// memberMeanings is what members mean that have no comment where they are declared, because their name says it there; by the member's name, or the schema's and the member's.
func memberMeanings() map[string]string {
	const (
		name     = "3 to 50 of A–Z a–z 0–9 . _ -, in no letter case in particular, and not in the form of an id."
		password = "8 characters at least, 72 bytes at most with bcrypt; no common or breached one, nor similar to the account's own names."
		who      = "An id, an e-mail address or a user name."
		when     = "Whole microseconds, UTC."
		named    = "How a user signs in beside the e-mail address."
	)
	return map[string]string{
		"id": "16 bytes as 32 hexadecimal digits.", "user_id": "Whose it is.", "email": "An e-mail address.", "username": named, "full_name": "At most 100 characters; may be empty.", "role": "What the account may do.",
		"is_active": "It is not disabled.", "decoy": "Nobody is to use it: whoever does is an alert.", "created_at": when, "expires_at": when, "revoked_at": when, "items": "The items of this page.", "next": "The cursor of the next page; null on the last.",
		"name": "1 to 100 characters, for people.", "scopes": "What it may do.", "uses": "How often it was used.", "reason": "For the log and whoever is refused; may be empty.", "last_ip_address": "Where it was used last.",
		"kid": "A signing key's id.", "algorithm": "HS256, ES256, EdDSA, RS256 or PS256.", "alg": "HS256, ES256, EdDSA, RS256 or PS256; the configured one when it is not given.",
		"graceful": "Publish it now, and sign with it a quarter of an hour later.", "sessions_ended": "How many sessions ended, or would.", "counted": "False: at least so many; they could not all be counted in time.",
		"nodes": "The nodes that were told, and how long that took.", "node": "A node's name.", "ms": "Milliseconds.", "latency_ms": "How long the check took, in milliseconds.", "age_ms": "How old what it knows is, in milliseconds.",
		"dry_run": "Tell what would be done, and do nothing.", "access_token": "A JWT (RFC 9068). Missing where cookies carry it.", "refresh_token": "Good once. Missing where cookies carry it.", "token_type": "As RFC 6749 has it.",
		"signs_at": "From when it signs.", "taken": "It would be let in now.", "detail": "For people; it may change.", "since": when, "by": "Who asked for it: a user id, operator or system.", "note": "In their words.",
		"ended_reason": "Why it ended.", "revoked": "It is revoked.", "field": "The member or parameter.", "message": "What is wrong with it.", "status": "How it is.", "checks": "How each part is.",
		"iss": "Issuer.", "sub": "The user's id.", "aud": "Audience.", "client_id": "Client.", "iat": "When it was issued.", "nbf": "From when it is good.", "exp": "Until when it is good.", "jti": "Its own id.", "sid": "Its session's id.",
		"gen": "The generation of the account: all tokens of an earlier one are revoked.", "ep": "The epoch of the system: likewise.", "scope": "Words parted by spaces.", "roles": "Of the account, when it was issued.",

		"Registration.username": name, "CreateUserBody.username": name, "SetUpBody.username": name, "ChangeMeBody.username": name, "Registration.password": password, "CreateUserBody.password": password,
		"SetUpBody.password": password, "SetPasswordBody.password": password, "ChangePasswordBody.new_password": password, "ChangePasswordBody.current_password": "The one that is replaced.", "LoginBody.password": "The account's.",
		"SetUpBody.token": "What follows #token= in the link.", "ExplainBody.token": "An access token, a refresh token or an API key.", "RevokeBody.user_id": who, "RevokeUserTokensBody.user_id": who,
		"RevokeBody.session_id": "A session's id.", "RevokeBody.token": "An access token, a refresh token or an API key.", "RevokeBody.jti": "An access token's own id.", "RevokeBody.kid": "A signing key's id: everything that it signed.", "RevokeBody.all": "Everything.",
		"SecurityEvent.time": when, "SecurityEvent.kind": "What happened, such as authentication_failed or token_revoked.", "severity": "info, warning or critical.", "outcome": "success or failure.",
		"actor": "Who did it: a user id, operator or system; missing when nobody was signed in.", "subject": "Whom or what it concerns: an id.", "ip_address": "Where the request came from.", "user_agent": "What sent it.",
		"request_id": "By which the server's log tells of it.", "details": "What else is known, by name.", "SecurityEvent.email": "The address or name that was tried.", "ticket": "Good once.",
		"RevokedAPIKeys.revoked": "Their ids.", "NewAPIKey.key": "The text that is sent. It is shown here, and nowhere else.", "RefreshBody.refresh_token": "The last one that was handed out.",
		"Problem.type": "Where the code is explained.", "Problem.title": "The name of the status.", "Problem.status": "The status.", "Problem.code": "What a program decides by.", "Problem.request_id": "By which the server's log tells of it.",
		"Problem.errors": "All that is wrong with what was sent, when the code is validation_failed.",
	}
}

// advice is what a code means and what a client does about it, by code.
func advice() map[string][2]string {
	return map[string][2]string{
		"address_blocked":        {"The address that the request comes from is blocked.", "Ask whoever runs the server. The same address gets the same answer again."},
		"block_risky":            {"The block would shut out whoever could take it back, or very many; detail says whom.", "Block less, or insist with force."},
		"link_refused":           {"The link is used up or too old, or what it is for has ended already.", "Sign in and look at the sessions."},
		"incident_state":         {"The incident is not in a state that allows it, none is open, several are, or a drill goes on; detail says which.", "Do what detail says, or name the incident by its id."},
		"sign_in_held":           {"After an incident sign-ins are let in step by step, and this account's turn has not come.", "Ask again later: Retry-After says when at the earliest."},
		"not_containable":        {"There is nobody to be contained: no account, key or address.", "Look at what the alert names."},
		"too_many_silences":      {"As many silences are in force as may be.", "Wait until some end."},
		"too_many_blocks":        {"There are as many blocks as may be.", "Unblock some, or block a wider network in their place."},
		"body_too_large":         {"The body is longer than this route reads.", "Send less."},
		"credentials_invalid":    {"The name and the password are of no account that may sign in. Which of them is wrong is not told, nor whether the account is disabled.", "Ask for them again."},
		"cross_origin":           {"A page of another origin used the cookie.", "Name its origin in CORS_ORIGINS, or send the token in Authorization."},
		"forbidden":              {"The credential is good, and may not do this.", "Ask as an administrator, or with a key that has the scope that WWW-Authenticate names. The same credential gets the same answer again."},
		"host_unknown":           {"The server does not answer to this host name.", "Ask by a name of TRUSTED_HOSTS, or have this one put there; a probe may also ask by an address, or by a name without dots."},
		"internal":               {"A fault of the server, which its log tells of under the request_id.", "Tell whoever runs it the request_id."},
		"key_state":              {"The key is not in a state that allows it; detail says which.", "Look at the key's state, and decide anew."},
		"last_admin":             {"Nobody would be left who could undo it.", "Make another administrator first."},
		"malformed_json":         {"The body is not one JSON object.", "Mend the client."},
		"malformed_request":      {"The request contradicts itself: two credentials, a cut-off body, a query that cannot be read.", "Mend the client."},
		"method_not_allowed":     {"There is something here, for the methods that Allow names.", "Use one of them."},
		"no_space":               {"The server's disk is nearly full: it takes no new users, files and sign-ins, revocations it takes.", "Tell whoever runs it."},
		"not_found":              {"There is nothing under this path or name that the caller may see.", "Look at the path."},
		"own_account":            {"Administrators cannot do this to themselves.", "Ask another administrator."},
		"precondition_failed":    {"The file is not the one that If-Match or If-Unmodified-Since names.", "Ask for it anew, without them."},
		"quota_exceeded":         {"You keep as many files, or as many bytes of them, as may be.", "Delete some."},
		"range_not_satisfiable":  {"The file has none of the bytes that Range asks for; Content-Range says how many it has.", "Ask for others."},
		"rate_limited":           {"Too many requests in a minute; RateLimit-Policy says how many may be.", "Wait for as many seconds as Retry-After says."},
		"request_timeout":        {"The body did not arrive in time.", "Send it again, faster."},
		"not_yet_durable":        {"What you revoked is in force, and is written down once the database takes it.", "It need not be asked for again, unless that server is stopped before; /readyz tells while it waits."},
		"revocations_stale":      {"The server cannot know what is revoked, and so lets nobody in.", "Ask again after Retry-After; /readyz tells when it can."},
		"setup_refused":          {"The link is used up, too old, of another start of the server, or there is an administrator.", "Start the server anew for another link, or ask an administrator."},
		"taken":                  {"The e-mail address, the name or the key is there already.", "Choose another."},
		"token_expired":          {"The token's or key's time is over.", "Refresh, or sign in."},
		"token_invalid":          {"It is no token or key of this server, or one of an account or session that is no more.", "Sign in."},
		"token_malformed":        {"What was sent has not the form of a token or key.", "Mend the client."},
		"token_missing":          {"The route asks for a credential, and none was sent.", "Sign in, and send Authorization: Bearer."},
		"token_revoked":          {"The token, its session or the key was revoked; reason says why.", "Drop it, and sign in again where the reason allows it."},
		"too_many_api_keys":      {"The owner has as many live keys as may be.", "Revoke some."},
		"too_many_connections":   {"So many connections stay open already, of the user or of all together.", "Close some, or ask again after Retry-After."},
		"too_many_attempts":      {"Too many wrong passwords for this account in a minute. A right one is not compared either.", "Wait for as many seconds as Retry-After says."},
		"unavailable":            {"The server, or its database, cannot answer now.", "Ask again after Retry-After."},
		"upgrade_required":       {"The path is for WebSockets of version 13.", "Ask with a WebSocket client."},
		"unsupported_media_type": {"The body is compressed, or not called JSON, or a form with a file, where it must be.", "Send application/json; a file, multipart/form-data."},
		"validation_failed":      {"What was sent cannot be taken; errors says which members are wrong, and how.", "Mend them."},
	}
}
