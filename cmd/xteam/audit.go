package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/domain/audit"
)

const auditPath = "/api/v1/admin/audit"

// auditEvent is an event of the audit trail, as the API shows it.
type auditEvent struct {
	Seq       *uint64           `json:"seq"`
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`
	Kind      string            `json:"kind"`
	Message   string            `json:"message"`
	Severity  string            `json:"severity"`
	Outcome   string            `json:"outcome"`
	Actor     string            `json:"actor"`
	Subject   string            `json:"subject"`
	Reason    string            `json:"reason"`
	Email     string            `json:"email"`
	IPAddress string            `json:"ip_address"`
	UserAgent string            `json:"user_agent"`
	RequestID string            `json:"request_id"`
	Details   map[string]string `json:"details"`
	Erased    bool              `json:"erased"`
	Missing   bool              `json:"missing,omitempty"`
}

type auditPage struct {
	Items []auditEvent `json:"items"`
	Next  uint64       `json:"next_after"`
	Last  uint64       `json:"last"`
}

func (c *cli) audit() *cobra.Command {
	group := &cobra.Command{
		Use:   "audit",
		Short: "The audit trail",
		Long: `The audit trail: every security event, linked by hash to the one before, with
signed checkpoints. Whatever is changed, removed, moved, added or cut off is found
with the public key alone. Against whoever owns the store and its keys only a
checkpoint that is kept elsewhere helps: see AUDIT_CHECKPOINTS and
AUDIT_WEBHOOK_URL.`,
		Args:    cobra.NoArgs,
		Example: "  xteam audit tail --follow\n  xteam audit verify",
	}
	group.AddCommand(c.auditTail(), c.auditExport(), c.auditVerify(), c.auditPubkey(), c.auditReview(), c.auditErase())
	return group
}

func (c *cli) auditTail() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail [--follow]",
		Short: "Show the last events",
		Long: `Shows the last events, one line each, the newest last. An event without a number is
committed and not linked into the trail yet. --follow goes on with those that come,
once they are linked, which takes a second.`,
		Example: "  xteam audit tail\n  xteam audit tail --follow --json",
		Args:    cobra.NoArgs,
	}
	n := cmd.Flags().IntP("lines", "n", 20, "how many, from 1 to 100")
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with what comes")
	asJSON := cmd.Flags().Bool("json", false, "print each event as one JSON object")
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if *n < 1 || *n > 100 {
			return c.misuse("--lines takes a number from 1 to 100")
		}
		ctx := cmd.Context()
		api, err := c.admin(ctx, false)
		if err != nil {
			return err
		}
		defer api.close()
		var page auditPage
		if err := api.get(ctx, auditPath+"?limit="+strconv.Itoa(*n), &page); err != nil {
			return err
		}
		page.Items = page.Items[max(len(page.Items)-*n, 0):]
		for {
			for i := range page.Items {
				e := &page.Items[i]
				if *follow && e.Seq == nil {
					continue // it comes again once it is linked
				}
				if err := c.print(*asJSON, e, e.text()); err != nil {
					return err
				}
			}
			if !*follow {
				return nil
			}
			if len(page.Items) == 0 || page.Next >= page.Last {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(500 * time.Millisecond):
				}
			}
			next := page.Next
			page = auditPage{}
			if err := api.get(ctx, auditPath+"?limit=100&after="+strconv.FormatUint(next, 10), &page); ctx.Err() != nil {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	return cmd
}

// text is one line, whatever the event holds.
func (e *auditEvent) text() string {
	number := "-"
	if e.Seq != nil {
		number = strconv.FormatUint(*e.Seq, 10)
	}
	parts := []string{number, e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Severity, e.Message}
	add := func(name, value string) {
		if value = audit.Printable(value); strings.ContainsAny(value, " \"\\") {
			value = strconv.Quote(value)
		}
		if value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	add("outcome", e.Outcome)
	add("reason", e.Reason)
	add("actor", e.Actor)
	add("subject", e.Subject)
	add("email", e.Email)
	add("ip", e.IPAddress)
	for _, name := range slices.Sorted(maps.Keys(e.Details)) {
		add(audit.Printable(name), e.Details[name])
	}
	switch {
	case e.Missing:
		parts = append(parts, "(what it told is missing: run xteam audit verify)")
	case e.Erased:
		parts = append(parts, "(personal data erased)")
	}
	return strings.Join(parts, "  ")
}

// exportResult is what an export wrote.
type exportResult struct {
	File     string    `json:"file"`
	Format   string    `json:"format"`
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	Records  int       `json:"records"`
	Lost     int       `json:"lost,omitempty"` // of them those that stand for events that could not be read when they were linked; an export in CEF does not count them
	Head     string    `json:"head"`
	SignedAt time.Time `json:"signed_at"`
}

func (c *cli) auditExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export --out FILE [--format jsonl|cef] [--from TIME] [--to TIME]",
		Short: "Write the trail to a file that can be verified anywhere",
		Long: `Writes the trail to a new file that only its owner can read: a line for each record,
and at the end a signed count and head. A file that is there is not touched. It
holds personal data. The export is itself told of in the trail.`,
		Example: "  xteam audit export --out audit.jsonl\n  xteam audit export --out may.cef --format cef --from 2026-05-01T00:00:00Z --to 2026-06-01T00:00:00Z",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	out := f.String("out", "", "the new file")
	format := f.String("format", "jsonl", "jsonl, or cef for a SIEM")
	from := f.String("from", "", "from the first record of this time on: RFC 3339, or how long ago, such as 24h")
	to := f.String("to", "", "up to the last record of this time: RFC 3339, or how long ago")
	_ = cmd.MarkFlagRequired("out")                                                                                                    // fails for a flag that is not there alone
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "cef"}, cobra.ShellCompDirectiveNoFileComp)) // the same
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		q := url.Values{"format": {*format}}
		if *format != "jsonl" && *format != "cef" {
			return c.misuse("--format takes jsonl or cef")
		}
		if *out == "" {
			return c.misuse("--out takes the name of a new file")
		}
		for name, text := range map[string]*string{"from": from, "to": to} {
			if *text == "" {
				continue
			}
			at, ok := moment(*text, time.Now())
			if !ok {
				return c.misuse("--" + name + " takes a time in RFC 3339, such as 2026-05-01T12:00:00Z, or how long ago, such as 24h")
			}
			q.Set(name, at)
		}
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		got, err := api.export(cmd.Context(), *out, q)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s are in %s, signed at %s with the head %s", records(got.Records, got.First, got.Last), got.File, clock(got.SignedAt), got.Head)
		if got.Lost > 0 {
			text += fmt.Sprintf("\nof them %d stand for events that could not be read when they were linked: `xteam audit verify` names them", got.Lost)
		}
		return c.print(*asJSON, got, text)
	})
	return cmd
}

func records(n int, first, last uint64) string {
	switch n {
	case 0:
		return "no records"
	case 1:
		return fmt.Sprintf("1 record, number %d,", first)
	}
	return fmt.Sprintf("%d records, from %d to %d,", n, first, last)
}

// export writes a file, and reads it back as it is written. A file of a trail that does not hold is left: it is evidence.
func (a *admin) export(ctx context.Context, file string, q url.Values) (got exportResult, err error) {
	v, err := a.verifier(ctx, "", nil)
	if err != nil {
		return got, err
	}
	f, err := createNew(file)
	if err != nil {
		return got, err
	}
	read := audit.NewFile(v)
	err = a.download(ctx, auditPath+"/export?"+q.Encode(), io.MultiWriter(f, read))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return got, errors.Join(err, os.Remove(file))
	}
	report := read.Close()
	if !report.Holds() {
		return got, fmt.Errorf("%s holds what there is, but the trail does not hold: %s; `xteam audit verify` says more", file, report.Worst())
	}
	return exportResult{file, q.Get("format"), report.First, report.Last.Seq, report.Records, report.Lost, report.Last.Head.String(), report.Last.Time.Time()}, nil
}

// verifier trusts the public keys that are given, parted by commas, or else those of this installation.
func (a *admin) verifier(ctx context.Context, given string, elsewhere []audit.Checkpoint) (*audit.Verifier, error) {
	var texts []string
	if given != "" {
		texts = strings.Split(given, ",")
	} else {
		var keys auditKeys
		if err := a.get(ctx, auditPath+"/keys", &keys); err != nil {
			return nil, err
		}
		for _, k := range keys.Items {
			texts = append(texts, k.Public)
		}
	}
	var keys []ed25519.PublicKey
	for _, text := range texts {
		k, err := audit.ParseKey(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return audit.NewVerifier(keys, elsewhere...)
}

type auditKeys struct {
	Chain string `json:"chain"`
	Items []struct {
		ID     string `json:"id"`
		Public string `json:"public"`
	} `json:"items"`
}

// download writes the body of an answer, however long it is and takes.
func (a *admin) download(ctx context.Context, path string, to io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://operator"+path, nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	if t, here := a.http.Transport.(inProcess); here {
		return t.download(req, to)
	}
	res, err := (&http.Client{Transport: a.http.Transport}).Do(req)
	if err != nil {
		return fmt.Errorf("reach the server: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		no := &refusal{Status: res.StatusCode, Title: res.Status}
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		_ = json.Unmarshal(text, no) // a body of another form leaves the status line
		return no
	}
	if _, err := io.Copy(to, res.Body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// download calls the handler, which writes to to.
func (t inProcess) download(req *http.Request, to io.Writer) (err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			err = fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF)
		} else if p != nil {
			panic(p)
		}
	}()
	req.RequestURI, req.Host, req.Body = req.URL.RequestURI(), req.URL.Host, http.NoBody
	w := &running{answer: answer{header: http.Header{}}, to: to}
	t.handler.ServeHTTP(w, req)
	if w.WriteHeader(http.StatusOK); w.status >= 300 {
		no := &refusal{Status: w.status, Title: http.StatusText(w.status)}
		_ = json.Unmarshal(w.body.Bytes(), no) // a body of another form leaves the status line
		return no
	}
	return w.failed
}

// running is an answer that is handed on as it is written, if it is a success.
type running struct {
	answer
	to     io.Writer
	failed error
}

func (w *running) Write(b []byte) (int, error) {
	if w.WriteHeader(http.StatusOK); w.status >= 300 {
		return w.body.Write(b)
	}
	n, err := w.to.Write(b)
	if err != nil {
		w.failed = err
	}
	return n, err
}

// auditReport is what a verification found, as the API and --json show it.
type auditReport struct {
	OK       bool           `json:"ok"`
	Records  int            `json:"records"`
	First    uint64         `json:"first"`
	Last     uint64         `json:"last"`
	LastGood uint64         `json:"last_good"`
	Head     string         `json:"head"`
	SignedAt *time.Time     `json:"signed_at"`
	Key      string         `json:"key_id"`
	Points   int            `json:"checkpoints"`
	Erased   int            `json:"erased"`
	Lost     int            `json:"lost"`
	Reviewed *time.Time     `json:"reviewed_at"`
	Findings []auditFinding `json:"findings"`
	More     int            `json:"more"`
}

type auditFinding struct {
	Fault string `json:"fault"`
	Seq   uint64 `json:"seq"`
	Line  int    `json:"line,omitempty"`
	Text  string `json:"text"`
}

func reportOf(r *audit.Report) *auditReport {
	out := &auditReport{OK: r.OK(), Records: r.Records, First: r.First, Last: r.Last.Seq, LastGood: r.Good, Head: r.Last.Head.String(), Key: r.Last.Key.String(), Points: r.Points, Erased: r.Erased, Lost: r.Lost, Findings: []auditFinding{}, More: r.More}
	if !r.Last.IsZero() {
		at := r.Last.Time.Time()
		out.SignedAt = &at
	}
	if r.Reviewed != 0 {
		at := r.Reviewed.Time()
		out.Reviewed = &at
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, auditFinding{string(f.Fault), f.Seq, f.Line, f.String()})
	}
	return out
}

// holds reports whether nothing is wrong but that events were lost before they were linked.
func (r *auditReport) holds() bool {
	return r.More == 0 && !slices.ContainsFunc(r.Findings, auditFinding.breaks)
}

func (f auditFinding) breaks() bool { return f.Fault != string(audit.Lost) }

// fault is what is wrong, in one sentence.
func (r *auditReport) fault() error {
	if r.holds() {
		return fmt.Errorf("the trail holds, and tells of events that were changed in the store before they were linked, %d in all: see who could write to it", r.Lost)
	}
	worst := r.Findings[max(slices.IndexFunc(r.Findings, auditFinding.breaks), 0)]
	return fmt.Errorf("the trail does not hold: %s; the last good record is %d", worst.Text, r.LastGood)
}

func (r *auditReport) text() string {
	if !r.OK {
		var lines []string
		for _, f := range r.Findings {
			lines = append(lines, f.Text)
		}
		if r.More > 0 {
			lines = append(lines, fmt.Sprintf("and %d findings more", r.More))
		}
		return strings.Join(lines, "\n")
	}
	text := fmt.Sprintf("%s as signed; checkpoints between that hold: %d; records whose personal part was erased: %d\nhead %s of record %d, signed", strings.TrimSuffix(records(r.Records, r.First, r.Last), ","), r.Points, r.Erased, r.Head, r.Last)
	if r.SignedAt != nil {
		text += " at " + clock(*r.SignedAt)
	}
	text += " by the key " + r.Key
	if r.Reviewed != nil {
		text += "\nlast reviewed at " + clock(*r.Reviewed)
	}
	return text
}

func (c *cli) auditVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [--file FILE] [--pubkey KEY] [--checkpoints FILE]",
		Short: "Find whatever was changed, removed, moved, added or cut off",
		Long: `Reads the whole trail, or with --file an export of it, which takes nothing but the
public key: keep that elsewhere, as xteam audit pubkey prints it. Without --pubkey
the key is that of this installation, which proves nothing against whoever owns it.

With --checkpoints, or the file of AUDIT_CHECKPOINTS, the trail is also held against
the heads that were kept there: that file's lines, or what was posted to
AUDIT_WEBHOOK_URL. Exit code 1, and each place, when something is wrong,
a signature or the signed end missing too.`,
		Example: "  xteam audit verify\n  xteam audit verify --file audit.jsonl --pubkey ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	file := f.String("file", "", "an export, as xteam audit export wrote it")
	pubkey := f.String("pubkey", "", "the public key that is trusted; several are parted by commas, that of the chain's beginning first")
	points := f.String("checkpoints", "", "a file with checkpoints that were kept elsewhere")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if f.Changed("file") && *file == "" {
			return c.misuse("--file takes the name of an export")
		}
		if _, err := parseKeys(*pubkey); err != nil {
			return c.misuse("--pubkey: " + err.Error())
		}
		report, err := c.verify(cmd.Context(), *file, *pubkey, *points)
		if err != nil {
			return err
		}
		if err := c.print(*asJSON, report, report.text()); err != nil {
			return err
		}
		if !report.OK {
			return report.fault()
		}
		return nil
	})
	return cmd
}

func parseKeys(texts string) (keys []ed25519.PublicKey, err error) {
	for text := range strings.SplitSeq(texts, ",") {
		if texts == "" {
			break
		}
		k, err := audit.ParseKey(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// verify reads an export, or the trail of this installation. Only what it has to ask the server or the store it asks.
func (c *cli) verify(ctx context.Context, file, pubkey, points string) (*auditReport, error) {
	if file == "" && points == "" {
		s, _, err := c.settings()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(s.AuditCheckpoints); err == nil {
			points = s.AuditCheckpoints
		}
	}
	elsewhere, err := readCheckpoints(points)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(pubkey)
	if err != nil {
		return nil, err
	}
	if file != "" && len(keys) > 0 {
		v, err := audit.NewVerifier(keys, elsewhere...)
		if err != nil {
			return nil, err
		}
		return verifyFile(file, v)
	}
	api, err := c.admin(ctx, false)
	if err != nil && file != "" {
		return nil, fmt.Errorf("the public key is not given, and this installation cannot be asked for its own: %w; give it with --pubkey", err)
	}
	if err != nil {
		return nil, err
	}
	defer api.close()
	v, err := api.verifier(ctx, pubkey, elsewhere)
	if err != nil {
		return nil, err
	}
	if file != "" {
		return verifyFile(file, v)
	}
	if len(elsewhere) == 0 && pubkey == "" { // there is nothing that the server would not know
		var report auditReport
		err := api.download(ctx, auditPath+"/verify", &into{v: &report})
		return &report, err
	}
	read := audit.NewFile(v)
	if err := api.download(ctx, auditPath+"/export", read); err != nil {
		return nil, err
	}
	report := read.Close()
	return reportOf(&report), nil
}

// into reads JSON that comes in pieces.
type into struct {
	v    any
	text []byte
}

func (i *into) Write(b []byte) (int, error) {
	if i.text = append(i.text, b...); !json.Valid(i.text) {
		return len(b), nil
	}
	return len(b), json.Unmarshal(i.text, i.v)
}

func verifyFile(name string, v *audit.Verifier) (*auditReport, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: name an export, as `xteam audit export` writes it, with --file", plainly(err))
	}
	defer func() { _ = f.Close() }()
	read := audit.NewFile(v)
	if _, err := io.CopyBuffer(read, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	report := read.Close()
	return reportOf(&report), nil
}

// readCheckpoints reads a file of checkpoints, as AUDIT_CHECKPOINTS has them or as a receiver of AUDIT_WEBHOOK_URL kept the bodies that it was sent; the empty name is none.
func readCheckpoints(name string) (all []audit.Checkpoint, err error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: name the file of the checkpoints with --checkpoints", plainly(err))
	}
	defer func() { _ = f.Close() }()
	values := json.NewDecoder(bufio.NewReader(f))
	for n := 1; ; n++ {
		var text json.RawMessage
		if err := values.Decode(&text); errors.Is(err, io.EOF) {
			return all, nil
		} else if fault := (*fs.PathError)(nil); errors.As(err, &fault) {
			return nil, fmt.Errorf("read %s: %w", name, err)
		} else if err != nil {
			text = nil
		}
		c, ok := checkpointIn(text)
		if !ok {
			return nil, fmt.Errorf("value %d of %s is no checkpoint: name a file that AUDIT_CHECKPOINTS named, or one of what was posted to AUDIT_WEBHOOK_URL", n, name)
		}
		all = append(all, c)
	}
}

// checkpointIn reads a checkpoint, by itself or in the message by which it was posted. A receiver may have put it down with other spaces, or its members in another order.
func checkpointIn(text json.RawMessage) (c audit.Checkpoint, ok bool) {
	var message struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(text, &message) == nil && message.Type == "audit_checkpoint" {
		text = message.Data
	}
	var members struct { // in the order in which they are signed for
		Checkpoint string      `json:"checkpoint"`
		Chain      string      `json:"chain"`
		Key        string      `json:"key"`
		Time       string      `json:"time"`
		First      json.Number `json:"first"`
		Before     string      `json:"before"`
		Seq        json.Number `json:"seq"`
		Head       string      `json:"head"`
		Position   json.Number `json:"position"`
		Digest     string      `json:"digest"`
		Signature  string      `json:"signature"`
	}
	if json.Unmarshal(text, &members) != nil {
		return c, false
	}
	line, err := json.Marshal(members)
	if err != nil {
		return c, false
	}
	l, err := audit.ParseLine(line)
	if err != nil || l.Checkpoint == nil {
		return c, false
	}
	return *l.Checkpoint, true
}

func (c *cli) auditPubkey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pubkey",
		Short: "Print the public key that verifies the trail",
		Long: `Prints the public key that verifies the trail and its exports, as --pubkey takes it.
Keep it elsewhere: who only has this installation's word for it, trusts whoever
owns the installation.`,
		Example: "  xteam audit pubkey",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var keys auditKeys
		if err := api.get(cmd.Context(), auditPath+"/keys", &keys); err != nil {
			return err
		}
		var texts []string
		for _, k := range keys.Items {
			texts = append(texts, k.Public)
		}
		return c.print(*asJSON, keys, strings.Join(texts, ","))
	})
	return cmd
}

func (c *cli) auditReview() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "review [--note TEXT]",
		Short:   "Record that somebody has looked through the trail",
		Long:    "Records in the trail that somebody has looked through it, and when. It looks at nothing itself.",
		Example: "  xteam audit review --note \"all of May, nothing odd\"",
		Args:    cobra.NoArgs,
	}
	var in struct {
		Note string `json:"note,omitempty"`
	}
	cmd.Flags().StringVar(&in.Note, "note", "", "what was looked at and found, in your words; at most 500 bytes")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		if err := api.post(cmd.Context(), auditPath+"/review", in, nil); err != nil {
			return err
		}
		return c.print(*asJSON, map[string]bool{"reviewed": true}, "the review is recorded")
	})
	return cmd
}

func (c *cli) auditErase() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase --user USER",
		Short: "Take a user's personal data out of the trail",
		Long: `Takes e-mail address, network address, user agent and details out of everything that
a user did, and out of what tells of them. What happened, when, and to which id,
stays, and the trail holds as before. It cannot be taken back, and is told of in the
trail. Exports, logs and backups that were made before are for you to see to.`,
		Example: "  xteam audit erase --user ann@example.com",
		Args:    cobra.NoArgs,
	}
	var in struct {
		User string `json:"user"`
	}
	cmd.Flags().StringVar(&in.User, "user", "", "id, e-mail address or user name; an id is taken when the account is gone, too")
	_ = cmd.MarkFlagRequired("user") // fails for a flag that is not there alone
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var got struct {
			Erased int `json:"erased"`
		}
		err = api.post(cmd.Context(), auditPath+"/erase", in, &got)
		if _, unknown := refused(err, http.StatusNotFound); unknown {
			return fmt.Errorf("nobody here has %q as id, e-mail address or user name; of an account that is gone give the id", in.User)
		}
		if err != nil {
			return err
		}
		return c.print(*asJSON, got, fmt.Sprintf("what was personal is gone of %d records", got.Erased))
	})
	return cmd
}
