package main

import (
	"log/slog"

	"github.com/xteam/xteam/adapters/httpapi"
)

// ParseEdge reads settings from a map, and answers those of the transport, and why they may not serve in production.
func ParseEdge(env map[string]string) (o httpapi.Options, unfit []string, err error) {
	s, err := parse(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return s.HTTP, s.Unfit, err
}

// Certificate is the pair that is served.
type Certificate struct{ c *certificate }

// OpenCertificate reads the pair of two files.
func OpenCertificate(environment, cert, key string, log *slog.Logger) (Certificate, error) {
	c, err := openCertificate(&settings{Environment: environment, CertFile: cert, KeyFile: key})
	if err != nil {
		return Certificate{}, err
	}
	c.tellTo(log)
	return Certificate{c}, nil
}

// Served is the serial number of what a handshake gets.
func (c Certificate) Served() int64 {
	pair, err := c.c.config().GetCertificate(nil)
	if err != nil {
		return -1
	}
	return pair.Leaf.SerialNumber.Int64()
}

// Reload looks at the files now.
func (c Certificate) Reload() { c.c.reload() }

// StrangersReach is strangersReach.
func StrangersReach(addr string) bool { return strangersReach(addr) }
