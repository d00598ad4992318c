// Package azuresecrets reads secrets from Azure Key Vault.
package azuresecrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

const (
	defaultTimeout = 5 * time.Second
	retries        = 2
	firstPause     = 200 * time.Millisecond
	maxPause       = time.Second
	maxPages       = 40 // of 25 versions: a secret of more is one that nobody rotates by hand
)

// Secrets reads the secrets of one vault. It keeps no value and polls nothing; what it keeps is a token of the cloud, until that expires.
type Secrets struct {
	o      Options
	client *azsecrets.Client
}

var _ ports.Secrets = (*Secrets)(nil)

// Open reads SECRET-KEY once, so that a wrong vault, no credentials or a missing permission is told at once, in one sentence. A SECRET-KEY that is not there is no error.
// There is nothing to close.
func Open(ctx context.Context, o Options) (*Secrets, error) {
	if !vaultName(o.Vault) {
		return nil, refuse("Azure Key Vault needs a vault's name: write %s", form)
	}
	if o.Endpoint == "" {
		o.Endpoint = "https://" + strings.ToLower(o.Vault) + ".vault.azure.net"
	}
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil || endpoint.Scheme != "https" || endpoint.Host == "" {
		return nil, refuse("the endpoint of the vault %s must be https: a token is sent there", o.Vault)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	credential, err := o.credential()
	if err != nil {
		return nil, refuse("no way to credentials for the vault %s is known: %s", o.Vault, giveCredentials)
	}
	client, err := azsecrets.NewClient(o.Endpoint, asking{credential}, &azsecrets.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: bounded(o.HTTPClient, endpoint.Host),
		Retry:     policy.RetryOptions{MaxRetries: retries, RetryDelay: firstPause, MaxRetryDelay: maxPause},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}})
	if err != nil {
		return nil, refuse("the vault %s cannot be asked: see its name and endpoint", o.Vault)
	}
	s := &Secrets{o, client}
	if _, err := s.Get(ctx, "SECRET_KEY"); err != nil && !errors.Is(err, ports.ErrNotFound) {
		return nil, err
	}
	return s, nil
}

// Get implements ports.Secrets: the newest version of the secret of that name with dashes for underscores, as Azure's names have none. A NAME_PREVIOUS that has no secret
// of its own is the newest earlier version of NAME that is enabled. What the vault does not know is ErrNotFound. All else, a newest version that is disabled, a
// NAME that is deleted and can be recovered, a denial, throttling or an answer that makes no sense, is an error that matches ports.ErrUnavailable. The credentials need
// to get secrets, and to list them for what is previous: the role Key Vault Secrets User has both.
func (s *Secrets) Get(ctx context.Context, name string) (secret.Text, error) {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || len(name) > 127 {
		return secret.Text{}, refuse("%.40q is no name of a secret: use capital letters, digits and underscores", name)
	}
	within, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	value, err := s.find(within, strings.ReplaceAll(name, "_", "-"))
	switch {
	case ctx.Err() != nil:
		return secret.Text{}, ctx.Err()
	case errors.Is(err, errMissing) || err == nil && value == "":
		return secret.Text{}, fmt.Errorf("secret %s: %w in the vault %s", name, ports.ErrNotFound, s.o.Vault)
	case err != nil:
		return secret.Text{}, err
	}
	return secret.New(value), nil
}

// find answers the text of a secret, or errMissing.
func (s *Secrets) find(ctx context.Context, id string) (string, error) {
	got, err := s.read(ctx, id, "")
	if !errors.Is(err, errMissing) {
		return got.value, err
	}
	if base, is := strings.CutSuffix(id, "-PREVIOUS"); is && base != "" {
		return s.previous(ctx, base)
	}
	return "", s.deleted(ctx, id)
}

// version is one version of a secret, and its text where that was read.
type version struct {
	id      string
	created time.Time
	enabled bool
	value   string
}

// read answers a version of a secret, the newest if none is named.
func (s *Secrets) read(ctx context.Context, id, of string) (version, error) {
	got, err := s.client.GetSecret(ctx, id, of, nil)
	if err != nil {
		return version{}, s.fault(ctx, id, err)
	}
	v, ok := s.parse(id, got.ID, got.Attributes)
	if !ok || got.Value == nil || of != "" && v.id != of {
		return version{}, refuse("the vault %s gives an answer that is not about the secret %s: see what stands between here and Azure", s.o.Vault, id)
	}
	v.value = *got.Value
	if err := secret.Check(fmt.Sprintf("the secret %s in the vault %s", id, s.o.Vault), v.value); err != nil {
		return version{}, refusal(err.Error())
	}
	return v, nil
}

// parse reads what an answer says of a version, if that is one of the secret that was asked for. Azure's names are alike in any letter case.
func (s *Secrets) parse(id string, of *azsecrets.ID, a *azsecrets.SecretAttributes) (version, bool) {
	if of == nil || a == nil || a.Created == nil {
		return version{}, false
	}
	_, path, _ := strings.Cut(string(*of), "/secrets/")
	name, v, _ := strings.Cut(path, "/")
	return version{id: v, created: *a.Created, enabled: a.Enabled == nil || *a.Enabled}, v != "" && strings.EqualFold(name, id)
}

// previous answers the text of the newest enabled version before the newest of all.
func (s *Secrets) previous(ctx context.Context, id string) (string, error) {
	newest, err := s.read(ctx, id, "")
	if err != nil {
		return "", err
	}
	var earlier []version
	pages := s.client.NewListSecretPropertiesVersionsPager(id, nil)
	for n := 0; pages.More(); n++ {
		if n == maxPages {
			return "", refuse("the secret %s in the vault %s has too many versions to look for the previous one: store that as %s-PREVIOUS", id, s.o.Vault, id)
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", s.fault(ctx, id, err)
		}
		for _, p := range page.Value {
			if p == nil {
				continue
			}
			// Times are whole seconds: another version of the newest's second is taken as earlier.
			if v, ok := s.parse(id, p.ID, p.Attributes); ok && v.enabled && v.id != newest.id && !v.created.After(newest.created) {
				earlier = append(earlier, v)
			}
		}
	}
	if len(earlier) == 0 {
		return "", errMissing
	}
	v, err := s.read(ctx, id, slices.MaxFunc(earlier, func(a, b version) int {
		return cmp.Or(a.created.Compare(b.created), strings.Compare(a.id, b.id))
	}).id)
	return v.value, err
}

// deleted tells a secret that was deleted and can be recovered from one that never was, if the credentials may look.
func (s *Secrets) deleted(ctx context.Context, id string) error {
	if _, err := s.client.GetDeletedSecret(ctx, id, nil); err == nil {
		return refuse("the secret %s in the vault %s is deleted: recover it (az keyvault secret recover), or purge it", id, s.o.Vault)
	} else if err = s.fault(ctx, id, err); errors.Is(err, errDenied) || errors.Is(err, errMissing) {
		return errMissing
	} else {
		return err
	}
}
