package main

import "github.com/xteam/xteam/adapters/httpapi"

// ParseEdge reads settings from a map, and answers those of the transport, and why they may not serve in production.
func ParseEdge(env map[string]string) (o httpapi.Options, unfit []string, err error) {
	s, err := parse(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return s.HTTP, s.Unfit, err
}
