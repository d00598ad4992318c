package httpapi

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/instant"
)

// turnedAway refuses whoever comes from a blocked address, before anything is looked at or charged. It reports whether it did. Probes are answered all the same, and so is the operator.
func (x *exchange) turnedAway() bool {
	a := x.api
	if !a.Blocks.Blocked(x.address) || a.probes[x.r.URL.Path] || x.ctx().Value(operatorKey{}) != nil {
		return false
	}
	begun := time.Now()
	x.setHeaders()
	x.Header()["Content-Type"] = problemType
	x.WriteHeader(http.StatusForbidden)
	if x.r.Method != http.MethodHead {
		_, _ = x.Write(append(append(append(make([]byte, 0, 256), awayHead...), x.id...), awayTail...)) // a client that has gone
	}
	a.Guard.Turned(x.ctx(), x.request(), x.endpoint(), "address_blocked")
	if a.Meter != nil {
		a.Meter.Guarded("address_blocked", time.Since(begun))
	}
	return true
}

// awayHead and awayTail are the answer to a blocked address, made once, without the request's id, which needs no escaping. It is any other problem's to the byte.
var awayHead, awayTail = func() ([]byte, []byte) {
	p, _ := problemOf(app.ErrAddressBlocked)
	p.Type, p.Title, p.RequestID = "/docs/problems#"+p.Code, http.StatusText(p.Status), ""
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts and numbers that are ours always marshal
	}
	return b[:len(b)-len(`"}`)], b[len(b)-len(`"}`):]
}()

// blockedIP is a block as administrators see it.
type blockedIP struct {
	CIDR      string     `json:"cidr"` // the network; of one address with /32 or /128
	Reason    string     `json:"reason"`
	By        string     `json:"by"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // null: not before it is unblocked
}

// blocking is a block that was just made.
type blocking struct {
	blockedIP `json:",inline"`
	Nodes     []nodeTime `json:"nodes"`             // who turns it away, and how long after it was asked; the node that was asked first
	Missing   []string   `json:"missing,omitempty"` // who lives and has not said so within three seconds; each does once it hears of it
}

func blockedIPOf(b *block.Block) blockedIP {
	out := blockedIP{CIDR: b.Prefix.String(), Reason: b.Reason, By: b.By, CreatedAt: b.At.Time()}
	if b.Until != instant.Forever {
		out.ExpiresAt = timeOf(b.Until)
	}
	return out
}

func (a *API) listBlocks(x *exchange) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	behind, err := blocksBehind(q["cursor"])
	if err != nil {
		return err
	}
	all, more := a.Blocks.List(behind, limit)
	page := list[blockedIP]{Items: make([]blockedIP, 0, len(all))}
	for i := range all {
		page.Items = append(page.Items, blockedIPOf(&all[i]))
	}
	if more {
		page.Next = nextBlocks(all[len(all)-1].Prefix)
	}
	return x.write(http.StatusOK, page)
}

func nextBlocks(p netip.Prefix) *string {
	address, family := p.Addr().As16(), byte(6)
	if p.Addr().Is4() {
		family = 4
	}
	text := cursorText.EncodeToString(append(append([]byte{cursorBlocks}, address[:]...), family, byte(p.Bits())))
	return &text
}

// blocksBehind reads a cursor of the list of blocks; the empty one is the start.
func blocksBehind(text string) (p netip.Prefix, err error) {
	if text == "" {
		return p, nil
	}
	b, err := parseCursor(text, cursorBlocks, 18)
	if err != nil {
		return p, err
	}
	address := netip.AddrFrom16([16]byte(b[:16]))
	if b[16] == 4 {
		address = address.Unmap()
	}
	if p = netip.PrefixFrom(address, int(b[17])); !p.IsValid() {
		return p, invalid("cursor", "must be one that this list has answered as next, or empty")
	}
	return p, nil
}

// blockBody is what a block takes.
type blockBody struct {
	CIDR    string `json:"cidr"`               // an address like 192.0.2.1, or a network like 2001:db8::/32
	Reason  string `json:"reason"`             // in your words, 100 bytes at most: kept with the block and its event
	Seconds int64  `json:"expires_in_seconds"` // how long it lasts, at most ten years; neither this nor until: until it is unblocked
	Until   string `json:"until"`              // when it ends, in RFC 3339
	Force   bool   `json:"force"`              // also what block_risky refuses
}

// longestBlock bounds expires_in_seconds: ten years.
const longestBlock = 10 * 366 * 24 * 3600

func (a *API) blockAddress(x *exchange) error {
	var in blockBody
	if err := x.read(&in); err != nil {
		return err
	}
	var bad validationError
	p, err := block.Parse(in.CIDR)
	if err != nil {
		bad.note("cidr", plainly(err))
	}
	if len(in.Reason) > block.MaxReason {
		bad.note("reason", "must be at most 100 bytes")
	}
	o := app.BlockOptions{For: time.Duration(in.Seconds) * time.Second, Reason: in.Reason, Force: in.Force}
	if in.Seconds < 0 || in.Seconds > longestBlock {
		bad.note("expires_in_seconds", "must be from 1 to 316224000, or missing")
	}
	if in.Until != "" {
		at, err := time.Parse(time.RFC3339, in.Until)
		switch {
		case err != nil || at.Year() > 9999:
			bad.note("until", "must be a time in RFC 3339, such as 2026-05-01T12:00:00Z")
		case in.Seconds != 0:
			bad.note("until", "is not taken beside expires_in_seconds")
		case !at.After(a.Blocks.Now()):
			bad.note("until", "must be in the future")
		}
		o.Until = instant.Of(at)
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	made, err := a.Blocks.Block(x.ctx(), x.actor(), p, o)
	if err != nil {
		return err
	}
	asked := a.Nodes.ConfirmBlocks(x.ctx(), a.Blocks.Revision())
	return x.write(http.StatusCreated, blocking{blockedIPOf(&made), nodeTimes(asked.Nodes), asked.Missing})
}

func (a *API) unblockAddress(x *exchange) error {
	q, err := x.query("cidr")
	if err != nil {
		return err
	}
	p, err := block.Parse(q["cidr"])
	if err != nil {
		return invalid("cidr", plainly(err))
	}
	if _, err := a.Blocks.Unblock(x.ctx(), x.actor(), p); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// plainly is what is wrong with a network, of a domain error that says it behind its sentinel. It repeats an address at most.
func plainly(err error) string {
	text := err.Error()
	if sentinel := block.ErrInvalid.Error() + ": "; errors.Is(err, block.ErrInvalid) && len(text) > len(sentinel) {
		return text[len(sentinel):]
	}
	return text
}
