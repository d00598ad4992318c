package app

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// TicketLife is how long a ticket may be redeemed.
const TicketLife = 30 * time.Second

const (
	ticketContext = "ws ticket"
	ticketHead    = 8 + 16 // when it ends, and its number
)

// ticketOnce is a bucket that holds one ticket's use. It is full again only when the ticket has long expired by the clock of any node that may sign anything (Clocks).
var ticketOnce = ratelimit.Limit{Capacity: 1, Period: 20 * time.Minute}

// Tickets stand for an access token where its text must not be seen, such as in a URL: sealed under the data keys, so that every node of a database can open them, and good once, within TicketLife.
//
// That they are good once is kept in a bucket for each, shared by all nodes as those of the rate limits are: while the shared buckets do not answer, a ticket might be redeemed once
// on each node, within its 30 s. Whoever redeems one is then judged as the bearer of the token is.
type Tickets struct {
	sealer  ports.Sealer
	buckets ports.Buckets
	random  io.Reader
	now     func() time.Time
}

// NewTickets makes tickets that every node with the same data keys and buckets takes.
func NewTickets(c *Core, s ports.Sealer, b ports.Buckets) *Tickets {
	return &Tickets{sealer: s, buckets: b, random: c.Random, now: c.Now}
}

// Issue makes a ticket for an access token that a guard has admitted.
func (t *Tickets) Issue(access secret.Text) (secret.Text, error) {
	plain := make([]byte, ticketHead, ticketHead+len(access.RevealPlaintext()))
	binary.BigEndian.PutUint64(plain, uint64(instant.Of(t.now()).Add(TicketLife)))
	if _, err := io.ReadFull(t.random, plain[8:]); err != nil {
		return secret.Text{}, unavailable("draw a ticket", err)
	}
	sealed, err := t.sealer.Seal(ticketContext, append(plain, access.RevealPlaintext()...))
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(base64.RawURLEncoding.EncodeToString(sealed)), nil
}

// Redeem answers the access token that a ticket stands for, once. The refusals are token.ErrMalformed for what is no ticket of ours, token.ErrExpired, and token.ErrInvalid for one that was redeemed before.
func (t *Tickets) Redeem(ctx context.Context, ticket string) (string, error) {
	if ticket == "" {
		return "", token.ErrMissing
	}
	if len(ticket) > 2*token.MaxSize {
		return "", token.ErrMalformed
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil {
		return "", token.ErrMalformed
	}
	plain, err := t.sealer.Open(ticketContext, sealed)
	if err != nil || len(plain) <= ticketHead {
		return "", token.ErrMalformed
	}
	ends := instant.Instant(binary.BigEndian.Uint64(plain))
	if instant.Of(t.now()) >= ends {
		return "", token.ErrExpired
	}
	// Each use is at one and the same time, the ticket's own: by the clock of a node that is ahead the bucket of another's use might be full again.
	use, err := t.buckets.Take(ctx, ends, ports.Demand{Key: "ticket:" + hex.EncodeToString(plain[8:ticketHead]), Limit: ticketOnce, N: 1})
	switch {
	case err != nil:
		return "", err
	case !use[0].OK:
		return "", token.ErrInvalid
	}
	return string(plain[ticketHead:]), nil
}
