package azuresecrets_test

import (
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/azuresecrets"
)

// FuzzParse: no source leads to a host that is not a vault's.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"azurekv://my-vault", "azurekv://my-vault/", "azurekv://a.b", "azurekv://vault:443", "azurekv://ann@vault", "azurekv://1ab", "azurekv:vault"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := azuresecrets.Parse(text)
		if err != nil {
			return
		}
		if again, err := azuresecrets.Parse("azurekv://" + o.Vault); err != nil || again.Vault != o.Vault || strings.ContainsAny(o.Vault, ".:/@%?# ") {
			t.Errorf("%q is the vault %q, and that is %q (%v)", text, o.Vault, again.Vault, err)
		}
	})
}
