package main

import (
	"context"
	"time"
)

// Finding is what one check came to.
type Finding = finding

// Examine goes through the checklist of a deployment that does not run, with these settings.
func Examine(ctx context.Context, env map[string]string, now time.Time, vulndb string) (map[string]Finding, error) {
	get := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	s, err := parse(get)
	if err != nil {
		return nil, err
	}
	all := map[string]Finding{}
	for _, f := range examine(ctx, &patient{s: s, get: get, now: now, vulndb: vulndb}, before).Checks {
		all[f.ID] = f
	}
	return all, nil
}

// Musts are the checks that a start in production is refused for.
func Musts() (ids []string) {
	for _, e := range before {
		if e.must {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// Scan holds modules against a vulnerability database.
func Scan(database string, modules map[string]string) (newest time.Time, read int, hits []string, err error) {
	return scan(database, modules)
}

// Linked are the modules of this program.
func Linked() map[string]string { return linked() }
