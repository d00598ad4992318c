package app_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

// ticketNodes are nodes that share data keys and buckets, each with a clock that is ahead by so much.
func ticketNodes(w *world, ahead ...time.Duration) (all []*app.Tickets) {
	buckets := memstore.NewBuckets(memstore.BucketsOptions{})
	for _, d := range ahead {
		core := *w.core
		core.Now = func() time.Time { return w.core.Now().Add(d) }
		all = append(all, app.NewTickets(&core, clearSealer{}, buckets))
	}
	return all
}

func issueTicket(t *testing.T, of *app.Tickets) string {
	t.Helper()
	text, err := of.Issue(secret.New("an access token"))
	if err != nil {
		t.Fatal(err)
	}
	return text.RevealPlaintext()
}

// However many redeem a ticket at once, on whichever of two nodes, one does.
func TestATicketIsRedeemedOnceByManyAtOnce(t *testing.T) {
	nodes := ticketNodes(newWorld(t), 0, 0)
	for range 50 {
		ticket := issueTicket(t, nodes[0])
		var all sync.WaitGroup
		errs := make(chan error, 8)
		for i := range cap(errs) {
			all.Go(func() { _, err := nodes[i%2].Redeem(context.Background(), ticket); errs <- err })
		}
		all.Wait()
		close(errs)
		redeemed := 0
		for err := range errs {
			switch {
			case err == nil:
				redeemed++
			case !errors.Is(err, token.ErrInvalid):
				t.Errorf("refused with %v", err)
			}
		}
		if redeemed != 1 {
			t.Fatalf("one ticket was redeemed %d times", redeemed)
		}
	}
}

// The clocks of nodes may part by minutes before no node signs anything: a ticket is good once all the same, whoever made it, and whoever takes it first.
func TestATicketIsRedeemedOnceWhateverTheClocksSay(t *testing.T) {
	w := newWorld(t)
	ahead := []time.Duration{-4 * time.Minute, -70 * time.Second, 0, 70 * time.Second, 4 * time.Minute}
	nodes := ticketNodes(w, ahead...)
	for maker := range nodes {
		for first := range nodes {
			for _, between := range []time.Duration{0, 20 * time.Second} {
				ticket, redeemed := issueTicket(t, nodes[maker]), 0
				for i := range nodes {
					if _, err := nodes[(first+i)%len(nodes)].Redeem(t.Context(), ticket); err == nil {
						redeemed++
					}
					w.turn(between)
				}
				if _, err := nodes[0].Redeem(t.Context(), ticket); err == nil { // by whose clock it is good for longest
					redeemed++
				}
				if redeemed > 1 || redeemed == 0 && ahead[maker] >= ahead[first] {
					t.Errorf("a ticket of node %d, first taken by node %d, %v apart: redeemed %d times", maker, first, between, redeemed)
				}
			}
		}
	}
}
