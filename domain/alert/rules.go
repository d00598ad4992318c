package alert

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/audit"
)

// Rule says when something is an alert: when at least Threshold of what it counts come within Window, of one group. It is not told of again within Cooldown.
type Rule struct {
	Name      string
	Meaning   string
	Severity  audit.Severity
	Threshold int // 0: the rule is off
	Window    time.Duration
	Cooldown  time.Duration

	Grouping Grouping // whom an alert is about

	of      func(e *audit.Event) bool
	group   func(e *audit.Event) string // empty: everybody is one group
	what    func(e *audit.Event) string // counts different ones of these; nil: events
	contain func(id, group string) string
	usual   bool // also told of when the last hour has five times the usual of the hours before
}

// Grouping says what the group of an alert is. What was typed in at a sign-in may look like anything, an address too.
type Grouping string

// The groupings.
const (
	Everybody Grouping = ""
	Account   Grouping = "account" // a user's id, or what was typed in
	Address   Grouping = "address" // an address, or a /64
	User      Grouping = "user"    // a user's id, "operator", or "system"
	Key       Grouping = "api_key" // an API key's id
)

// More is the group of all for whom there is no room.
const More = "(many more)"

// The bounds of what settings may say.
const (
	maxThreshold = 100_000
	maxWindow    = time.Hour
	maxCooldown  = 24 * time.Hour
)

// ForeignStoreSession is the name of the rule by whose cooldown it is told of a store's sessions from outside.
const ForeignStoreSession = "foreign_store_session"

// The names of the rules that the application itself fires.
const (
	AuditBroken = "audit_broken"
	StaleView   = "stale_view"
	TestAlert   = "test"
)

