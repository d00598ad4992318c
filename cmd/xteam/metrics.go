package main

import (
	"time"

	"github.com/xteam/xteam/adapters/metrics"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/app/xteam/assembly"
)

// watched is a registry that asks the parts of the service for their figures whenever it is read.
type watched struct{ *metrics.Registry }

func watch(r *metrics.Registry, v *view.View, passwords *passhash.Hasher, l *app.Limiter, db assembly.Database, secrets *assembly.Secrets, keys *app.Rotator, owed *app.Pending, clocks *app.Clocks, trail *app.Trail, blocks *app.Blocks, nodes *app.Nodes, tethers *app.Tethers, sinks *app.Sinks, alerts *app.Alerts, incidents *app.Incidents, firewall *app.Firewall, guests *app.Guests, out *output) watched {
	var policies []string
	for _, p := range l.Policies() {
		policies = append(policies, p.Name)
	}
	r.Policies(policies)
	r.Gauge("xteam_revocations_live", "Revocations that are held in memory.", func() float64 { return float64(v.Status().Live) })
	r.Gauge("xteam_revocation_view_age_seconds", "Time since the view of the revocations was last known to hold everything; -1 before it first was.", func() float64 {
		age, ok := v.Age()
		if !ok {
			return -1
		}
		return age.Seconds()
	})
	r.Gauge("xteam_revocations_not_durable", "Revocations that are in force and that the database has not taken yet.", func() float64 { return float64(owed.Len()) })
	r.Counter("xteam_revocations_unread_total", "Entries of Redis' revocations that could not be read (damaged, forged, or of another version), each time they were come upon; the database is asked in their place.", func() float64 { return float64(v.Unread()) })
	r.Gauge("xteam_revocation_view_fresh", "1 while tokens are taken, 0 while the view of the revocations is too old to be trusted.", func() float64 {
		if v.Status().OK {
			return 1
		}
		return 0
	})
	r.Gauge("xteam_blocked_networks", "Blocked addresses and networks that are held in memory.", func() float64 { return float64(blocks.Len()) })
	r.Gauge("xteam_password_hashes_running", "Passwords that are being hashed.", func() float64 {
		running, _ := passwords.Load()
		return float64(running)
	})
	r.Gauge("xteam_password_hashes_waiting", "Passwords that wait for the gate of the hasher.", func() float64 {
		_, waiting := passwords.Load()
		return float64(waiting)
	})
	r.Counter("xteam_password_hashes_refused_total", "Passwords that were turned away because too many waited for the gate, or because they had waited too long.", func() float64 { return float64(passwords.Refused()) })
	r.Gauge("xteam_rate_limits_shared", "1 while requests are counted where the limits say, 0 while the shared buckets do not answer and this node counts by itself.", func() float64 {
		if !l.Counts() {
			return 0
		}
		return 1
	})
	r.Gauge("xteam_store_free_bytes", "Free space of the store's disk, asked for once a second; -1 when that is not known, or not watched.", func() float64 {
		free, _ := db.Space()
		return float64(free)
	})
	r.Gauge("xteam_store_takes_new", "1 while new users and sign-ins are taken, 0 while there is too little free space for them.", func() float64 {
		if _, err := db.Space(); err != nil {
			return 0
		}
		return 1
	})
	r.Gauge("xteam_secrets_age_seconds", "Time since the secrets were last read from their source.", func() float64 {
		age, _ := secrets.Status()
		return age.Seconds()
	})
	r.Gauge("xteam_secrets_readable", "1 while the secrets can be read, 0 while the last good ones are used on.", func() float64 {
		if _, fault := secrets.Status(); fault != nil {
			return 0
		}
		return 1
	})
	r.Gauge("xteam_signing_key_age_seconds", "Time since the key that signs was made, or since it was first seen when a setting gives it.", func() float64 {
		return time.Since(keys.List()[0].Created.Time()).Seconds()
	})
	r.Gauge("xteam_nodes_live", "Nodes of the system that have said something within five seconds, this one included.", func() float64 { return float64(len(nodes.List())) })
	kinds := map[string]func() float64{}
	for _, c := range app.Connections() {
		kinds[c.String()] = func() float64 { return float64(tethers.OpenOf(c)) }
	}
	r.Gauges("xteam_connections_open", "WebSockets, event streams and followers of the feed that are open, by kind.", "kind", kinds)
	r.Gauge("xteam_canary_failed", "1 when this node took a canary, a token that was revoked to see that it is refused; else 0.", func() float64 {
		if nodes.Canary().Failed {
			return 1
		}
		return 0
	})
	r.Gauge("xteam_canary_age_seconds", "Time since this node last judged a canary; -1 before the first.", func() float64 {
		at := nodes.Canary().At
		if at == 0 {
			return -1
		}
		return time.Since(at.Time()).Seconds()
	})
	r.Gauge("xteam_clock_offset_seconds", "How far the clock of a store that servers share is ahead of this machine's; of several the one that differs most.", func() float64 {
		return clocks.Most().Seconds()
	})
	r.Counter("xteam_audit_linked_total", "Events that this process has linked into the audit trail.", func() float64 { return float64(trail.Linked()) })
	r.Counter("xteam_audit_unreadable_total", "Events that could not be read, for they were changed in the store, when this process linked the audit trail, which says so in their places.", func() float64 { return float64(trail.Unreadable()) })
	r.Gauge("xteam_audit_records", "Records of the audit trail, by the number of the last.", func() float64 { return float64(trail.Status().Seq) })
	r.Gauge("xteam_audit_lag_seconds", "Age of the oldest event that was not linked when it was last looked; 0 when all were.", func() float64 { return trail.Status().Lag.Seconds() })
	r.Gauge("xteam_audit_linking", "1 while events are linked into the audit trail, 0 while they cannot be.", func() float64 {
		if trail.Status().Err != nil {
			return 0
		}
		return 1
	})
	lags, tries := map[string]func() float64{}, map[string]func() float64{}
	for i, one := range sinks.Status() {
		lags[one.Name] = func() float64 { return sinks.Status()[i].Lag.Seconds() }
		tries[one.Name] = func() float64 { return float64(sinks.Status()[i].Tries) }
	}
	r.Gauges("xteam_sink_lag_seconds", "Age of the oldest event that a sink had not taken when it was last looked for; 0 when it had taken all.", "sink", lags)
	r.Gauges("xteam_sink_tries", "How often what is next for a sink has failed, on the node that delivers; else 0.", "sink", tries)
	r.Gauge("xteam_alerts_open", "Alerts that nobody has acknowledged, in the whole system; -1 when the store does not answer.", func() float64 { return float64(alerts.Open()) })
	r.Gauge("xteam_incidents_open", "Incidents that are not resolved, in the whole system.", func() float64 { return float64(incidents.Unresolved()) })
	r.Gauge("xteam_sign_ins_admitted_percent", "Of the users, whose sign-ins this node lets in: less than 100 during an incident.", func() float64 { return float64(incidents.Percent()) })
	r.Gauge("xteam_node_isolated", "1 while this node serves nobody, for an incident; else 0.", func() float64 {
		if incidents.Isolated() {
			return 1
		}
		return 0
	})
	foreign := map[string]func() float64{}
	for _, store := range guests.Stores() {
		foreign[store] = func() float64 { return float64(guests.Foreign(store)) }
	}
	if guests != nil {
		r.Gauges("xteam_store_sessions_foreign", "Connections to a store from outside DB_ALLOWED_NETWORKS, as the node that looks has seen; -1 when it saw none and could not see all; 0 on other nodes.", "store", foreign)
	}
	r.Gauge("xteam_firewall_lag_seconds", "Age of the oldest event since which the firewall may lack a change of what is blocked, when it was last looked for; 0 when it has all, or there is none.", func() float64 { return firewall.Status().Lag.Seconds() })
	r.Gauge("xteam_firewall_tries", "How often setting the firewall's list has failed, on the node that does it; else 0.", func() float64 { return float64(firewall.Status().Tries) })
	r.Counter("xteam_log_lines_lost_total", "Lines of the log that could not be written, or came faster than they could be.", func() float64 { return float64(out.dropped.Load()) })
	return watched{r}
}
