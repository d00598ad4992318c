package main

import (
	"context"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// counting is a store of which is counted what is read.
func (p *progress) counting(s app.Stores) app.Stores {
	s.Sessions, s.Events, s.Revocations, s.Trail = countedSessions{s.Sessions, p}, countedEvents{s.Events, p}, countedRevocations{s.Revocations, p}, countedTrail{s.Trail, p}
	return s
}

type countedSessions struct {
	ports.Sessions
	told *progress
}

// OfUser is asked once for each account.
func (c countedSessions) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	all, err := c.Sessions.OfUser(ctx, uid)
	c.told.count("accounts", 1)
	return all, err
}

type countedEvents struct {
	ports.Events
	told *progress
}

func (c countedEvents) List(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	page, last, err := c.Events.List(ctx, after, limit)
	c.told.count("events", len(page))
	return page, last, err
}

type countedRevocations struct {
	ports.StoredRevocations
	told *progress
}

func (c countedRevocations) Follow(ctx context.Context, f func(ports.News) error) error {
	return c.StoredRevocations.Follow(ctx, func(news ports.News) error {
		c.told.count("revocations", len(news.Entries))
		return f(news)
	})
}

type countedTrail struct {
	ports.Trail
	told *progress
}

func (c countedTrail) List(ctx context.Context, after uint64, limit int) ([]audit.Link, error) {
	page, err := c.Trail.List(ctx, after, limit)
	c.told.count("records", len(page))
	return page, err
}

// countedBytes counts what is written to it.
type countedBytes struct {
	told *progress
	n    int64
}

func (c *countedBytes) Write(b []byte) (int, error) {
	before := c.n >> 20
	c.n += int64(len(b))
	c.told.count("MiB", int(c.n>>20-before))
	return len(b), nil
}
