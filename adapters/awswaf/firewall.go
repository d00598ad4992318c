// Package awswaf keeps the addresses of two IP sets of AWS WAF, one of IPv4 and one of IPv6. What the sets are used for, such as the rule of a web ACL that blocks what is in them, is the operator's to
// say there.
package awswaf

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"
	"github.com/aws/smithy-go/logging"

	"github.com/xteam/xteam/ports"
)

// MaxAddresses is how many networks an IP set holds, by the service's quota.
const MaxAddresses = 10_000

const (
	defaultTimeout = 20 * time.Second
	maxTries       = 3           // of a request that fails for reasons that pass
	maxPause       = time.Second // between them
	maxStale       = 5           // times that a set may be changed by others between its reading and its writing
	early          = time.Minute // how long before they expire credentials are asked for anew
)

// Firewall keeps the two sets. Whatever else is in them is taken away.
type Firewall struct {
	o           Options
	client      *wafv2.Client
	credentials *aws.CredentialsCache
}

var _ ports.Firewall = (*Firewall)(nil)

// New makes ready to keep the sets. It asks the service for nothing, as a server must start without it. There is nothing to close.
func New(ctx context.Context, o Options) (*Firewall, error) {
	if o.Region == "" || o.Scope == "" || o.IPv4.ID == "" || o.IPv6.ID == "" {
		return nil, refuse("a firewall of AWS WAF needs a region, a scope and two IP sets: write %s", form)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	given := []func(*config.LoadOptions) error{config.WithRegion(o.Region), config.WithLogger(logging.Nop{}),
		config.WithCredentialsCacheOptions(func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = early })}
	if o.Credentials != nil {
		given = append(given, config.WithCredentialsProvider(o.Credentials))
	}
	if o.HTTPClient != nil {
		given = append(given, config.WithHTTPClient(bounded(o.HTTPClient)))
	} else {
		given = append(given, config.WithHTTPClient(awshttp.NewBuildableClient())) // the only one that takes AWS_CA_BUNDLE
	}
	first, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(first, given...)
	if err != nil {
		return nil, refuse("AWS' shared configuration cannot be used: see ~/.aws/config, ~/.aws/credentials, and the variables AWS_… of the environment")
	}
	if made, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = bounded(&http.Client{Transport: made.GetTransport()})
	}
	f := &Firewall{o: o}
	cache, ok := cfg.Credentials.(*aws.CredentialsCache)
	if !ok {
		cache = aws.NewCredentialsCache(cfg.Credentials)
	}
	f.credentials = cache
	f.client = wafv2.NewFromConfig(cfg, func(c *wafv2.Options) {
		c.Credentials = asking{f.credentials}
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.MaxBackoff = maxTries, maxPause })
		if o.Endpoint != "" {
			c.BaseEndpoint = aws.String(o.Endpoint)
		}
	})
	return f, nil
}

// Set implements ports.Firewall. A set that is as it should be is read and not written. The service knows no network of all addresses: such a one is set as its two halves.
func (f *Firewall) Set(ctx context.Context, networks []netip.Prefix) error {
	within, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	var four, six []netip.Prefix
	for _, p := range networks {
		at := &six
		if p.Addr().Is4() {
			at = &four
		}
		*at = append(*at, halves(p)...)
	}
	// Each is tried whatever comes of the other: a set that somebody deleted must not keep the other one open.
	err := errors.Join(f.keep(within, f.o.IPv4, types.IPAddressVersionIpv4, four), f.keep(within, f.o.IPv6, types.IPAddressVersionIpv6, six))
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// halves is the network, or the two halves of all addresses.
func halves(p netip.Prefix) []netip.Prefix {
	if p.Bits() > 0 {
		return []netip.Prefix{p}
	}
	upper := p.Addr().AsSlice()
	upper[0] = 0x80
	a, _ := netip.AddrFromSlice(upper)
	return []netip.Prefix{netip.PrefixFrom(p.Addr(), 1), netip.PrefixFrom(a, 1)}
}

// keep has a set hold exactly these networks. Credentials that are refused as expired are put away, and others asked for once.
func (f *Firewall) keep(ctx context.Context, s IPSet, v types.IPAddressVersion, want []netip.Prefix) (err error) {
	slices.SortFunc(want, netip.Prefix.Compare)
	want = slices.Compact(want)
	if len(want) > MaxAddresses {
		return refuse("the IP set %s is to hold %d networks, and AWS WAF takes %d: unblock some, or block wider networks in their place", f.place(s), len(want), MaxAddresses)
	}
	for again := true; ; again = false {
		err = f.change(ctx, s, v, want)
		if !again || !errors.Is(err, errExpired) {
			return err
		}
		f.credentials.Invalidate()
	}
}

// change reads a set and, if it is another, writes it; once more from the start when somebody else changed it in between, as the token of the reading tells.
func (f *Firewall) change(ctx context.Context, s IPSet, v types.IPAddressVersion, want []netip.Prefix) error {
	for tries := 1; ; tries++ {
		got, err := f.client.GetIPSet(ctx, &wafv2.GetIPSetInput{Id: &s.ID, Name: &s.Name, Scope: types.Scope(f.o.Scope)})
		if err != nil {
			return f.fault(ctx, s, err)
		}
		switch {
		case got.IPSet == nil || got.LockToken == nil || aws.ToString(got.IPSet.Id) != s.ID:
			return refuse("AWS WAF gives an answer that is not about the IP set %s: see what stands between here and AWS", f.place(s))
		case got.IPSet.IPAddressVersion != v:
			return refuse("the IP set %s is not of %s: see which of the two is which in the URL of the firewall", f.place(s), v)
		case same(got.IPSet.Addresses, want):
			return nil
		}
		texts := make([]string, len(want))
		for i, p := range want {
			texts[i] = p.String()
		}
		in := &wafv2.UpdateIPSetInput{Id: &s.ID, Name: &s.Name, Scope: types.Scope(f.o.Scope), LockToken: got.LockToken, Addresses: texts}
		if aws.ToString(got.IPSet.Description) != "" { // it is replaced too, and may not be empty
			in.Description = got.IPSet.Description
		}
		_, err = f.client.UpdateIPSet(ctx, in)
		stale := (*types.WAFOptimisticLockException)(nil)
		if !errors.As(err, &stale) || tries == maxStale {
			return f.fault(ctx, s, err)
		}
		if err := pause(ctx, tries); err != nil {
			return f.fault(ctx, s, err)
		}
	}
}

// pause waits a little, each time longer.
func pause(ctx context.Context, tries int) error {
	t := time.NewTimer(50 * time.Millisecond << tries)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// same reports whether a set holds exactly the networks that are wanted, which are in order. The service writes addresses of IPv6 in full.
func same(has []string, want []netip.Prefix) bool {
	if len(has) != len(want) {
		return false
	}
	is := make([]netip.Prefix, len(has))
	for i, text := range has {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return false
		}
		is[i] = p.Masked()
	}
	slices.SortFunc(is, netip.Prefix.Compare)
	return slices.Equal(is, want)
}

// place names a set, for sentences.
func (f *Firewall) place(s IPSet) string { return s.Name + " in " + f.o.Region }
