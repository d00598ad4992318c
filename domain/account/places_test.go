package account_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
)

func TestNetworksOfAnAccount(t *testing.T) {
	const day = 24 * time.Hour
	now := instant.Of(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	home, abroad := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")
	var a account.Account
	if a.Knows(home, account.KnownFor, now) {
		t.Error("a new account knows a network")
	}
	a, noted := a.SignedIn(home, now)
	if !noted || !a.Knows(home, account.KnownFor, now) || a.Knows(abroad, account.KnownFor, now) {
		t.Errorf("after a sign-in: %+v", a)
	}
	if b, noted := a.SignedIn(home, now.Add(7*day)); noted || b != a {
		t.Error("written down again within a week")
	}
	for after, want := range map[time.Duration]bool{90 * day: true, 91 * day: false} {
		if got := a.Knows(home, account.KnownFor, now.Add(after)); got != want {
			t.Errorf("known after %v: %v", after, got)
		}
	}
	if a, noted = a.SignedIn(abroad, now.Add(60*day)); !noted || a.Places.Len() != 2 {
		t.Errorf("another network: %+v", a)
	}
	if a, noted = a.SignedIn(abroad, now.Add(92*day)); !noted || a.Places.Len() != 1 || a.Knows(home, account.KnownFor, now) {
		t.Errorf("what is not known any more is kept: %+v", a)
	}
	if b, noted := a.SignedIn(netip.Prefix{}, now); noted || b != a {
		t.Error("nowhere is a network")
	}
	for i := range 1000 { // whoever knows the password may come from anywhere
		a, _ = a.SignedIn(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24), now)
	}
	if a.Places.Len() != session.MaxPlaces {
		t.Errorf("%d networks are remembered", a.Places.Len())
	}
}
