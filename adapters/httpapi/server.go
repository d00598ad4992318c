package httpapi

import (
	"log/slog"
	"net/http"
	"time"
)

// Server is an http.Server for h with limits that a slow or hostile client cannot stretch: 10 s for the header, 30 s for the whole request, 60 s
// for an idle connection, 64 KiB of header. What net/http has to say goes to log.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
