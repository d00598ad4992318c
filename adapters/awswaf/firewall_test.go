package awswaf_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xteam/xteam/adapters/awswaf"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func open(t *testing.T, s *service, o awswaf.Options) *awswaf.Firewall {
	t.Helper()
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, "/nowhere/at/all")
	}
	o.Region, o.Scope, o.Endpoint = region, "REGIONAL", s.url
	if o.IPv4.ID == "" {
		o.IPv4, o.IPv6 = awswaf.IPSet{Name: "four", ID: "id-4"}, awswaf.IPSet{Name: "six", ID: "id-6"}
	}
	if o.Credentials == nil {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "planted-secret"}, nil
		})
	}
	f, err := awswaf.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func networks(text ...string) (all []netip.Prefix) {
	for _, one := range text {
		all = append(all, netip.MustParsePrefix(one))
	}
	return all
}

func TestConformance(t *testing.T) {
	porttest.Firewall(t, func(t *testing.T) (ports.Firewall, func() []netip.Prefix) {
		s := serve(t)
		return open(t, s, awswaf.Options{}), s.has
	})
}

// What is as it should be is read and not written; what somebody else changes is put right, the description stays, and one who is faster is waited for.
func TestDriftAndStaleTokens(t *testing.T) {
	s := serve(t)
	f := open(t, s, awswaf.Options{})
	want := networks("192.0.2.1/32", "2001:db8:0:1::/64", "2001:db8::1/128")
	set := func() {
		t.Helper()
		if err := f.Set(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got := s.has(); len(got) != 3 {
			t.Fatalf("the sets hold %v, want %v", got, want)
		}
	}
	set()
	s.change(func() { s.writes = 0 })
	set()
	if s.change(func() {}); s.writes != 0 {
		t.Errorf("the same list was written again, %d times", s.writes)
	}
	s.change(func() { s.sets["id-4"].Addresses = nil; s.sets["id-6"].Addresses = []string{"2001:db8::/32"} })
	set()
	s.change(func() { s.sets["id-4"].Addresses = []string{"203.0.113.1/32"}; s.meddle = 3; s.writes = 0 })
	set()
	if s.writes != 4 {
		t.Errorf("written %d times, want once more than somebody else was faster", s.writes)
	}
	if got := s.sets["id-4"].Description; got != "what XTeam blocks" {
		t.Errorf("the description is %q", got)
	}
	s.change(func() { s.meddle = 1000 })
	err := f.Set(t.Context(), networks("192.0.2.2/32"))
	if err == nil || !strings.Contains(err.Error(), "again and again") || !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("with somebody who is always faster: %v", err)
	}
}

func TestNetworksOfAllAddresses(t *testing.T) {
	s := serve(t)
	if err := open(t, s, awswaf.Options{}).Set(t.Context(), networks("0.0.0.0/0", "::/0", "128.0.0.0/1")); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(s.sets["id-4"].Addresses, s.sets["id-6"].Addresses), "[0.0.0.0/1 128.0.0.0/1] [::/1 8000::/1]"; got != want {
		t.Errorf("the sets hold %s, want %s", got, want)
	}
}

// The quota is told before the service is asked for anything; and one set that cannot be kept does not keep the other from it.
func TestTooManyAndOneAlone(t *testing.T) {
	s := serve(t)
	f := open(t, s, awswaf.Options{})
	many := networks("2001:db8::/32")
	for i := range awswaf.MaxAddresses + 1 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
	}
	err := f.Set(t.Context(), many)
	if err == nil || !strings.Contains(err.Error(), "four in eu-central-1 is to hold 10001 networks, and AWS WAF takes 10000") {
		t.Errorf("too many: %v", err)
	}
	if s.writes != 1 || len(s.sets["id-6"].Addresses) != 1 {
		t.Errorf("written %d times; the other set holds %v", s.writes, s.sets["id-6"].Addresses)
	}
	if err := f.Set(t.Context(), many[:len(many)-1]); err != nil {
		t.Errorf("as many as are taken: %v", err)
	}
	s.change(func() { delete(s.sets, "id-4") })
	err = f.Set(t.Context(), networks("192.0.2.1/32", "2001:db8::7/128"))
	if err == nil || !strings.Contains(err.Error(), "no IP set four") || strings.Contains(err.Error(), "planted") || s.sets["id-6"].Addresses[0] != "2001:db8::7/128" {
		t.Errorf("with one set alone: %v, %v", err, s.sets["id-6"].Addresses)
	}
}

