package httpapi

import (
	"log/slog"
	"net/http"
	"time"
)

// Server is an http.Server for h with limits that a slow or hostile client cannot stretch: 10 s for the header and 64 KiB of it, a body at 64 KiB a second
// or more (see body.go), 30 s for a body that no handler reads, 60 s for the answer and for an idle connection. What net/http has to say goes to log.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		DisableGeneralOptionsHandler: true, // OPTIONS * gets an answer of the chain, with its headers
		ReadHeaderTimeout:            10 * time.Second,
		ReadTimeout:                  30 * time.Second,
		WriteTimeout:                 60 * time.Second,
		IdleTimeout:                  60 * time.Second,
		MaxHeaderBytes:               64 << 10,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
