package azuresecrets

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// form is what a source's URL looks like.
const form = "azurekv://VAULT-NAME, as in azurekv://prod-xteam"

// Options say where the secrets are. The zero value of all but Vault works.
type Options struct {
	Vault string // its name, which is the first part of its host

	// Endpoint is the vault's URL where that is not https://VAULT.vault.azure.net: in a cloud of a government, say. It must be https, as the token is sent there.
	Endpoint string
	// ClientID chooses a managed identity that was made by a user, where the machine has several.
	ClientID string
	// Credential is asked for tokens. Nil is the first that there is of: those that AZURE_CLIENT_ID and its like describe in the environment, the workload's identity of a
	// pod, the managed identity of the machine. No program, such as az, is started for one.
	Credential azcore.TokenCredential
	// HTTPClient asks the vault. Nil is one that takes the environment's proxy. Its redirects are not followed.
	HTTPClient *http.Client
	// Timeout bounds each Get, tries and waits between them included: 5 s if 0.
	Timeout time.Duration
}

// Parse reads azurekv://VAULT-NAME.
func Parse(source string) (Options, error) {
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "azurekv" {
		return Options{}, refuse("a source of secrets in Azure Key Vault is written %s", form)
	}
	switch {
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || u.Path != "" && u.Path != "/":
		return Options{}, refuse("a source of secrets in Azure Key Vault is written %s, and has no more to it: credentials come from the environment or the machine's identity", form)
	case !vaultName(u.Host):
		return Options{}, refuse("%.40q is no name of a vault, which has 3 to 24 letters, digits and dashes: write %s", u.Host, form)
	}
	return Options{Vault: u.Host}, nil
}

// vaultName reports whether Azure would take the name, so that no host but a vault's is ever asked.
func vaultName(name string) bool {
	return len(name) >= 3 && len(name) <= 24 && strings.Trim(name, letters+"0123456789-") == "" && strings.Contains(letters, name[:1]) && !strings.HasSuffix(name, "-")
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// credential is the one that is given, or the chain that Options describes.
func (o Options) credential() (azcore.TokenCredential, error) {
	if o.Credential != nil {
		return o.Credential, nil
	}
	var chain []azcore.TokenCredential
	if c, err := azidentity.NewEnvironmentCredential(nil); err == nil {
		chain = append(chain, c)
	}
	if c, err := azidentity.NewWorkloadIdentityCredential(nil); err == nil {
		chain = append(chain, c)
	}
	managed := azidentity.ManagedIdentityCredentialOptions{}
	if o.ClientID != "" {
		managed.ID = azidentity.ClientID(o.ClientID)
	}
	if c, err := azidentity.NewManagedIdentityCredential(&managed); err == nil {
		chain = append(chain, c)
	}
	return azidentity.NewChainedTokenCredential(chain, nil)
}
