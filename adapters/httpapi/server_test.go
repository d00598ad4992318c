package httpapi_test

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
)

// What net/http has to say is a warning, a line a second.
func TestServerFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		s := httpapi.Server(nil, log)
		for range 25 { // 5 s
			s.ErrorLog.Print("http: Accept error: too many open files\n")
			time.Sleep(200 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		}
		const line = `level=WARN msg="The HTTP server met a fault" says="http: Accept error: too many open files" count=`
		if got, want := b.String(), line+"1\n"+line+"5\n"+line+"5\n"+line+"5\n"+line+"5\n"; got != want {
			t.Errorf("got:\n%swant:\n%s", got, want)
		}
	})
}
