package pgstore_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/ports"
)

// TestAPanicOfASharedRead is an error to each who waits for it, and the next read goes on.
func TestAPanicOfASharedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		var shared pgstore.SharedRead
		begun, over, answers := make(chan struct{}), make(chan struct{}), make(chan error, 8)
		ask := func(read func(context.Context) (int, error)) {
			go func() {
				_, err := shared.Do(t.Context(), log, read)
				answers <- err
			}()
		}
		ask(func(context.Context) (int, error) { close(begun); <-over; panic("broken") })
		<-begun
		begun = make(chan struct{}) // the same read is done for those who come while it runs
		for range 3 {
			ask(nil)
		}
		synctest.Wait()
		close(over)
		for range 4 {
			if err := <-answers; !errors.Is(err, ports.ErrUnavailable) || strings.Contains(err.Error(), "broken") {
				t.Errorf("got %v, want ErrUnavailable and not what the panic said", err)
			}
		}
		if n := strings.Count(text.String(), "broken"); n < 1 || !strings.Contains(text.String(), "shared_test.go") {
			t.Errorf("the log: %s", text.String())
		}
		if v, err := shared.Do(t.Context(), log, func(context.Context) (int, error) { return 7, nil }); v != 7 || err != nil {
			t.Errorf("afterwards: %d, %v", v, err)
		}
	})
}
