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
	err := goleak.Find()
	for range 30 { // on a slow machine what ends takes a while
		if err != nil {
			err = goleak.Find()
		}
	}
	if status == 0 && err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		status = 1
	}
	os.Exit(status)
}
