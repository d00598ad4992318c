package main

import (
	"strings"

	"github.com/xteam/xteam/domain/keyset"
)

// byHand is what only people can change after a break-in: of each secret that the settings name, where it is changed first and where then.
func byHand(s settings, get lookup) (all []string) {
	add := func(name, how string) {
		if given(get, name) != "" {
			all = append(all, name+": "+how)
		}
	}
	all = append(all, rootByHand(s, get))
	signs := s.Algorithm == "" || s.Algorithm == keyset.HS256
	external := given(get, "SECRET_KEY") != "" || signs && s.SecretsURL != "env:"
	if external {
		all = append(all, "SECRET_KEY: put another value in its place, and tell whoever verifies with it; what the one before signed is verified no longer unless it stands in SECRET_KEY_PREVIOUS")
	}
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "REVOCATION_URL", "RATE_LIMIT_URL"} {
		if _, after, found := strings.Cut(given(get, name), "://"); found && strings.Contains(after, "@") {
			add(name, "give its user another password at the server, then here; look at the server's own list of sessions for strangers")
		}
	}
	add("VAULT_TOKEN", "revoke it in Vault, and give another")
	add("VAULT_SECRET_ID", "destroy it in Vault, and give another")
	add("SSL_KEYFILE", "have the certificate revoked by who issued it, and give another key with a new certificate; SIGHUP takes both up")
	use := func(used bool, name, how string) {
		if used {
			all = append(all, name+": "+how)
		}
	}
	use(s.AlertURL != "", webhookSecret, "agree on another one with the receiver of alerts")
	use(s.NotifyURL != "", notifySecret, "agree on another one with the receiver of notices")
	use(s.AuditURL != "", auditSecret, "agree on another one with the receiver of checkpoints")
	use(strings.HasPrefix(s.FirewallURL, "http"), firewallSecret, "agree on another one with the firewall's webhook")
	use(strings.HasPrefix(s.FirewallURL, "awswaf:") || strings.HasPrefix(s.SecretsURL, "awssm:"), "The credentials of AWS", "replace them, or the role that this machine has")
	use(strings.HasPrefix(s.SecretsURL, "azurekv:"), "The credentials of Azure", "replace them, or the identity that this machine has")
	use(s.Collector != "" && given(get, headersSetting) != "", headersSetting, "give the collector's other credential")
	if s.AuditCheckpoints == "" && s.AuditURL == "" {
		all = append(all, "The audit trail's checkpoints are kept nowhere else (AUDIT_CHECKPOINTS, AUDIT_WEBHOOK_URL): against whoever had the store and its keys it proves nothing")
	}
	return append(all, "Whatever else ran with the rights of this service: its machine, its user, its backups")
}

// rootByHand is how ROOT_KEY is replaced. A store is opened with the new value and the old one once, and from then on with the new one alone.
func rootByHand(s settings, get lookup) string {
	what, with, then := "ROOT_KEY", "put another value in its place (`xteam secret generate` makes one) and the one before under ROOT_KEY_PREVIOUS, on every server", "take ROOT_KEY_PREVIOUS away"
	scheme, _, _ := strings.Cut(s.SecretsURL, ":")
	switch {
	case scheme == "vault", scheme == "awssm", scheme == "azurekv":
		what, with, then = "ROOT_KEY, where SECRETS_URL says", "write another value there (`xteam secret generate` makes one); the version before serves as ROOT_KEY_PREVIOUS by itself", "destroy that version"
	case scheme != "env":
		what = "ROOT_KEY, where SECRETS_URL says"
	case given(get, "ROOT_KEY") == "":
		what = "ROOT_KEY, which was made at the first start and is kept in secrets/ROOT_KEY in DATA_DIR"
		with = "give another value as the setting ROOT_KEY (`xteam secret generate` makes one) and the one of that file as ROOT_KEY_PREVIOUS"
		then = "take ROOT_KEY_PREVIOUS and the file away"
	}
	return what + ": " + with + ", and start: the few keys that it wraps are wrapped anew, and no record is touched. Then " + then + " and start once more, which proves that the old value opens nothing here; make a backup, and destroy those of before, which it opens still. " +
		"Whoever had the old value together with the store or a backup may have the keys that records are sealed by, which stay: what such a copy held is known"
}
