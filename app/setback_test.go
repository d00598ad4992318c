package app_test

import (
	"testing"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
)

// A database that was set back to an earlier point has lower generations and a lower epoch than revocations that are in force name: who signs in is not handed a token that is dead.
func TestADatabaseThatWasSetBack(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	before := w.signIn("ann")
	now := w.core.Now()
	w.view.Publish(t.Context(),
		revocation.Entry{Kind: revocation.User, User: ann.ID, Min: ann.Generation + 5, Reason: revocation.UserDisabled, At: instant.Of(now), Until: instant.Forever - 1},
		revocation.Entry{Kind: revocation.Epoch, Epoch: 3, Reason: revocation.EpochRaised, At: instant.Of(now), Until: instant.Forever})
	if _, err := w.guard.Admit(before.Access.RevealPlaintext()); err == nil {
		t.Error("a token of before is taken")
	}
	for range 2 {
		after := w.signIn("ann")
		c := w.caller(after)
		if c.Claims.Generation != ann.Generation+5 || c.Claims.Epoch != 3 {
			t.Errorf("generation %d, epoch %d; want %d and 3", c.Claims.Generation, c.Claims.Epoch, ann.Generation+5)
		}
	}
}
