package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/xteam/xteam/ports"
)

// Firewall posts the whole list of blocked networks, to whatever sets it at a firewall.
type Firewall struct{ to *Sender }

var _ ports.Firewall = (*Firewall)(nil)

// NewFirewall is a firewall that is told by way of a sender.
func NewFirewall(to *Sender) *Firewall { return &Firewall{to} }

// Set posts one message of type blocked_networks, with all of them. Each message has an id of its own, since an earlier list may come again and is to be set again: the receiver goes by the
// newest timestamp of those that it has.
func (f *Firewall) Set(ctx context.Context, networks []netip.Prefix) error {
	if networks == nil {
		networks = []netip.Prefix{}
	}
	list, err := json.Marshal(networks)
	if err != nil {
		return errors.New("write the list of blocked networks as JSON: one of them is none")
	}
	b := f.to.now().UTC().AppendFormat([]byte(`{"type":"blocked_networks","timestamp":"`), time.RFC3339Nano)
	b = append(append(append(b, `","data":{"networks":`...), list...), `}}`...)
	return f.to.Send(ctx, "wall_"+rand.Text(), b)
}
