package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/xteam/xteam/adapters/awssecrets"
	"github.com/xteam/xteam/adapters/azuresecrets"
	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/filesecrets"
	"github.com/xteam/xteam/adapters/vaultsecrets"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// How often a source of secrets is asked for what has changed. SIGHUP asks at once.
const (
	askNear  = 5 * time.Second // a file, or a folder of files
	askVault = 10 * time.Second
	askCloud = time.Minute // which asks money for it
)

// secretNames are the settings that are read through SECRETS_URL.
var secretNames = []string{app.SecretKey, app.SecretKeyPrevious, app.RootKey, app.RootKeyPrevious, webhookSecret, notifySecret, firewallSecret, auditSecret}

// sources are the schemes of SECRETS_URL.
var sources = map[string]func(ctx context.Context, s settings, get lookup, log *slog.Logger) (assembly.Source, func(), error){
	"env":     fromSettings,
	"file":    fromFolder,
	"vault":   fromVault,
	"awssm":   fromAWS,
	"azurekv": fromAzure,
}

// openSecrets reads secrets from where SECRETS_URL says. Those of the settings alone are made at the first start and kept in the data folder when they are not given: who
// names another source has them there.
func openSecrets(ctx context.Context, s settings, get lookup, log *slog.Logger) (*assembly.Secrets, func(), error) {
	scheme, _, _ := strings.Cut(s.SecretsURL, ":")
	source, cleanup, err := sources[scheme](ctx, s, get, log)
	if err != nil {
		return nil, nil, err
	}
	source.Sturdy = s.Environment == production
	source.Complete = source.Complete || s.shared()
	if scheme != "env" {
		for _, name := range secretNames {
			if given(get, name) != "" {
				log.Warn("A secret in the environment is not looked at: SECRETS_URL names another source", "setting", name, "source", source.Name)
			}
		}
	}
	return assembly.OpenSecrets(source, s.Folder, log), cleanup, nil
}

// fromSettings is the environment and the settings' file, which is read anew each time.
func fromSettings(_ context.Context, _ settings, _ lookup, _ *slog.Logger) (assembly.Source, func(), error) {
	return assembly.Source{Secrets: settingsSource{}, Name: "the environment", Every: askNear}, func() {}, nil
}

// settingsSource is the environment and the settings' file as it is now.
type settingsSource struct{}

// Get implements ports.Secrets.
func (settingsSource) Get(ctx context.Context, name string) (secret.Text, error) {
	get, _, err := environment()
	if err != nil {
		return secret.Text{}, unreadable{err}
	}
	return envsecrets.New(get).Get(ctx, name)
}

// unreadable is a fault of the settings' file, in its own sentence. It matches ports.ErrUnavailable.
type unreadable struct{ error }

func (unreadable) Is(target error) bool { return target == ports.ErrUnavailable }

func fromFolder(_ context.Context, s settings, _ lookup, _ *slog.Logger) (assembly.Source, func(), error) {
	u, err := url.Parse(s.SecretsURL)
	if err != nil || u.Host != "" || u.Opaque != "" || u.RawQuery != "" || u.User != nil || !filepath.IsAbs(u.Path) {
		return assembly.Source{}, nil, errors.New("SECRETS_URL: a folder of secrets is written file:///FOLDER, as in file:///run/secrets")
	}
	f, err := filesecrets.Open(filepath.Clean(u.Path))
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	return assembly.Source{Secrets: f, Name: "the folder " + printable(u.Path), Every: askNear, Complete: true}, func() {}, nil
}

func fromVault(ctx context.Context, s settings, get lookup, log *slog.Logger) (assembly.Source, func(), error) {
	o, err := vaultsecrets.Parse(s.SecretsURL)
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	if addr := given(get, "VAULT_ADDR"); o.Address == "" || sameHost(o.Address, addr) { // which alone can say http
		o.Address = addr
	}
	o.CAFile, o.Namespace, o.Token = given(get, "VAULT_CACERT"), given(get, "VAULT_NAMESPACE"), secret.New(given(get, "VAULT_TOKEN"))
	o.RoleID, o.SecretID = given(get, "VAULT_ROLE_ID"), secret.New(given(get, "VAULT_SECRET_ID"))
	o.KubernetesRole = given(get, "VAULT_KUBERNETES_ROLE")
	o.Proxy, o.Logger = http.ProxyFromEnvironment, log
	if o.Exposed() && s.Environment == production {
		return assembly.Source{}, nil, fmt.Errorf("VAULT_ADDR: got %s, takes https in production: secrets would cross the network in the clear", printable(o.Address))
	}
	v, err := vaultsecrets.Open(ctx, o)
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	return assembly.Source{Secrets: v, Name: "the secret " + o.Mount + "/" + o.Path + " of Vault", Every: askVault, Complete: true, Versions: true}, v.Close, nil
}

func fromAWS(ctx context.Context, s settings, _ lookup, _ *slog.Logger) (assembly.Source, func(), error) {
	o, err := awssecrets.Parse(s.SecretsURL)
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	a, err := awssecrets.Open(ctx, o)
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	return assembly.Source{Secrets: a, Name: "AWS Secrets Manager in " + o.Region, Every: askCloud, Complete: true, Versions: true}, func() {}, nil
}

func fromAzure(ctx context.Context, s settings, get lookup, _ *slog.Logger) (assembly.Source, func(), error) {
	o, err := azuresecrets.Parse(s.SecretsURL)
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	o.ClientID = given(get, "AZURE_CLIENT_ID") // which of several managed identities
	a, err := azuresecrets.Open(ctx, o)
	if err != nil {
		return assembly.Source{}, nil, fmt.Errorf("SECRETS_URL: %w", err)
	}
	return assembly.Source{Secrets: a, Name: "the Azure key vault " + o.Vault, Every: askCloud, Complete: true, Versions: true}, func() {}, nil
}

// sameHost reports whether two URLs name one host and port.
func sameHost(a, b string) bool {
	x, err1 := url.Parse(a)
	y, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && strings.EqualFold(x.Host, y.Host)
}