// Rules is the table as it is without settings.
func Rules() []Rule {
	failed := func(e *audit.Event) bool { return e.Kind == audit.AuthenticationFailed }
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	rules := []Rule{
		{Name: "failed_sign_ins_by_account", Meaning: "wrong passwords at one account, by whatever of its names", Severity: audit.Warning, Threshold: 20, Window: minutes(10), Cooldown: minutes(15), of: failed, Grouping: Account, group: accountOf, contain: containAlert},
		{Name: "failed_sign_ins_by_address", Meaning: "wrong passwords from one address, or one /64", Severity: audit.Warning, Threshold: 30, Window: minutes(10), Cooldown: minutes(15), of: failed, Grouping: Address, group: addressOf, contain: blockAddress},
		{Name: "guessing_from_many_addresses", Meaning: "wrong passwords at one account from so many addresses", Severity: audit.Critical, Threshold: 15, Window: minutes(10), Cooldown: minutes(15), of: failed, Grouping: Account, group: accountOf, what: addressOf, contain: containAlert},
		{Name: "password_spraying", Meaning: "wrong passwords at so many accounts", Severity: audit.Critical, Threshold: 50, Window: minutes(10), Cooldown: minutes(15), of: failed, what: accountOf, contain: containAlert},
		{Name: "revocations", Meaning: "so many revocations, or five times what an hour usually has", Severity: audit.Warning, Threshold: 200, Window: time.Hour, Cooldown: time.Hour, of: kinds(audit.TokenRevoked, audit.RefreshReused), contain: fixed("xteam audit tail"), usual: true},
		{Name: "rate_limit_violations", Meaning: "requests refused for a limit, or attempts at passwords", Severity: audit.Warning, Threshold: 1000, Window: minutes(5), Cooldown: minutes(15), of: kinds(audit.RateLimited, audit.AttemptsLimited), contain: fixed("xteam audit tail")},
		{Name: "privilege_escalation", Meaning: "one caller asks for what they may not do", Severity: audit.Warning, Threshold: 5, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.PermissionDenied), Grouping: User, group: actorOf, contain: revokeUser},
		{Name: "refresh_reuse", Meaning: "a refresh token was used twice: one of the two bearers has stolen it", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.RefreshReused), Grouping: User, group: subjectOf, contain: revokeUser},
		{Name: "sign_in_disowned", Meaning: "a user says that a sign-in was not theirs: somebody knows their password", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.SignInDisowned), Grouping: User, group: subjectOf, contain: revokeUser},
		{Name: "api_key_refusals", Meaning: "API keys that were refused, from one address", Severity: audit.Warning, Threshold: 20, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.APIKeyRefused), Grouping: Address, group: addressOf, contain: blockAddress},
		{Name: "api_key_misused", Meaning: "requests with one API key, which is known, that were refused", Severity: audit.Warning, Threshold: 20, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.APIKeyRefused), Grouping: Key, group: keyOf, contain: revokeKey},
		{Name: "api_key_new_network", Meaning: "an API key was used from a network that it was not used from before", Severity: audit.Warning, Threshold: 1, Window: minutes(10), Cooldown: time.Hour, of: anomaly(NewNetwork), Grouping: Key, group: keyOf, contain: revokeKey},
		{Name: "api_key_many_networks", Meaning: "an API key was used from more networks within 30 days than are remembered of it: it roams, or many have it; new ones are not told of meanwhile", Severity: audit.Warning, Threshold: 1, Window: minutes(10), Cooldown: time.Hour, of: anomaly(ManyNetworks), Grouping: Key, group: keyOf, contain: revokeKey},
		{Name: "api_key_unusual_use", Meaning: "an API key was used ten times as often within an hour as it usually is", Severity: audit.Warning, Threshold: 1, Window: minutes(10), Cooldown: time.Hour, of: anomaly(UnusualUse), Grouping: Key, group: keyOf, contain: revokeKey},
		{Name: "canary_failed", Meaning: "a node has not said that it refuses what was revoked", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.CanaryFailed), contain: fixed("xteam nodes")},
		{Name: "source_healed", Meaning: "a store had lost revocations, which were put back", Severity: audit.Warning, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.SourceHealed), contain: fixed("xteam config --failure-modes")},
		{Name: ForeignStoreSession, Meaning: "a session of the database or of Redis from outside DB_ALLOWED_NETWORKS: whoever it is has its password", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: time.Hour, of: kinds(audit.StoreSessionForeign), Grouping: Address, group: addressOf, contain: fixed("xteam doctor")},
		{Name: "honeytoken_touched", Meaning: "a credential of a decoy was tried: nobody uses it, so whoever did has looked where nobody should", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.HoneytokenTouched), Grouping: Address, group: whence, contain: blockAddress},
		{Name: "epoch_raised", Meaning: "all tokens were withdrawn", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.EpochRaised), contain: fixed("xteam audit tail")},
		{Name: "event_unreadable", Meaning: "events were changed in the store, so that they cannot be read: somebody writes there who has not the keys", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), of: kinds(audit.EventUnreadable), contain: fixed("xteam audit verify")},
		{Name: AuditBroken, Meaning: "the audit trail cannot be gone on with", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: time.Hour, contain: fixed("xteam audit verify")},
		{Name: StaleView, Meaning: "the revocations are not heard of: tokens are refused", Severity: audit.Critical, Threshold: 1, Window: minutes(10), Cooldown: minutes(15), contain: fixed("xteam nodes")},
	}
	return rules
}

func kinds(all ...audit.Kind) func(*audit.Event) bool {
	return func(e *audit.Event) bool { return slices.Contains(all, e.Kind) }
}

// The reasons of an audit.APIKeyAnomaly.
const (
	NewNetwork   = "new_network"
	ManyNetworks = "many_networks"
	UnusualUse   = "unusual_use"
)

func anomaly(reason string) func(*audit.Event) bool {
	return func(e *audit.Event) bool { return e.Kind == audit.APIKeyAnomaly && e.Reason == reason }
}

// keyOf is the API key that an event of the system's is about. Of refused ones those are counted that are known; each address' are counted by another event.
func keyOf(e *audit.Event) string {
	if e.Actor != "system" {
		return ""
	}
	return e.Details["api_key"]
}

// accountOf is the account that was tried: by its id, so that its names count as one, else by what was typed in, in any letter case.
func accountOf(e *audit.Event) string {
	if e.Subject != "" {
		return e.Subject
	}
	return strings.ToLower(e.Email)
}

