package pgstore_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
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
