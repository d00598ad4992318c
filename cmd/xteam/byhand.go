package main

import "strings"

// byHand is what only people can change after a break-in: of each secret that the settings name, where it is changed first and where then.
func byHand(s settings, get lookup) (all []string) {
	add := func(name, how string) {
		if given(get, name) != "" {
			all = append(all, name+": "+how)
		}
	}
	root := "put another value in its place (`xteam secret generate` makes one) and the one before under ROOT_KEY_PREVIOUS: the few keys that it wraps are wrapped anew, and no record is touched"
	if given(get, "ROOT_KEY") == "" {
		all = append(all, "ROOT_KEY, which was made at the first start and is kept under secrets in DATA_DIR, or in the place that SECRETS_URL names: "+root)
	} else {
		add("ROOT_KEY", root)
	}
	add("SECRET_KEY", "put another value in its place, and tell whoever verifies with it; what the one before signed is verified no longer unless it stands in SECRET_KEY_PREVIOUS")
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "REVOCATION_URL", "RATE_LIMIT_URL"} {
		if _, after, found := strings.Cut(given(get, name), "://"); found && strings.Contains(after, "@") {
			add(name, "give its user another password at the server, then here; look at the server's own list of sessions for strangers")
		}
	}
	add("VAULT_TOKEN", "revoke it in Vault, and give another")
	add("VAULT_SECRET_ID", "destroy it in Vault, and give another")
	add("SSL_KEYFILE", "have the certificate revoked by who issued it, and give another key with a new certificate; SIGHUP takes both up")
	add("ALERT_WEBHOOK_SECRET", "agree on another one with the receiver of alerts")
	add(notifySecret, "agree on another one with the receiver of notices")
	add(headersSetting, "give the collector's other credential")
	if s.AuditCheckpoints == "" {
		all = append(all, "The audit trail's checkpoints are kept nowhere else (AUDIT_CHECKPOINTS): against whoever had the store and its keys it proves nothing")
	}
	return append(all, "Whatever else ran with the rights of this service: its machine, its user, its backups")
}
