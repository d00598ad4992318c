package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/app"
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
	for _, f := range examine(ctx, &patient{s: s, get: get, now: now, vulndb: vulndb}, before, within).Checks {
		all[f.ID] = f
	}
	return all, nil
}

// Checks are all checks, those before a start and those of what runs.
func Checks() (ids []string) {
	for _, e := range slices.Concat(before, after) {
		ids = append(ids, e.id)
	}
	return ids
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

// Progress is what a command tells on errs that takes its time: step begins one, end ends all.
func Progress(errs io.Writer) (step func(string), end func()) {
	p := (&cli{err: errs}).progress()
	return func(what string) { p.step("%s", what) }, p.end
}

// Counted is the same of a step that reads a store, which is counted.
func Counted(errs io.Writer, step string, s app.Stores) (counted app.Stores, end func()) {
	p := (&cli{err: errs}).progress()
	p.step("%s", step)
	return p.counting(s), p.end
}

// Scan holds modules against a vulnerability database.
func Scan(database string, modules map[string]string) (newest time.Time, read int, hits []string, err error) {
	return scan(database, modules)
}

// Linked are the modules of this program.
func Linked() map[string]string { return linked() }

// ExamineLive goes through some of the checks of a deployment that runs, with the settings of the environment, as if it were now.
func ExamineLive(ctx context.Context, url, log, metrics, apiKey string, now time.Time, ids ...string) (all map[string]Finding, left string, err error) {
	began := time.Now() // as now was handed in, however long it takes to get there
	c := &cli{in: strings.NewReader(apiKey + "\n"), out: io.Discard, err: io.Discard}
	s, get, err := c.settings()
	if err != nil {
		return nil, "", err
	}
	l, closeAll, err := c.reach(ctx, liveOptions{url: url, log: log, metrics: metrics, key: apiKey != ""}, nil)
	if err != nil {
		return nil, "", err
	}
	defer closeAll()
	all = map[string]Finding{}
	var some []examination
	for _, e := range after {
		if slices.Contains(ids, e.id) {
			some = append(some, e)
		}
	}
	for _, f := range examine(ctx, &patient{s: s, get: get, now: now, began: began, live: l}, some, liveWithin).Checks {
		all[f.ID] = f
	}
	return all, l.probe.leave(ctx), nil
}
