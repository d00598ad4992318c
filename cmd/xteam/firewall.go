package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/xteam/xteam/adapters/awswaf"
	"github.com/xteam/xteam/adapters/webhook"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/ports"
)

// firewallSecret is the setting of the secret that the lists are signed with which go to a webhook. It is read through SECRETS_URL, at the start alone.
const firewallSecret = "FIREWALL_SECRET"

// isFirewall reports whether the text has the form of a firewall's address.
func isFirewall(v string) bool {
	if strings.HasPrefix(v, "awswaf:") {
		_, err := awswaf.Parse(v)
		return err == nil
	}
	return isWebhook(v)
}

// unfitFirewall says why a firewall does not serve in production: in the clear, anybody on the way reads whom this server turns away.
func unfitFirewall(s *settings) (why faults) {
	if u, err := url.Parse(s.FirewallURL); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
		why = append(why, "FIREWALL_URL: got http, takes in production https, but for this machine itself: addresses are of people")
	}
	return why
}

// openFirewall keeps the list of a firewall until the cleanup; none where the settings name none. Whether anybody is there shows only then.
func openFirewall(ctx context.Context, s settings, c *app.Core, b *app.Blocks, secrets *assembly.Secrets, log *slog.Logger) (*app.Firewall, func(), error) {
	if s.FirewallURL == "" {
		return nil, func() {}, nil
	}
	wall, closeAll, err := openWall(ctx, s, secrets)
	if err != nil {
		return nil, nil, err
	}
	f, stop, err := assembly.StartFirewall(ctx, c, b, wall, log)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return f, func() {
		stop()
		closeAll()
	}, nil
}

// openWall is the firewall that FIREWALL_URL names.
func openWall(ctx context.Context, s settings, secrets *assembly.Secrets) (ports.Firewall, func(), error) {
	if strings.HasPrefix(s.FirewallURL, "awswaf:") {
		o, err := awswaf.Parse(s.FirewallURL)
		if err != nil {
			return nil, nil, fmt.Errorf("FIREWALL_URL: %w", err)
		}
		wall, err := awswaf.New(ctx, o)
		if err != nil {
			return nil, nil, fmt.Errorf("FIREWALL_URL: %w", err)
		}
		return wall, func() {}, nil
	}
	key, err := secrets.Get(ctx, firewallSecret)
	if errors.Is(err, ports.ErrNotFound) {
		return nil, nil, fmt.Errorf("%s: there is none where SECRETS_URL says, and a FIREWALL_URL of https needs it; `xteam secret generate` makes one", firewallSecret)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", firewallSecret, err)
	}
	to, err := webhook.New(webhook.Options{URL: s.FirewallURL, Secret: key, Private: s.FirewallPrivate})
	if err != nil {
		return nil, nil, fmt.Errorf("FIREWALL_URL: %w", err)
	}
	return webhook.NewFirewall(to), to.Close, nil
}
