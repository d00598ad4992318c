package awssecrets

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// form is what a source's URL looks like.
const form = "awssm://REGION/PREFIX, as in awssm://eu-central-1/prod/xteam"

// maxID is how long the name of a secret may be there.
const maxID = 512

// Options say where the secrets are. The zero value of all but Region works.
type Options struct {
	Region string // such as eu-central-1
	Prefix string // of the names of secrets, without the slash that follows it; none if empty

	// Endpoint is the service's URL where it is another than the region's own: that of a VPC endpoint, or of a test.
	Endpoint string
	// Credentials are those of the default chain (the environment, the shared files, the container's or the instance's role) if nil. They are asked for anew when they
	// expire, and when the service says that they have.
	Credentials aws.CredentialsProvider
	// HTTPClient asks the service. Nil is one that takes the environment's proxy. Its redirects are not followed.
	HTTPClient *http.Client
	// Timeout bounds each Get, tries and waits between them included: 5 s if 0.
	Timeout time.Duration
}

// Parse reads awssm://REGION/PREFIX. The prefix may have slashes, and may be missing.
func Parse(source string) (Options, error) {
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "awssm" {
		return Options{}, refuse("a source of secrets in AWS Secrets Manager is written %s", form)
	}
	o := Options{Region: u.Host, Prefix: strings.Trim(u.Path, "/")}
	switch {
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return Options{}, refuse("a source of secrets in AWS Secrets Manager is written %s, and has no more to it: credentials come from AWS' default chain", form)
	case o.Region == "" || strings.Trim(o.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return Options{}, refuse("%.40q is no AWS region: write %s", o.Region, form)
	case strings.Trim(o.Prefix, idLetters) != "" || strings.Contains(o.Prefix, "//") || len(o.Prefix) > maxID/2:
		return Options{}, refuse("%.40q cannot begin the name of a secret in AWS Secrets Manager: use letters, digits and /_+=.@-, at most %d", o.Prefix, maxID/2)
	}
	return o, nil
}

const idLetters = letters + "0123456789/_+=.@-"
