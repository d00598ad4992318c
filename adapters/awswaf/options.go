package awswaf

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// form is what the URL of a firewall looks like.
const form = "awswaf://REGION/SCOPE?ipv4=NAME/ID&ipv6=NAME/ID, as in awswaf://eu-central-1/REGIONAL?ipv4=xteam-4/a1b2c3d4-5678-90ab-cdef-EXAMPLE11111&ipv6=xteam-6/…"

// The scopes of IP sets. That of CloudFront is kept in one region alone.
const (
	regional         = "REGIONAL"
	cloudFront       = "CLOUDFRONT"
	cloudFrontRegion = "us-east-1"
)

// IPSet is one set of addresses there, of one version of IP.
type IPSet struct{ Name, ID string }

// Options say which sets are kept. The zero value of Endpoint and what follows it works.
type Options struct {
	Region string // such as eu-central-1
	Scope  string // REGIONAL, or CLOUDFRONT in us-east-1
	IPv4   IPSet
	IPv6   IPSet

	// Endpoint is the service's URL where it is another than the region's own: that of a VPC endpoint, or of a test.
	Endpoint string
	// Credentials are those of the default chain (the environment, the shared files, the container's or the instance's role) if nil.
	Credentials aws.CredentialsProvider
	// HTTPClient asks the service. Nil is one that takes the environment's proxy. Its redirects are not followed.
	HTTPClient *http.Client
	// Timeout bounds each Set, tries and waits between them included: 20 s if 0.
	Timeout time.Duration
}

// Parse reads awswaf://REGION/SCOPE?ipv4=NAME/ID&ipv6=NAME/ID. Both sets are needed: with one alone, whoever is blocked would come by the other version of IP.
func Parse(source string) (Options, error) {
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "awswaf" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return Options{}, refuse("a firewall of AWS WAF is written %s; credentials come from AWS' default chain", form)
	}
	q, err := url.ParseQuery(u.RawQuery)
	o := Options{Region: u.Host, Scope: strings.Trim(u.Path, "/")}
	switch {
	case o.Region == "" || len(o.Region) > 40 || strings.Trim(o.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return Options{}, refuse("%.40q is no AWS region: write %s", o.Region, form)
	case o.Scope != regional && o.Scope != cloudFront:
		return Options{}, refuse("%.40q is no scope of AWS WAF: it is REGIONAL or CLOUDFRONT", o.Scope)
	case o.Scope == cloudFront && o.Region != cloudFrontRegion:
		return Options{}, refuse("IP sets of the scope CLOUDFRONT are kept in %s: got the region %.40q", cloudFrontRegion, o.Region)
	case err != nil || len(q) != 2 || len(q["ipv4"]) != 1 || len(q["ipv6"]) != 1:
		return Options{}, refuse("a firewall of AWS WAF has two IP sets, one of IPv4 and one of IPv6, and no more to it: write %s", form)
	}
	for version, at := range map[string]*IPSet{"ipv4": &o.IPv4, "ipv6": &o.IPv6} {
		var ok bool
		at.Name, at.ID, ok = strings.Cut(q.Get(version), "/")
		if !ok || at.Name == "" || len(at.Name) > 128 || strings.Trim(at.Name, nameLetters) != "" || at.ID == "" || len(at.ID) > 36 || strings.Trim(at.ID, nameLetters) != "" {
			return Options{}, refuse("%.80q is not the name and the id of an IP set, NAME/ID: `aws wafv2 list-ip-sets` tells both", q.Get(version))
		}
	}
	return o, nil
}

const (
	letters     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	nameLetters = letters + "0123456789_-"
)
