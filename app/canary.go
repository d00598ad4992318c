package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// A canary is a token that nobody signed in for. It is made, revoked as any other, and then shown to every node: one whose guard takes it does not refuse what was revoked. Its audience is
// one of its own, so that it opens nothing, not even before it is revoked; all else of it is judged as of every token.
const (
	// CanaryAudience is the claim aud of canaries, and of no other token.
	CanaryAudience = "urn:xteam:canary"
	canaryLife     = time.Minute
)

// sing sends a canary every so often until ctx ends.
func (n *Nodes) sing(ctx context.Context, every time.Duration) {
	for pause(ctx, every) {
		if err := n.send(ctx); err != nil && ctx.Err() == nil {
			n.o.Logger.Warn("No canary could be sent", "error", err.Error())
		}
	}
}

// send makes a canary, revokes it, and asks all nodes whether they refuse it.
func (n *Nodes) send(ctx context.Context) error {
	c := n.core
	if st := c.View.Status(); !st.OK {
		return nil // every token is refused, and the log says so
	}
	text, entry, err := n.hatch()
	if err != nil {
		return err
	}
	if err := n.judge(text.RevealPlaintext()); err != nil {
		return errors.New("this node refuses a canary before it is revoked: " + err.Error())
	}
	eff := ports.Effects{Revocations: []revocation.Entry{entry}}
	if err := c.Stores.System.Commit(ctx, eff); err != nil {
		return err
	}
	c.felt(ctx, eff)
	n.mu.Lock()
	n.sent = text.RevealPlaintext()
	n.mu.Unlock()
	answer := n.Confirm(ctx, askCanary, []byte(text.RevealPlaintext()))
	if len(answer.Missing) == 0 || ctx.Err() != nil {
		return nil
	}
	n.o.Logger.Error("A canary was revoked, and nodes have not said that they refuse it", "nodes", strings.Join(answer.Missing, ", "))
	e, err := c.event(Request{}, audit.CanaryFailed, audit.Critical, audit.Failure)
	if err != nil {
		return err
	}
	e.Actor, e.Reason, e.Details = System, "not_refused", map[string]string{"nodes": strings.Join(answer.Missing, ", "), "asked_by": n.o.Name}
	return c.tell(ctx, e)
}

func (n *Nodes) hatch() (text secret.Text, entry revocation.Entry, err error) {
	c := n.core
	jti, err1 := id.New[id.Token](c.Random)
	sub, err2 := id.New[id.User](c.Random)
	sid, err3 := id.New[id.Session](c.Random)
	if err := errors.Join(err1, err2, err3); err != nil {
		return text, entry, unavailable("draw a canary's ids", err)
	}
	now := c.now()
	iat := instant.Unix(now.Seconds())
	claims := token.Claims{ID: jti, Subject: sub, Session: sid, Issuer: c.Tunables.Issuer, Audience: []string{CanaryAudience}, ClientID: CanaryAudience, Generation: 1, Epoch: c.View.Epoch(),
		IssuedAt: iat, NotBefore: iat, ExpiresAt: iat.Add(canaryLife)}
	entry = revocation.Entry{Kind: revocation.Token, Token: jti, Reason: revocation.SessionEnded, By: revocation.Canary, At: now, Until: c.outlives(&claims, now)}
	text, err = c.Codec.Sign(claims)
	return text, entry, err
}

// judge is the guard's judgement of a canary: nil when it is taken.
func (n *Nodes) judge(canary string) error {
	_, err := n.guard.admit(canary, &n.policy)
	return err
}

// judgesCanary answers the question askCanary: true once the token is refused because it was revoked.
func (n *Nodes) judgesCanary(_ context.Context, body []byte) bool {
	err := n.judge(string(body))
	var revoked *revocation.RevokedError
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case errors.As(err, &revoked):
		delete(n.doubts, string(body))
		if n.sent != string(body) || !n.canary.Failed { // one's own is refused by who hears nothing from others too
			n.told(false)
		}
		return true
	case err != nil: // refused for another reason, which proves nothing
		return false
	case n.doubts[string(body)].IsZero():
		if len(n.doubts) >= maxQuestions {
			clear(n.doubts)
		}
		n.doubts[string(body)] = now
	case now.Sub(n.doubts[string(body)]) >= max(confirmFor*2/3, 2*n.o.Poll+time.Second): // it may hear of a canary before it hears of its revocation, but not for so long
		n.told(true)
	}
	return false
}

// told notes how a canary ended. It is called with the lock held.
func (n *Nodes) told(failed bool) {
	switch {
	case failed && !n.canary.Failed:
		n.o.Logger.Error("This node takes a token that was revoked: it is not ready until that is mended; start it anew")
	case !failed && n.canary.Failed:
		n.o.Logger.Info("This node refuses what was revoked again")
	}
	n.canary = node.Canary{At: n.core.now(), Failed: failed}
}

// Canary is what became of the last canary that this node judged.
func (n *Nodes) Canary() node.Canary {
	if n == nil {
		return node.Canary{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.canary
}
