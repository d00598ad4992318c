package badgerstore_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// TestNobodyIsReadInTheFolder writes a person in every place that takes one, and searches the bytes of all files: while the store is open, and after each of the ways in
// which Badger moves data.
func TestNobodyIsReadInTheFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	address := netip.MustParseAddr("203.0.113.77")
	ipv6 := netip.MustParseAddr("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
	v4, v6 := address.As4(), ipv6.As16()
	planted := []string{"Zacharias.Quux", "quux-mail.example", "Zacharias_Q", "Xylander", "$2b$12$hashhashhash", "Netscape-Navigator/77",
		address.String(), ipv6.String(), string(v4[:]), string(v6[:]), "was-seen-in-the-lobby", "request-4711", "detail-of-theirs", "the bot of Xylander"}
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("Zacharias.Quux@quux-mail.example")), Username: must(account.ParseUsername("Zacharias_Q")),
		FullName: must(account.ParseFullName("Z. Xylander")), Role: account.RoleUser, Password: secret.New("$2b$12$hashhashhash")}
	x := aSession()
	x.User = a.ID
	x.Device = session.Origin{Address: address, UserAgent: "Netscape-Navigator/77"}
	x.LastFrom = session.Origin{Address: ipv6, UserAgent: "Netscape-Navigator/77"}
	x.Last.From = x.Device
	k := apikey.Key{ID: newID[id.APIKey](), Owner: a.ID, Name: must(apikey.ParseName("the bot of Xylander")), Hash: [32]byte([]byte("a hash of 32 bytes, to be sealed!")),
		Expires: now().Add(time.Hour), LastFrom: x.Device, Networks: apikey.Networks{x.Device.Network()}}
	network := x.Device.Network().Addr().As4()
	planted = append(planted, string(k.Hash[:]), string(network[:]), x.Device.Network().String())
	v := anEvent()
	v.Email, v.IPAddress, v.UserAgent, v.RequestID = a.Email.String(), address.String(), "Netscape-Navigator/77", "request-4711"
	v.Details = map[string]string{"what": "detail-of-theirs", "who": "Xylander"}
	entry := tokenEntry(time.Hour)
	entry.Note = "Xylander was-seen-in-the-lobby"
	effects := ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{v}}

	search := func(when string) {
		t.Helper()
		found := 0
		for _, file := range must(os.ReadDir(dir)) {
			data := bytes.ToLower(must(os.ReadFile(filepath.Join(dir, file.Name()))))
			raw := must(os.ReadFile(filepath.Join(dir, file.Name())))
			for _, p := range planted {
				if bytes.Contains(raw, []byte(p)) || bytes.Contains(data, bytes.ToLower([]byte(p))) {
					t.Errorf("%s: %s holds %q", when, file.Name(), p)
				}
			}
			if bytes.Contains(raw, entry.Token[:]) {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%s: the search finds nothing at all: not even the id of a token", when)
		}
	}
	if err := s.Accounts().Create(t.Context(), a, effects); err != nil {
		t.Fatal(err)
	}
	if err := s.Sessions().Create(t.Context(), x, effects); err != nil {
		t.Fatal(err)
	}
	if err := s.APIKeys().Create(t.Context(), k, effects); err != nil {
		t.Fatal(err)
	}
	if err := s.Events().Record(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	search("open")
	s.close(t)
	search("closed")
	s = open(t, dir)
	change := func(a account.Account) (account.Account, ports.Effects, error) {
		a.Username = must(account.ParseUsername("Another"))
		return a, effects, nil
	}
	if err := s.Accounts().Update(t.Context(), a.ID, change); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(); err != nil {
		t.Fatal(err)
	}
	search("opened again")
	s.close(t)
	search("closed again")
}