func subjectOf(e *audit.Event) string { return e.Subject }
func actorOf(e *audit.Event) string   { return e.Actor }

// addressOf is the address; of IPv6 its /64, in which one client has any number.
func addressOf(e *audit.Event) string { return networkOf(e.IPAddress) }

// nowhere is the group of those that came by a way that has no address, as the operator's socket.
const nowhere = "(no address)"

// whence is addressOf of what is to be told of even without an address.
func whence(e *audit.Event) string {
	if a := addressOf(e); a != "" {
		return a
	}
	return nowhere
}

func containAlert(id, _ string) string { return "xteam alerts contain " + id }
func blockAddress(id, group string) string {
	if group == "" || group == nowhere {
		return ""
	}
	return "xteam blocked-ips add " + group + " --for 1h --reason \"alert " + id + "\""
}

func revokeKey(id, group string) string {
	if !named(group) {
		return ""
	}
	return "xteam api-keys revoke " + group + " --reason \"alert " + id + "\""
}

// named reports whether a text has the form of an id.
func named(group string) bool {
	return len(group) == 32 && strings.Trim(group, "0123456789abcdef") == ""
}

func revokeUser(id, group string) string {
	if !named(group) { // the operator, or nobody
		return ""
	}
	return "xteam revoke --user " + group + " --reason \"alert " + id + "\""
}

func fixed(command string) func(string, string) string {
	return func(string, string) string { return command }
}

// ParseRules is the table with what settings change: RULE=THRESHOLD[/WINDOW[/COOLDOWN]] or RULE=off, separated by commas, such as
//
//	failed_sign_ins_by_account=10/5m/30m,epoch_raised=off
func ParseRules(text string) ([]Rule, error) {
	rules := Rules()
	seen := map[string]bool{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, value, _ := strings.Cut(item, "=")
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no rule %q: `xteam alerts rules` lists them", strings.TrimSpace(name))
		}
		if seen[rules[i].Name] {
			return nil, fmt.Errorf("the rule %s is named twice", rules[i].Name)
		}
		seen[rules[i].Name] = true
		if err := rules[i].set(strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("the rule %s: %w", rules[i].Name, err)
		}
	}
	return rules, nil
}

func (r *Rule) set(value string) error {
	if value == "off" {
		r.Threshold = 0
		return nil
	}
	parts := strings.Split(value, "/")
	n, err := strconv.Atoi(parts[0])
	if len(parts) > 3 {
		return fmt.Errorf("%q has too many parts", value)
	}
	if err != nil || n < 1 || n > maxThreshold {
		return fmt.Errorf("its threshold is %q: it must be from 1 to %d, or off", parts[0], maxThreshold)
	}
	r.Threshold = n
	for i, of := range []struct {
		name string
		at   *time.Duration
		most time.Duration
	}{{"window", &r.Window, maxWindow}, {"cooldown", &r.Cooldown, maxCooldown}} {
		if len(parts) <= i+1 {
			break
		}
		d, err := time.ParseDuration(parts[i+1])
		if err != nil || d < time.Second || d > of.most {
			return fmt.Errorf("its %s is %q: it must be from 1s to %v, such as 10m", of.name, parts[i+1], of.most)
		}
		*of.at = d
	}
	return nil
}

// Concerns reports whether an event is one of those that an alert counts, or would be, were it in time: what contains the alert looks for them.
func (r *Rule) Concerns(e *audit.Event, group string) bool {
	return r.of != nil && r.of(e) && (r.group == nil || r.group(e) == group)
}

// Blocks reports whether what the rule finds is contained by blocking the addresses that its events came from.
func (r *Rule) Blocks() bool {
	return r.Name == "failed_sign_ins_by_account" || r.Name == "guessing_from_many_addresses" || r.Name == "password_spraying"
}

// Network is the network in which an address of an event is one client's: the address itself, or its /64; the zero Prefix when there is none.
func Network(e *audit.Event) netip.Prefix {
	text := addressOf(e)
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, _ := netip.ParsePrefix(text)
	return p
}
