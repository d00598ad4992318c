package porttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/ports"
)

// Turns proves a ports.Turns. open answers it as several nodes of one store have it; what it opens it closes by t.Cleanup.
func Turns(t *testing.T, open func(t testing.TB) []ports.Turns) {
	t.Run("one at a time, over all nodes", func(t *testing.T) {
		nodes := open(t)
		var all sync.WaitGroup
		inside, entered := 0, 0 // guarded by the turn alone: the race detector would see two in it
		for i := range 4 * len(nodes) {
			all.Go(func() {
				for range 10 {
					leave, err := nodes[i%len(nodes)].Turn(t.Context(), "a rule")
					if err != nil {
						t.Error(err)
						return
					}
					if inside++; inside != 1 {
						t.Errorf("%d have the turn", inside)
					}
					entered++
					inside--
					leave()
				}
			})
		}
		all.Wait()
		if want := 40 * len(nodes); entered != want {
			t.Errorf("%d had the turn, want %d", entered, want)
		}
	})
	t.Run("names do not wait for one another", func(t *testing.T) {
		nodes := open(t)
		one, err := nodes[0].Turn(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		defer one()
		for _, n := range nodes {
			two, err := n.Turn(t.Context(), "two")
			if err != nil {
				t.Fatal(err)
			}
			two()
		}
	})
	t.Run("who waits in vain", func(t *testing.T) {
		nodes := open(t)
		leave, err := nodes[0].Turn(t.Context(), "a rule")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if other, err := n.Turn(short, "a rule"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Turn with a context that ends: %v", err)
				if err == nil {
					other()
				}
			}
			cancel()
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := nodes[0].Turn(gone, "another rule"); !errors.Is(err, context.Canceled) {
			t.Errorf("Turn with a context that has ended: %v", err)
		}
		leave()
		leave()
		again, err := nodes[len(nodes)-1].Turn(t.Context(), "a rule")
		if err != nil {
			t.Fatal(err)
		}
		if second, err := nodes[0].Turn(t.Context(), "a third"); err != nil {
			t.Error(err)
		} else {
			second()
		}
		again()
	})
}
