package vaultsecrets_test

import (
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// What is closed leaves nothing running: no renewal, no connection.
func TestMain(m *testing.M) {
	status := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); status == 0 && err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		status = 1
	}
	os.Exit(status)
}
