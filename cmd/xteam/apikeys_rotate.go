package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// rotation is what the command was given.
type rotation struct {
	url, ca, user string
	days, hours   int64
}

// rotatedKey is the answer that holds the new key's text, the one time.
type rotatedKey struct {
	ID      string    `json:"id"`
	Key     string    `json:"key"`
	Expires time.Time `json:"expires_at"`
}

func (c *cli) apiKeysRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate ID --url URL [--user U]",
		Short: "Put another key in the place of one of your own",
		Long: `Makes another key with the same name, scopes and limit, which takes the place of one
of yours; both are good during the overlap. It asks the server as any client does:
with --user it signs in, by the password on standard input, and out again; else that
holds an access token of yours, or an API key with api-keys:write. The new key, which
is told this once, is alone on standard output.`,
		Example: `  xteam api-keys rotate ID --url https://xteam.example.com --user ann >new.key
  xteam api-keys rotate ID --url https://xteam.example.com --overlap-hours 2 <token.txt`,
		Args: cobra.ExactArgs(1),
	}
	var o rotation
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "the URL that clients use, such as https://xteam.example.com")
	f.StringVar(&o.ca, "ca", "", "a file with the authority of the server's certificate, if the system does not know it")
	f.StringVar(&o.user, "user", "", "e-mail address or user name to sign in with; the password is read from standard input")
	f.Int64Var(&o.days, "expires-in-days", 0, "how long the new key lives; else as long as the old one was to live")
	f.Int64Var(&o.hours, "overlap-hours", 24, "how long the old key goes on; 0 ends it at once")
	_ = cmd.MarkFlagRequired("url") // fails for a flag that is not there alone
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		kid, err := c.keyArgument(cmd)
		if err != nil {
			return err
		}
		u, ok := serverURL(o.url)
		switch {
		case !ok:
			return c.misuse("--url takes the URL that clients use, such as https://xteam.example.com, without a path")
		case u.Scheme == "http" && !ownMachine(u.Hostname()):
			return c.misuse("--url takes https where the server is another machine: what is sent there is secret")
		}
		in := map[string]int64{"overlap_hours": o.hours}
		if f.Changed("expires-in-days") {
			in["expires_in_days"] = o.days
		}
		got, err := c.rotate(cmd.Context(), u, o, kid, in)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.print(true, got, "")
		}
		if err := c.print(false, nil, got.Key); err != nil {
			return err
		}
		until := fmt.Sprintf("goes on for %d hours", o.hours)
		if o.hours == 0 {
			until = "is dead"
		}
		_, err = fmt.Fprintf(c.err, "the key %s is good until %s; %s, whose place it takes, %s\n", got.ID, clock(got.Expires), kid, until)
		return err
	})
	return cmd
}

// ownMachine reports whether a host is this machine by its name or address.
func ownMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// rotate signs in if it is to, asks for the rotation, and signs out.
func (c *cli) rotate(ctx context.Context, u *url.URL, o rotation, kid string, in map[string]int64) (got rotatedKey, err error) {
	t, err := transportOf(o.ca)
	if err != nil {
		return got, err
	}
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	defer t.CloseIdleConnections()
	client := &clientOf{&http.Client{Transport: t, CheckRedirect: stay, Timeout: patience}, u.Scheme + "://" + u.Host + "/api/v1", ""}
	if o.user == "" {
		if client.bearer, err = c.token(ctx, "your access token or API key"); err != nil {
			return got, err
		}
	} else {
		word, err := c.line(ctx, "the password")
		if err != nil {
			return got, err
		}
		leave, err := client.signIn(ctx, o.user, word)
		if err != nil {
			return got, err
		}
		defer leave()
	}
	err = client.post(ctx, "/api-keys/"+url.PathEscape(kid)+"/rotate", in, &got)
	if _, unknown := refused(err, http.StatusNotFound); unknown {
		err = fmt.Errorf("no API key of yours has %q as its id", kid)
	}
	if err == nil && !strings.HasPrefix(got.Key, "xt_") {
		err = errors.New("the answer holds no key: does this URL lead to a server of XTeam?")
	}
	return got, err
}

// clientOf asks a server as any client does.
type clientOf struct {
	http   *http.Client
	base   string
	bearer string
}

func (a *clientOf) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	_, err = exchange(ctx, a.http, http.MethodPost, a.base+path, a.bearer, body, out)
	return err
}

// signIn signs in by a name or an e-mail address; leave signs out again.
func (a *clientOf) signIn(ctx context.Context, user, password string) (leave func(), err error) {
	name := "username"
	if strings.Contains(user, "@") {
		name = "email"
	}
	var tokens struct {
		Access string `json:"access_token"`
	}
	if err := a.post(ctx, "/auth/login", map[string]string{name: user, "password": password}, &tokens); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	if a.bearer = tokens.Access; a.bearer == "" {
		return nil, errors.New("sign in: the answer holds no token: does this URL lead to a server of XTeam?")
	}
	return func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = a.post(last, "/auth/logout", struct{}{}, nil) // else the session ends by itself
	}, nil
}
