package audit_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/audit"
)

// exportCEF writes the whole of a trail.
func (t *trail) exportCEF() []byte {
	var b []byte
	for _, e := range t.entries() {
		b = append(e.AppendCEF(b, "1.2|3"), '\n')
	}
	last := t.head.Last
	end := t.signer.sign(audit.Checkpoint{Purpose: audit.Exported, Chain: last.Chain, Time: last.Time, First: 1, Before: last.Chain.Genesis(), Seq: last.Seq, Head: last.Head, Digest: sha256.Sum256(b)})
	return append(end.AppendCEF(b), '\n')
}

func TestCEF(t *testing.T) {
	e := event(1)
	e.Reason, e.Email, e.UserAgent, e.IPAddress = `a=b|c\d`, "x\r\ny", "\x1b[31m\x00\u202e\xff", "2001:db8::1"
	e.Details = map[string]string{"b": "2", "a": strings.Repeat("é", 1000)}
	head := audit.Checkpoint{}
	l := head.Chained([]audit.Event{e}, []audit.Salt{{1}})[0]
	entry := l.Entry(&e)
	got := string(entry.AppendCEF(nil, `1|2\3`))
	hash := l.Record.Hash().String()
	want := `CEF:0|XTeam|XTeam|1\|2\\3|authentication_succeeded|Authentication succeeded|3|rt=1790000001000 externalId=` + e.ID.String() + ` cn1Label=seq cn1=1 cs1Label=recordHash cs1=` + hash +
		` outcome=success reason=a\=b|c\\d suid=` + e.Actor + ` duid=` + e.Subject + ` duser=x\r\ny c6a2Label=Source IPv6 Address c6a2=2001:db8::1 requestClientApplication=\\u001b[31m\\u0000\\u202e` + "\uFFFD" +
		` cs3Label=requestId cs3=` + e.RequestID + ` cs2Label=details cs2=a: ` + strings.Repeat("é", 510)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	alone := strings.Replace(want, " cn1Label=seq cn1=1 cs1Label=recordHash cs1="+hash, "", 1)
	if got := string(e.AppendCEF(nil, `1|2\3`)); got != alone {
		t.Errorf("an event alone: got  %s\nwant %s", got, alone)
	}
	e.Kind, e.IPAddress = "of|a\nlater\\version", "192.0.2.1"
	l = head.Chained([]audit.Event{e}, []audit.Salt{{1}})[0]
	entry = l.Entry(&e)
	got = string(entry.AppendCEF(nil, "1"))
	if !strings.HasPrefix(got, `CEF:0|XTeam|XTeam|1|of\|a\\u000alater\\version|of\|a\\u000alater\\version|3|`) || !strings.Contains(got, " src=192.0.2.1 ") {
		t.Errorf("got %s", got)
	}
}

func TestAnExportInCEFIsVerifiedByItsBytes(t *testing.T) {
	trail := newTrail(newSigner("audit"), 3, 3)
	whole := trail.exportCEF()
	if r := verifiedFile(t, trail.signer, whole, trail.head.Last); !r.OK() || r.Records != 3 || r.Last.Seq != 3 {
		t.Fatalf("untouched: %+v", r)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if r := verifiedFile(t, trail.signer, b); r.OK() {
			t.Fatalf("bit %d of byte %d, in %q, was missed", i%8, i, whole[max(i-20, 0):min(i+20, len(whole))])
		}
		if i%5 > 0 {
			continue
		}
		if r := verifiedFile(t, trail.signer, whole[:i]); r.OK() {
			t.Fatalf("a cut at byte %d was missed", i)
		}
	}
	empty := newTrail(newSigner("audit"), 0, 1)
	if r := verifiedFile(t, empty.signer, empty.exportCEF()); !r.OK() {
		t.Errorf("an empty one: %v", r.Findings)
	}
	forged := newTrail(newSigner("eve"), 5, 3).exportCEF()
	if r := verifiedFile(t, trail.signer, forged); r.OK() {
		t.Error("another key's export was taken")
	}
}
