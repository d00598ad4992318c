// Package awssecrets reads secrets from AWS Secrets Manager.
package awssecrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go/logging"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// The stages of a secret's versions that are read: the service moves both labels when a value changes.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
)

const (
	defaultTimeout = 5 * time.Second
	maxTries       = 3
	maxPause       = time.Second // between tries
	early          = time.Minute // how long before they expire credentials are asked for anew
)

// Secrets reads secrets of one region whose names have one prefix. It keeps no value and polls nothing; what it keeps are credentials of the cloud, until they
// expire.
type Secrets struct {
	o           Options
	client      *secretsmanager.Client
	credentials *aws.CredentialsCache
}

var _ ports.Secrets = (*Secrets)(nil)

// Open finds credentials and reads SECRET_KEY once, so that a wrong region, no credentials or a missing permission is told at once, in one sentence. A SECRET_KEY that
// is not there is no error. There is nothing to close.
func Open(ctx context.Context, o Options) (*Secrets, error) {
	if o.Region == "" {
		return nil, refuse("AWS Secrets Manager needs a region: write %s", form)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	first, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
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
	cfg, err := config.LoadDefaultConfig(first, given...)
	if err != nil {
		return nil, refuse("AWS' shared configuration cannot be used: see ~/.aws/config, ~/.aws/credentials, and the variables AWS_… of the environment")
	}
	if made, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = bounded(&http.Client{Transport: made.GetTransport()})
	}
	s := &Secrets{o: o}
	cache, ok := cfg.Credentials.(*aws.CredentialsCache)
	if !ok {
		cache = aws.NewCredentialsCache(cfg.Credentials)
	}
	s.credentials = cache
	s.client = secretsmanager.NewFromConfig(cfg, func(c *secretsmanager.Options) {
		c.Credentials = asking{s.credentials}
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.MaxBackoff = maxTries, maxPause })
		if o.Endpoint != "" {
			c.BaseEndpoint = aws.String(o.Endpoint)
		}
	})
	if _, err := s.Get(ctx, "SECRET_KEY"); err != nil && !errors.Is(err, ports.ErrNotFound) {
		return nil, err
	}
	return s, nil
}

// Get implements ports.Secrets: the secret PREFIX/NAME at AWSCURRENT, which must be text. A NAME_PREVIOUS that has no secret of its own is NAME at AWSPREVIOUS. What the
// service does not know, a secret without that stage too, is ErrNotFound. All else, of a secret that is marked for deletion, a denial, throttling or an
// answer that makes no sense, is an error that matches ports.ErrUnavailable; the credentials' policy has to allow secretsmanager:GetSecretValue of all of PREFIX/*, as
// a denial does not tell whether there is a secret.
func (s *Secrets) Get(ctx context.Context, name string) (secret.Text, error) {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return secret.Text{}, refuse("%.40q is no name of a secret: use capital letters, digits and underscores", name)
	}
	within, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	value, found, err := s.read(within, name, current)
	if base, is := strings.CutSuffix(name, "_PREVIOUS"); is && base != "" && err == nil && !found {
		value, found, err = s.read(within, base, previous)
	}
	switch {
	case ctx.Err() != nil:
		return secret.Text{}, ctx.Err()
	case err != nil:
		return secret.Text{}, err
	case !found || value == "":
		return secret.Text{}, fmt.Errorf("secret %s: %w: AWS Secrets Manager has no %s", name, ports.ErrNotFound, s.place(name))
	}
	return secret.New(value), nil
}

// place names a secret and its region, for sentences.
func (s *Secrets) place(name string) string { return s.id(name) + " in " + s.o.Region }

func (s *Secrets) id(name string) string {
	if s.o.Prefix == "" {
		return name
	}
	return s.o.Prefix + "/" + name
}

// read answers a secret's text at a stage, or false if the service says that there is none. Credentials that are refused as expired are put away, and others asked for
// once.
func (s *Secrets) read(ctx context.Context, name, stage string) (value string, found bool, err error) {
	for again := true; ; again = false {
		value, found, err = s.ask(ctx, name, stage)
		if !again || !errors.Is(err, errExpired) {
			return value, found, err
		}
		s.credentials.Invalidate()
	}
}

func (s *Secrets) ask(ctx context.Context, name, stage string) (string, bool, error) {
	id := s.id(name)
	got, err := s.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &id, VersionStage: &stage})
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		return "", false, nil
	}
	if err != nil {
		return "", false, s.fault(ctx, name, err)
	}
	value, err := s.text(name, got)
	return value, err == nil, err
}

// text answers what a secret holds, if somebody can have meant it.
func (s *Secrets) text(name string, got *secretsmanager.GetSecretValueOutput) (string, error) {
	place := s.place(name)
	switch {
	case aws.ToString(got.Name) != s.id(name):
		return "", refuse("AWS Secrets Manager gives an answer that is not about the secret %s: see what stands between here and AWS", place)
	case got.SecretString == nil && got.SecretBinary != nil:
		return "", refuse("the secret %s holds bytes (SecretBinary): store it as text, in base64url, say", place)
	case got.SecretString == nil:
		return "", refuse("AWS Secrets Manager answers for the secret %s without a value: see what stands between here and AWS", place)
	}
	value := *got.SecretString
	if err := secret.Check("the secret "+place, value); err != nil {
		return "", refusal(err.Error())
	}
	if strings.HasPrefix(value, "{") && json.Valid([]byte(value)) {
		return "", refuse("the secret %s holds a JSON object, as the console makes of key and value: store the secret alone, as plaintext", place)
	}
	return value, nil
}
