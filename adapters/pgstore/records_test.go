package pgstore_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
)

// TestRecordsOfAnotherVersion: a field or an encoding that is not known is refused, so that it is not written back without it; so is half a record.
func TestRecordsOfAnotherVersion(t *testing.T) {
	v := anEvent()
	good := pgstore.EncodeEvent(v)
	if got, err := pgstore.DecodeEvent(v.ID, good); err != nil || got.Time != v.Time {
		t.Fatalf("got %+v, error %v", got, err)
	}
	for what, c := range map[string]struct {
		record []byte
		want   string
	}{
		"another encoding": {append([]byte{2}, good[1:]...), "newer version"},
		"another field":    {append(bytes.Clone(good[:len(good)-1]), `,"hue":"red"}`...), "newer version"},
		"nothing":          {nil, "damaged"},
		"half":             {good[:len(good)/2], "damaged"},
		"more behind it":   {append(bytes.Clone(good), "{}"...), "damaged"},
	} {
		if _, err := pgstore.DecodeEvent(v.ID, c.record); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", what, err, c.want)
		}
	}
}

// TestRecordsOfBefore: what an earlier version wrote is read, and one that says what cannot be is damaged.
func TestRecordsOfBefore(t *testing.T) {
	const fields = `"owner":"AQAAAAAAAAAAAAAAAAAAAA==","name":"bot","hash":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","last_from":{},"networks":["192.0.2.0/24"]`
	k, err := pgstore.DecodeAPIKey(id.APIKey{1}, []byte("\x01{"+fields+"}"))
	if err != nil || k.Name.String() != "bot" || len(k.Networks.List()) != 1 || k.Known != (session.Places{}) {
		t.Errorf("an API key of which eight networks were known: %+v, error %v", k, err)
	}
	if _, err := pgstore.DecodeAPIKey(id.APIKey{1}, []byte("\x01{"+fields+`,"known":"AQ=="}`)); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("one with half a network: error %v", err)
	}
}