// Credentials that ended are asked for anew, once.
func TestCredentialsThatEnd(t *testing.T) {
	s := serve(t)
	key := "AKIDOLD"
	f := open(t, s, awswaf.Options{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		was := key
		key = "AKIDTEST"
		return aws.Credentials{AccessKeyID: was, SecretAccessKey: "planted-secret"}, nil
	})})
	if err := f.Set(t.Context(), networks("192.0.2.1/32")); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	for name, way := range map[string]struct {
		broken http.HandlerFunc
		says   string
	}{
		"a denial":                {refuses(400, "AccessDeniedException"), "allow the role wafv2:GetIPSet and wafv2:UpdateIPSet"},
		"throttling":              {refuses(400, "ThrottlingException"), "throttles requests"},
		"credentials of nobody":   {refuses(400, "UnrecognizedClientException"), "does not take the credentials"},
		"an internal error":       {refuses(500, "WAFInternalErrorException"), "(500 WAFInternalErrorException)"},
		"503":                     {answers(503, "text/plain", "planted-value"), "(503)"},
		"HTML":                    {answers(200, "text/html", "<html>planted-value</html>"), "makes no sense"},
		"half an answer":          {answers(200, "application/x-amz-json-1.1", `{"LockToken":"planted-val`), "makes no sense"},
		"an empty answer":         {answers(200, "application/x-amz-json-1.1", `{}`), "not about the IP set"},
		"an answer of another":    {answers(200, "application/x-amz-json-1.1", `{"LockToken":"a","IPSet":{"Id":"planted-value","IPAddressVersion":"IPV4"}}`), "not about the IP set"},
		"an error that is a text": {answers(400, "application/x-amz-json-1.1", `{"__type":"planted-value","Message":"planted-value"}`), "makes no sense"},
		"an answer without end":   {endless, "more than 1048576 bytes"},
		"a redirect": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/planted-value")
			w.WriteHeader(307)
		}, "makes no sense"},
		"a hang":  {hangs, "no answer"},
		"a reset": {resets, "cannot be "},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			f := open(t, s, awswaf.Options{Timeout: 2 * time.Second})
			s.change(func() { s.broken = way.broken })
			err := f.Set(t.Context(), networks("192.0.2.1/32"))
			if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), way.says) || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v, want what says %q", err, way.says)
			}
			s.change(func() { s.broken = nil })
			if err := f.Set(t.Context(), networks("192.0.2.1/32")); err != nil {
				t.Errorf("once it answers: %v", err)
			}
		})
	}
	t.Run("no credentials", func(t *testing.T) {
		f := open(t, serve(t), awswaf.Options{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("planted-value")
		})})
		if err := f.Set(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no credentials") || strings.Contains(err.Error(), "planted") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("sets that are exchanged", func(t *testing.T) {
		f := open(t, serve(t), awswaf.Options{IPv4: awswaf.IPSet{Name: "six", ID: "id-6"}, IPv6: awswaf.IPSet{Name: "four", ID: "id-4"}})
		if err := f.Set(t.Context(), networks("192.0.2.1/32")); err == nil || !strings.Contains(err.Error(), "six in eu-central-1 is not of IPV4") {
			t.Errorf("got %v", err)
		}
	})
}

func TestParse(t *testing.T) {
	got, err := awswaf.Parse("awswaf://eu-central-1/REGIONAL?ipv4=xteam-4/a1b2&ipv6=xteam_6/c3d4")
	if want := (awswaf.Options{Region: "eu-central-1", Scope: "REGIONAL", IPv4: awswaf.IPSet{Name: "xteam-4", ID: "a1b2"}, IPv6: awswaf.IPSet{Name: "xteam_6", ID: "c3d4"}}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := awswaf.Parse("awswaf://us-east-1/CLOUDFRONT?ipv4=a/b&ipv6=c/d"); err != nil {
		t.Errorf("of CloudFront: %v", err)
	}
	for _, bad := range []string{"", "awswaf:", "awswaf://", "https://eu-central-1/REGIONAL?ipv4=a/b&ipv6=c/d", "awswaf://eu-central-1?ipv4=a/b&ipv6=c/d", "awswaf://eu-central-1/regional?ipv4=a/b&ipv6=c/d",
		"awswaf://eu-central-1/CLOUDFRONT?ipv4=a/b&ipv6=c/d", "awswaf://eu-central-1/REGIONAL", "awswaf://eu-central-1/REGIONAL?ipv4=a/b", "awswaf://eu-central-1/REGIONAL?ipv4=a/b&ipv6=c",
		"awswaf://eu-central-1/REGIONAL?ipv4=a/b&ipv6=c/d&ipv6=e/f", "awswaf://eu-central-1/REGIONAL?ipv4=a/b&ipv6=c/d&x=y", "awswaf://k:planted-secret@eu-central-1/REGIONAL?ipv4=a/b&ipv6=c/d",
		"awswaf://EU/REGIONAL?ipv4=a/b&ipv6=c/d", "awswaf://eu-central-1/REGIONAL?ipv4=a/b/c&ipv6=c/d", "awswaf://eu-central-1/REGIONAL?ipv4=a%0a/b&ipv6=c/d", "awswaf://eu-central-1/REGIONAL?ipv4=a/b&ipv6=c/d#x"} {
		if _, err := awswaf.Parse(bad); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
