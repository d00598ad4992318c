package httpapi

import (
	"bufio"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

// auditEntry is an event of the audit trail. What was erased is empty.
type auditEntry struct {
	Seq       *uint64           `json:"seq"` // the number of the record; null: the event is committed, and not linked yet
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`     // by the clock of the node that saw it: the order is that of seq
	Kind      string            `json:"kind"`     // what happened, as a word
	Message   string            `json:"message"`  // what the log says of that kind
	Severity  string            `json:"severity"` // info, warning or critical
	Outcome   string            `json:"outcome"`  // success or failure
	Actor     string            `json:"actor"`    // a user id, operator or system; empty: nobody was signed in
	Subject   string            `json:"subject"`  // whom or what it concerns
	Reason    string            `json:"reason"`
	Email     string            `json:"email"`             // or the name that was tried
	IPAddress string            `json:"ip_address"`        // where the request came from
	UserAgent string            `json:"user_agent"`        // of the client
	RequestID string            `json:"request_id"`        // of the request that caused it
	Details   map[string]string `json:"details"`           // what else it tells
	Erased    bool              `json:"erased"`            // what is personal was erased
	Missing   bool              `json:"missing,omitempty"` // it is not there as it was linked: verify the trail
}

func auditEntryOf(r *audit.Record, p *audit.Personal) auditEntry {
	out := auditEntry{ID: r.Event.String(), Time: r.Time.Time(), Kind: string(r.Kind), Message: r.Kind.Message(), Severity: r.Severity.String(), Outcome: string(r.Outcome),
		Actor: r.Actor, Subject: r.Subject, Reason: r.Reason, Details: map[string]string{}}
	if r.Seq > 0 {
		seq := r.Seq
		out.Seq = &seq
	}
	if p == nil {
		return out
	}
	out.Email, out.IPAddress, out.UserAgent, out.RequestID = p.Email, p.IPAddress, p.UserAgent, p.RequestID
	maps.Copy(out.Details, p.Details)
	return out
}

// auditPage is a page of the trail.
type auditPage struct {
	Items []auditEntry `json:"items"`
	Next  uint64       `json:"next_after"` // what to give as after to go on
	Total uint64       `json:"last"`       // the number of the last record there is
}

// auditTrail shows the trail from a record on, or its end.
func (a *API) auditTrail(x *exchange) error {
	q, err := x.query("limit", "after")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	var got app.TrailPage
	var after uint64
	if q["after"] == "" {
		got, err = a.Trail.Latest(x.ctx(), limit)
	} else if after, err = strconv.ParseUint(q["after"], 10, 64); err != nil {
		return invalid("after", "must be the number of a record, 0 for the beginning, or empty for the end")
	} else {
		got, err = a.Trail.Page(x.ctx(), after, limit)
	}
	if err != nil {
		return err
	}
	page := auditPage{Items: make([]auditEntry, 0, len(got.Entries)+len(got.Unlinked)), Next: max(after, got.Head.Cut.Seq), Total: got.Head.Last.Seq}
	if q["after"] == "" {
		page.Next = got.Head.Last.Seq
	}
	for i := range got.Entries {
		e := &got.Entries[i]
		item := auditEntryOf(&e.Record, e.Personal)
		item.Erased, item.Missing = e.Erased(), e.Personal == nil && !e.Erased()
		page.Items, page.Next = append(page.Items, item), e.Record.Seq
	}
	for i := range got.Unlinked {
		r, p := audit.Part(&got.Unlinked[i])
		page.Items = append(page.Items, auditEntryOf(&r, &p))
	}
	page.Items = page.Items[max(len(page.Items)-limit, 0):]
	return x.write(http.StatusOK, page)
}

// exportPatience is how long an export may make no progress, for a client that does not read.
const exportPatience = 30 * time.Second

// exportAudit writes the trail as lines, whose last is signed. An export that ends without that line is not whole.
func (a *API) exportAudit(x *exchange) error {
	q, err := x.query("format", "from", "to")
	if err != nil {
		return err
	}
	var bad validationError
	o := app.ExportOptions{From: timeIn(q, "from", &bad), To: timeIn(q, "to", &bad), CEF: q["format"] == "cef", Version: a.version}
	if f := q["format"]; f != "" && f != "cef" && f != "jsonl" {
		bad.note("format", "must be jsonl or cef")
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	write, err := a.Trail.Exporting(x.ctx(), x.actor(), o)
	if errors.Is(err, app.ErrEmptySpan) {
		return invalid("to", "must not lie before from")
	}
	if err != nil {
		return err
	}
	x.Header()["Content-Type"] = textType
	x.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(&patient{x, http.NewResponseController(x.ResponseWriter)}, 64<<10)
	err = write(x.ctx(), out)
	if err == nil || errors.Is(err, app.ErrTrailBroken) { // the end that is not there tells of it
		if err != nil {
			a.log.Error("An export of the audit trail was not signed", "request_id", x.id, "error", err)
		}
		err = out.Flush()
	}
	if err == nil {
		return nil
	}
	if x.ctx().Err() == nil {
		a.log.Error("An export of the audit trail was broken off", "request_id", x.id, "error", err)
	}
	panic(http.ErrAbortHandler) // the client sees that this is not all
}

// patient lets a long answer take as long as it makes progress.
type patient struct {
	x       *exchange
	control *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.x.ctx().Err(); err != nil {
		return 0, err
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(exportPatience)) // of what is no connection there is none
	n, err := p.x.Write(b)
	if err == nil {
		err = p.x.FlushError()
		if errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	return n, err
}

// timeIn reads a time; 0: there is none.
func timeIn(q map[string]string, name string, bad *validationError) instant.Instant {
	if q[name] == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, q[name])
	if err != nil {
		bad.note(name, "must be a time as RFC 3339 has it, such as 2026-05-01T12:00:00Z")
	}
	return instant.Of(t)
}

// auditReport is what a verification of the trail found.
type auditReport struct {
	OK       bool           `json:"ok"`          // nothing is wrong
	Records  int            `json:"records"`     // how many were read
	First    uint64         `json:"first"`       // the first record that is kept
	Last     uint64         `json:"last"`        // the last that is signed
	LastGood uint64         `json:"last_good"`   // the last up to which everything holds
	Head     string         `json:"head"`        // its hash, as it was signed
	SignedAt *time.Time     `json:"signed_at"`   // when the last was signed
	Key      string         `json:"key_id"`      // the key that signed
	Points   int            `json:"checkpoints"` // that hold
	Erased   int            `json:"erased"`      // records whose personal part was erased
	Lost     int            `json:"lost"`        // records that stand for events that could not be read when they were linked
	Reviewed *time.Time     `json:"reviewed_at"` // when the trail was last reviewed; null: never, as far as is kept
	Findings []auditFinding `json:"findings"`    // what is wrong, in the order of the trail
	More     int            `json:"more"`        // findings beyond those
}

// auditFinding is one thing that is wrong, with its place.
type auditFinding struct {
	Fault string `json:"fault"` // changed, removed, moved, inserted, cut, fork, personal, unsigned, signature, other_chain or lost
	Seq   uint64 `json:"seq"`   // the record, or the first of several
	Text  string `json:"text"`  // in one sentence
}

// verifyAudit reads the whole trail.
func (a *API) verifyAudit(x *exchange) error {
	if _, err := x.query(); err != nil {
		return err
	}
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Time{}) // it ends with the trail, or when the client goes
	got, err := a.Trail.Verify(x.ctx())
	if err != nil {
		return err
	}
	out := auditReport{OK: got.OK(), Records: got.Records, First: got.First, Last: got.Last.Seq, LastGood: got.Good, Head: got.Last.Head.String(), SignedAt: timeOf(got.Last.Time), Key: got.Last.Key.String(),
		Points: got.Points, Erased: got.Erased, Lost: got.Lost, Reviewed: timeOf(got.Reviewed), Findings: []auditFinding{}, More: got.More}
	for _, f := range got.Findings {
		out.Findings = append(out.Findings, auditFinding{string(f.Fault), f.Seq, f.String()})
	}
	return x.write(http.StatusOK, out)
}

// auditKeys are the public keys that verify the trail.
type auditKeys struct {
	Chain string     `json:"chain"` // the name of the chain
	Items []auditKey `json:"items"` // the one that the chain begins with first
}

// auditKey is a public key of the trail.
type auditKey struct {
	ID     string `json:"id"`
	Public string `json:"public"` // as `audit verify --pubkey` takes it
}

func (a *API) auditKeys(x *exchange) error {
	if _, err := x.query(); err != nil {
		return err
	}
	keys, err := a.Trail.Keys(x.ctx())
	if err != nil {
		return err
	}
	out := auditKeys{Chain: audit.ChainOf(keys[0]).String()}
	for _, k := range keys {
		out.Items = append(out.Items, auditKey{audit.KeyIDOf(k).String(), audit.KeyText(k)})
	}
	return x.write(http.StatusOK, out)
}

// reviewBody is what a review takes.
type reviewBody struct {
	Note string `json:"note"` // at most 500 bytes
}

// reviewAudit records that somebody has looked through the trail.
func (a *API) reviewAudit(x *exchange) error {
	var in reviewBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	if err := a.Trail.Review(x.ctx(), x.actor(), in.Note); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// eraseBody is what an erasure takes.
type eraseBody struct {
	User string `json:"user"` // an id, which need not be that of an account any more, an e-mail address or a user name
}

// erasedRecords tells what an erasure did.
type erasedRecords struct {
	Erased int `json:"erased"` // records whose personal part is gone
}

// eraseAudit takes a user's personal data out of the trail. It is for the operator alone: it also takes away whence somebody came.
func (a *API) eraseAudit(x *exchange) error {
	if !x.operator {
		return a.Guard.Denied(x.ctx(), x.request(), x.caller, x.endpoint())
	}
	var in eraseBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.User == "" {
		return invalid("user", "is required: an id, an e-mail address or a user name")
	}
	n, err := a.Trail.Erase(x.ctx(), x.actor(), in.User)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, erasedRecords{n})
}
