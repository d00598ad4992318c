package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/token"
)

// Mark keeps, outside the database, how far this node has seen it come: a node that starts can tell by it that the database was set back, though nothing else remembers.
type Mark interface {
	// Load answers what was stored last, or nothing.
	Load() ([]byte, error)
	Store(mark []byte) error
}

// markEvery is how often the mark is moved on.
const markEvery = 10 * time.Second

// mark is what is kept: the end of the audit trail, which only grows while a database lives, and the epoch.
type mark struct {
	Chain  string      `json:"chain"`
	Record uint64      `json:"record"`
	Hash   string      `json:"hash"`
	Epoch  token.Epoch `json:"epoch"`
}

func (h *Healing) mark(ctx context.Context) (m mark, err error) {
	head, err := h.core.Stores.Trail.Head(ctx)
	if err != nil {
		return m, fmt.Errorf("read the head of the audit trail: %w", err)
	}
	s, err := h.core.Stores.System.Load(ctx)
	if err != nil {
		return m, fmt.Errorf("read the epoch: %w", err)
	}
	return mark{fmt.Sprintf("%x", head.Last.Chain), head.Last.Seq, fmt.Sprintf("%x", head.Last.Head), s.Epoch}, nil
}

// Compare holds the database against the mark that an earlier run of this node has left, before anything is served, and moves the mark on from then on, while Run runs. When the database ends before the mark, it was set back;
// unless the epoch was raised since (xteam restore does it, or another node that started before), nobody has vouched for what it lost, and it is raised. A mark of another chain, or one that cannot be read, says nothing.
func (h *Healing) Compare(ctx context.Context, kept Mark) error {
	if kept == nil || h.core.Stores.Trail == nil {
		return nil
	}
	var was mark
	text, err := kept.Load()
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		h.log.Warn("How far this node had seen the database come is not known", "error", err.Error())
		was = mark{}
	}
	leave, err := h.core.turn(ctx, "compare")
	if err != nil {
		return err
	}
	defer leave()
	is, err := h.mark(ctx)
	if err != nil {
		return err
	}
	if was.beyond(is) && is.Epoch <= was.Epoch {
		cause := fmt.Sprintf("its audit trail ends with record %d, and this node has seen record %d", is.Record, was.Record)
		if err := h.begin(ctx, view.Healing{Source: "database", Truth: true, Unvouched: true, Cause: cause}); err != nil {
			return err
		}
	}
	h.kept = kept
	h.moveOn(ctx)
	return nil
}

// beyond reports whether a database that ends at is was set back since m.
func (m mark) beyond(is mark) bool {
	if is.Record == 0 && m.Record > 0 {
		return true
	}
	return m.Chain == is.Chain && (m.Record > is.Record || m.Record == is.Record && m.Hash != is.Hash)
}

// moveOn stores how far the database has come. What fails is tried again the next time.
func (h *Healing) moveOn(ctx context.Context) {
	if h.kept == nil {
		return
	}
	is, err := h.mark(ctx)
	if err != nil || is == h.at {
		return
	}
	text, err := json.Marshal(is)
	if err == nil {
		err = h.kept.Store(text)
	}
	switch {
	case err == nil:
		h.at, h.unkept = is, false
	case !h.unkept:
		h.unkept = true
		h.log.Warn("How far this node has seen the database come cannot be kept", "error", err.Error())
	}
}
