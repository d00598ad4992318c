package vaultsecrets

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/xteam/xteam/domain/secret"
)

// Options say where the secret is and who asks for it. Names in capitals are the settings that an operator knows the fields by, and that errors speak of.
type Options struct {
	// Address is the server's URL (VAULT_ADDR), such as https://vault.example.com:8200; one without a scheme is taken as https.
	Address string
	// Mount is where the KV version 2 engine is mounted, and Path the secret beneath it: secret/ and xteam/production, with slashes at neither end.
	Mount, Path string
	// Namespace is sent with every call when it is not empty (VAULT_NAMESPACE); only Vault Enterprise and HCP know it.
	Namespace string
	// CAFile holds the certificates, in PEM, of the only authorities that are trusted (VAULT_CACERT); empty: those of the system.
	CAFile string

	// Token, or RoleID with SecretID, or KubernetesRole is what Vault is shown: one of the three.
	Token            secret.Text // VAULT_TOKEN; it is renewed where it can be, and when it has ended there is no other
	RoleID           string      // VAULT_ROLE_ID
	SecretID         secret.Text // VAULT_SECRET_ID
	AppRoleMount     string      // default approle
	KubernetesRole   string      // VAULT_KUBERNETES_ROLE
	KubernetesMount  string      // default kubernetes
	KubernetesSigned string      // the file of the service account's token, which is read at each login; default /var/run/secrets/kubernetes.io/serviceaccount/token

	// Timeout bounds each call; default 5 s.
	Timeout time.Duration
	// Proxy answers the proxy for a call, as http.ProxyFromEnvironment does; nil: none is used, whatever the environment says.
	Proxy func(*http.Request) (*url.URL, error)
	// Logger is told of logins and of renewals that fail; nil: nobody is.
	Logger *slog.Logger
}

// Parse reads vault://HOST:PORT/MOUNT/PATH. The first part of the path is the mount; without a HOST the Address stays empty, for VAULT_ADDR. The text may hold what
// does not belong there, so that no error repeats it.
func Parse(text string) (Options, error) {
	rest, ok := strings.CutPrefix(text, "vault://")
	if !ok {
		return Options{}, refuse("a vault URL has the form vault://HOST:PORT/MOUNT/PATH")
	}
	host, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(rest, "@?#") {
		return Options{}, refuse("a vault URL holds no user, no query and no fragment: give credentials in VAULT_TOKEN, or in VAULT_ROLE_ID and VAULT_SECRET_ID")
	}
	mount, path, _ := strings.Cut(path, "/")
	o := Options{Mount: mount, Path: strings.TrimSuffix(path, "/")}
	if err := checkPlace(o.Mount, o.Path); err != nil {
		return Options{}, err
	}
	if host == "" {
		return o, nil
	}
	o.Address = "https://" + host
	if u, err := url.Parse(o.Address); err == nil && u.Port() == "" && !strings.HasSuffix(host, ":") {
		o.Address += ":8200"
	}
	_, err := parseAddress(o.Address)
	return o, err
}

// Exposed reports whether secrets would cross a network unencrypted: the address is http, and its host is not this machine.
func (o Options) Exposed() bool {
	u, err := parseAddress(o.Address)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback())
}

// checked fills in the defaults.
func (o Options) checked() (Options, error) {
	if _, err := parseAddress(o.Address); err != nil {
		return o, err
	}
	if !strings.Contains(o.Address, "://") {
		o.Address = "https://" + o.Address
	}
	o.Address = strings.TrimRight(o.Address, "/")
	o.Mount, o.Path = strings.Trim(o.Mount, "/"), strings.Trim(o.Path, "/")
	if err := checkPlace(o.Mount, o.Path); err != nil {
		return o, err
	}
	if strings.ContainsFunc(o.Namespace, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return o, refuse("VAULT_NAMESPACE holds a control character: give the name alone")
	}
	o.AppRoleMount = orElse(strings.Trim(o.AppRoleMount, "/"), "approle")
	o.KubernetesMount = orElse(strings.Trim(o.KubernetesMount, "/"), "kubernetes")
	o.KubernetesSigned = orElse(o.KubernetesSigned, "/var/run/secrets/kubernetes.io/serviceaccount/token")
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, o.checkCredentials()
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (o Options) checkCredentials() error {
	const ways = "give one of VAULT_TOKEN, VAULT_ROLE_ID with VAULT_SECRET_ID, and VAULT_KUBERNETES_ROLE"
	given := 0
	for _, is := range []bool{!o.Token.IsZero(), o.RoleID != "" || !o.SecretID.IsZero(), o.KubernetesRole != ""} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return refuse("there is nothing to show Vault: %s", ways)
	case given > 1:
		return refuse("there are several ways to log in to Vault: %s", ways)
	case o.RoleID == "" && !o.SecretID.IsZero():
		return refuse("VAULT_SECRET_ID is given without VAULT_ROLE_ID: give both")
	case o.RoleID != "" && o.SecretID.IsZero():
		return refuse("VAULT_ROLE_ID is given without VAULT_SECRET_ID: give both")
	}
	for name, value := range map[string]string{"VAULT_TOKEN": o.Token.RevealPlaintext(), "VAULT_SECRET_ID": o.SecretID.RevealPlaintext(), "VAULT_ROLE_ID": o.RoleID} {
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return refuse("%s holds a space, a line end or another character that no such text has: give it alone", name)
		}
	}
	return nil
}

func parseAddress(text string) (*url.URL, error) {
	if text == "" {
		return nil, refuse("no address of Vault is given: set VAULT_ADDR, or write the host in SECRETS_URL")
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, refuse("Vault's address must have the form https://HOST:PORT, without user and query")
	}
	return u, nil
}

// checkPlace takes what needs no escaping in a URL, so that the place is written everywhere as the operator wrote it.
func checkPlace(mount, path string) error {
	if mount == "" || path == "" {
		return refuse("the secret's place in Vault is not whole: give the mount and the path, as in vault://HOST:PORT/secret/xteam")
	}
	for part := range strings.SplitSeq(mount+"/"+path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, odd) {
			return refuse("the secret's place in Vault has an empty part, a part of dots, or a character other than letters, digits and -._~+=:")
		}
	}
	return nil
}

func odd(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("-._~+=:", r)
}

// authorities reads the certificates of a file, all of which must be ones: half a trust file is not a smaller one, it is a broken one.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := readBounded(file, maxAnswer)
	if err != nil {
		return nil, refuse("VAULT_CACERT cannot be read (%s): give a file of PEM certificates that this user may read", err)
	}
	pool, found := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, refuse("VAULT_CACERT, %q, holds something else than certificates: give the authority's certificates in PEM, and nothing else", file)
		}
		pool.AddCert(certificate)
		found++
	}
	if found == 0 || strings.Contains(string(text), "-----BEGIN") {
		return nil, refuse("VAULT_CACERT, %q, is not a file of PEM certificates: give that of the authority that signed Vault's", file)
	}
	return pool, nil
}

func readBounded(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, most)
}
