package porttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/ports"
)

// Nodes proves a ports.Nodes. open answers one that nobody has used, and another way to the same: that of another node.
func Nodes(t *testing.T, open func(t testing.TB) (one, other ports.Nodes)) {
	drawn := func(t testing.TB) id.Node {
		t.Helper()
		n, err := id.New[id.Node](rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	heard := func(t testing.TB, n ports.Nodes) map[id.Node]node.Word {
		t.Helper()
		words, err := n.Hear(t.Context())
		if err != nil {
			t.Fatalf("Hear: %v", err)
		}
		all := map[id.Node]node.Word{}
		for _, w := range words {
			if _, twice := all[w.Node]; twice {
				t.Errorf("Hear answers the word of %s twice", w.Node)
			}
			all[w.Node] = w
		}
		return all
	}
	say := func(t testing.TB, n ports.Nodes, who id.Node, text []byte) {
		t.Helper()
		if err := n.Say(t.Context(), node.Word{Node: who, Text: text, Age: time.Hour}); err != nil {
			t.Fatalf("Say: %v", err)
		}
	}
	sub(t, "each hears the last word of all, young, whole, and once", func(t *testing.T) {
		one, other := open(t)
		a, b := drawn(t), drawn(t)
		if got := heard(t, one); len(got) != 0 {
			t.Errorf("nobody has said anything, and %d words are heard", len(got))
		}
		long := bytes.Repeat([]byte{0, 255, '"', '\n'}, node.MaxWord/4)
		say(t, one, a, []byte("first"))
		say(t, one, a, long)
		say(t, other, b, nil)
		for _, n := range []ports.Nodes{one, other} {
			got := heard(t, n)
			if len(got) != 2 || !bytes.Equal(got[a].Text, long) || len(got[b].Text) != 0 {
				t.Errorf("got %d words, want the long one and the empty one", len(got))
			}
			for who, w := range got {
				if w.Age < 0 || w.Age > time.Minute || !w.Live() {
					t.Errorf("the word of %s is %v old", who, w.Age)
				}
			}
		}
		if err := one.Say(t.Context(), node.Word{Node: a, Text: make([]byte, node.MaxWord+1)}); err == nil {
			t.Error("a word that is too long was taken")
		}
		if got := heard(t, one); !bytes.Equal(got[a].Text, long) {
			t.Error("a word that was refused took another's place")
		}
	})
	sub(t, "a word grows old until another is said", func(t *testing.T) {
		one, _ := open(t)
		a := drawn(t)
		say(t, one, a, []byte("a"))
		first := heard(t, one)[a].Age
		for deadline := time.Now().Add(patience); heard(t, one)[a].Age <= first+20*time.Millisecond; {
			if time.Now().After(deadline) {
				t.Fatal("the word does not grow old")
			}
		}
		before, begun := heard(t, one)[a].Age, time.Now()
		say(t, one, a, []byte("a"))
		if after, took := heard(t, one)[a].Age, time.Since(begun); after > took+10*time.Millisecond {
			t.Errorf("the word is %v old, was %v before it was said again, and that was %v ago", after, before, took)
		}
	})
	sub(t, "Wait ends soon, after what was said at any time since the last one ended", func(t *testing.T) {
		one, other := open(t)
		for i := range 4 {
			if err := one.Wait(t.Context()); err != nil { // of whatever was said before; a second at most
				t.Fatalf("Wait: %v", err)
			}
			begun := time.Now()
			told := make(chan error, 1)
			if i%2 == 0 {
				say(t, other, drawn(t), []byte("news"))
				told <- nil
			} else {
				go func() {
					told <- other.Say(context.WithoutCancel(t.Context()), node.Word{Node: id.Node{1, byte(i)}, Text: []byte("news")})
				}()
			}
			if err := one.Wait(t.Context()); err != nil {
				t.Fatalf("Wait: %v", err)
			}
			if err := <-told; err != nil {
				t.Fatalf("Say: %v", err)
			}
			if took := time.Since(begun); took > 30*time.Second { // a slow machine only waits
				t.Errorf("Wait took %v", took)
			}
		}
	})
	sub(t, "a cancelled context ends each call with its error", func(t *testing.T) {
		one, _ := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for call, err := range map[string]error{"Say": one.Say(ctx, node.Word{Node: drawn(t)}), "Wait": one.Wait(ctx)} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want the context's", call, err)
			}
		}
		if _, err := one.Hear(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Hear: got %v, want the context's", err)
		}
	})
}
