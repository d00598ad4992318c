package httpapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

const filesPath = "/api/v1/files"

// rangeError is a range of bytes that a file does not have.
type rangeError struct{ size int64 }

func (e *rangeError) Error() string {
	return fmt.Sprintf("the file has %d bytes: none of them is asked for", e.size)
}

// errPrecondition is of a file that is not as the request has it.
var errPrecondition = errors.New("the file is not the one that If-Match or If-Unmodified-Since names")

// newFile is a file that was just taken.
type newFile struct {
	ID       string `json:"id"`
	Filename string `json:"filename"` // as it was sent, without what some system does not take in a name
	Size     int64  `json:"size"`     // in bytes
}

// keptFile is a file as its owner sees it.
type keptFile struct {
	newFile   `json:",inline"`
	Type      string    `json:"content_type"` // as it is served: never one that a browser would run
	CreatedAt time.Time `json:"created_at"`
}

func newFileOf(f *upload.File) newFile { return newFile{f.ID.String(), f.Label.String(), f.Size} }

// isUpload reports whether a request is one whose body may be long.
func isUpload(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == filesPath }

// upload takes one file, which is written to the disk as it comes. Each refusal comes as soon as there is cause for it.
func (a *API) upload(x *exchange) error {
	if _, err := x.query(); err != nil {
		return err
	}
	boundary, err := boundaryOf(x.r.Header)
	if err != nil {
		return err
	}
	most := a.Uploads.MaxSize()
	if x.r.ContentLength > most+formSlack {
		return &upload.SizeError{Most: most}
	}
	control := http.NewResponseController(x.ResponseWriter)
	_ = control.SetWriteDeadline(time.Time{}) // the body has a pace of its own; of what is no connection there is none
	defer func() { _ = control.SetWriteDeadline(time.Now().Add(exportPatience)) }()
	body := &bounded{http.MaxBytesReader(x.ResponseWriter, x.paced(), most+formSlack), x, &upload.SizeError{Most: most}}
	f, err := a.receive(x, newForm(body, boundary))
	if err != nil {
		return err
	}
	return x.write(http.StatusCreated, newFileOf(&f))
}

// receive reads the form.
func (a *API) receive(x *exchange, parts *form) (upload.File, error) {
	header, err := parts.next()
	if err != nil {
		return upload.File{}, err
	}
	if header == nil {
		return upload.File{}, errPart
	}
	name, err := fileOf(header)
	if err != nil {
		return upload.File{}, err
	}
	ctx, cancel := outliving(x.ctx(), uploadPatience)
	defer cancel()
	least := max(x.r.ContentLength-formSlack, 0)
	in, err := a.Uploads.Begin(ctx, x.request(), x.caller, name, least)
	if err != nil {
		return upload.File{}, err
	}
	defer in.Abort()
	parts.lengthen(x.r.ContentLength)
	for {
		piece, err := parts.content()
		if err != nil {
			return upload.File{}, err
		}
		if len(piece) == 0 {
			break
		}
		if _, err := in.Write(piece); err != nil {
			return upload.File{}, err
		}
	}
	if header, err = parts.next(); err != nil {
		return upload.File{}, err
	}
	if header != nil {
		return upload.File{}, invalid(shown(formName(header)), "is not taken here: there is one part, called file")
	}
	return in.End(ctx)
}

// uploadPatience is how long a file that has come whole may take to be kept when its sender is not heard any more.
const uploadPatience = 10 * time.Second

// outliving is a context that ends so long after another does. net/http ends that of a request whose body was read when it reads the end of the connection, which is also how a client says that it
// sends no more and waits for the answer. One that is cut off within the body is an error of the body.
func outliving(ctx context.Context, by time.Duration) (longer context.Context, cancel func()) {
	longer, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		late := time.AfterFunc(by, end)
		context.AfterFunc(longer, func() { late.Stop() })
	})
	return longer, func() { stop(); end() }
}

// formName is what a form calls a part; empty where that cannot be told.
func formName(header textproto.MIMEHeader) string {
	if kind, params, err := mime.ParseMediaType(header.Get("Content-Disposition")); err == nil && kind == "form-data" {
		return params["name"]
	}
	return ""
}

// fileOf is the name of the file in a part, which must be the one that is asked for.
func fileOf(header textproto.MIMEHeader) (name string, err error) {
	if encoding := header.Get("Content-Transfer-Encoding"); encoding != "" && !strings.EqualFold(encoding, "binary") && !strings.EqualFold(encoding, "8bit") && !strings.EqualFold(encoding, "7bit") {
		return "", errPart // RFC 7578, section 4.7: deprecated
	}
	said := header["Content-Disposition"]
	if len(said) != 1 {
		return "", errPart
	}
	kind, params, err := mime.ParseMediaType(said[0])
	if err != nil || kind != "form-data" {
		return "", errPart
	}
	if params["name"] != "file" {
		return "", invalid(shown(params["name"]), "is not taken here: there is one part, called file")
	}
	if params["filename"] == "" {
		return "", invalid("file", "must be a file with a name")
	}
	return params["filename"], nil
}

func (a *API) listFiles(x *exchange) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	after, err := filesBehind(q["cursor"])
	if err != nil {
		return err
	}
	all, err := a.Uploads.List(x.ctx(), x.caller)
	if err != nil {
		return err
	}
	page := list[keptFile]{Items: []keptFile{}}
	for i := range all {
		f := &all[i]
		if !after.before(f) {
			continue
		}
		if len(page.Items) == limit {
			page.Next = nextFiles(&all[i-1])
			break
		}
		page.Items = append(page.Items, keptFile{newFileOf(f), f.Type, f.Created.Time()})
	}
	return x.write(http.StatusOK, page)
}

// spot is where a page of the list of files begins: behind that file. The zero value is the start.
type spot struct {
	created instant.Instant
	id      id.File
}

func (p spot) before(f *upload.File) bool {
	return p.id.IsZero() || f.Created > p.created || f.Created == p.created && bytes.Compare(f.ID[:], p.id[:]) > 0
}

func nextFiles(last *upload.File) *string {
	text := cursorText.EncodeToString(append(binary.BigEndian.AppendUint64([]byte{cursorFiles}, uint64(last.Created)), last.ID[:]...))
	return &text
}

// filesBehind reads a cursor of the list of files; the empty one is the start.
func filesBehind(text string) (p spot, err error) {
	if text == "" {
		return p, nil
	}
	b, err := parseCursor(text, cursorFiles, 8+len(p.id))
	if err != nil {
		return p, err
	}
	p.created = instant.Instant(binary.BigEndian.Uint64(b))
	copy(p.id[:], b[8:])
	if p.id.IsZero() {
		return spot{}, invalid("cursor", "must be one that this list has answered as next, or empty")
	}
	return p, nil
}

// filePolicy is what a browser that shows a file all the same lets it do: nothing.
var filePolicy = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}

func (a *API) download(x *exchange) error {
	if _, err := x.query(); err != nil {
		return err
	}
	fid, err := id.Parse[id.File](x.r.PathValue("id"))
	if err != nil {
		return ports.ErrNotFound
	}
	f, content, err := a.Uploads.Open(x.ctx(), x.caller, fid)
	if err != nil {
		return err
	}
	defer content.Close()
	tag := `"` + f.ID.String() + `"` // what is under an id never changes
	if err := oneRange(x.r, tag, f.Size); err != nil {
		return err
	}
	h := x.Header()
	h["Content-Type"] = []string{f.Type}
	h["Content-Disposition"] = []string{dispositionOf(f.Label)}
	h["Content-Security-Policy"] = filePolicy
	h["Etag"] = []string{tag}
	w := &unhurried{exchange: x, control: http.NewResponseController(x.ResponseWriter), began: time.Now()}
	http.ServeContent(w, x.r, "", f.Created.Time(), content)
	if w.refused == 0 {
		return nil
	}
	for _, name := range [...]string{"Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "Content-Security-Policy", "Etag", "Last-Modified"} {
		h.Del(name) // they are the file's
	}
	switch w.refused {
	case http.StatusPreconditionFailed:
		return errPrecondition
	case http.StatusRequestedRangeNotSatisfiable:
		return &rangeError{f.Size}
	}
	return fmt.Errorf("serve the file %s: net/http answered %d", f.ID, w.refused)
}

// unhurried is an answer that may take its time, but no less than leastRate: what is read holds a file open, and its space if it is deleted meanwhile.
type unhurried struct {
	*exchange
	control *http.ResponseController
	began   time.Time
	n       int64 // bytes so far
	refused int   // the status of a refusal in net/http's words, which is kept from the client
}

// WriteHeader is of http.ResponseWriter.
func (u *unhurried) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		u.refused = status
		return
	}
	u.exchange.WriteHeader(status)
}

// Write is of http.ResponseWriter.
func (u *unhurried) Write(b []byte) (int, error) {
	if u.refused != 0 {
		return len(b), nil
	}
	_ = u.control.SetWriteDeadline(atLeast(u.began, exportPatience, u.n))
	n, err := u.exchange.Write(b)
	u.n += int64(n)
	return n, err
}

// oneRange judges the Range of a request (RFC 9110, section 14.2), and takes it out where it is to be ignored: one that is malformed, of another version, or of several ranges, which would be answered by
// more bytes than the file has. A range that the file has nothing of is a *rangeError.
func oneRange(r *http.Request, tag string, size int64) error {
	h := r.Header
	sent := h["Range"]
	if len(sent) == 0 {
		return nil
	}
	if r.Method != http.MethodGet { // it is defined for GET alone
		h.Del("Range")
		return nil
	}
	if with := h["If-Range"]; len(with) > 0 && (len(with) > 1 || with[0] != tag) {
		h.Del("Range")
		return nil
	}
	first, last, ok := strings.Cut(strings.TrimPrefix(sent[0], "bytes="), "-")
	from, bad1 := strconv.ParseUint(first, 10, 63)
	to, bad2 := strconv.ParseUint(last, 10, 63)
	switch {
	case len(sent) > 1 || !ok || !strings.HasPrefix(sent[0], "bytes="),
		first != "" && bad1 != nil, last != "" && bad2 != nil, first == "" && last == "",
		bad1 == nil && bad2 == nil && to < from:
		h.Del("Range")
		return nil
	case first == "" && to == 0, first != "" && from >= uint64(size), first == "" && size == 0:
		if len(h["If-Match"])+len(h["If-None-Match"])+len(h["If-Modified-Since"])+len(h["If-Unmodified-Since"]) > 0 {
			return nil // those are judged first (section 13.2.2)
		}
		return &rangeError{size}
	}
	return nil
}

// dispositionOf has a browser save a file under its label (RFC 6266): in full for those that know it, and in ASCII for the others.
func dispositionOf(l upload.Label) string {
	var plain, full strings.Builder
	ascii := true
	for _, r := range l.String() {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' || r == '%' { // some read an escape in it
			r, ascii = '_', false
		}
		plain.WriteRune(r)
	}
	head := `attachment; filename="` + plain.String() + `"`
	if ascii {
		return head
	}
	for _, b := range []byte(l.String()) {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$&+-.^_`|~", b) >= 0 { // RFC 8187, section 3.2.1: attr-char
			full.WriteByte(b)
			continue
		}
		fmt.Fprintf(&full, "%%%02X", b)
	}
	return head + "; filename*=UTF-8''" + full.String()
}

func (a *API) deleteFile(x *exchange) error {
	fid, err := id.Parse[id.File](x.r.PathValue("id"))
	if err != nil {
		return ports.ErrNotFound
	}
	if err := a.Uploads.Delete(x.ctx(), x.request(), x.caller, fid); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// deletedFiles is how many files were deleted.
type deletedFiles struct {
	Deleted int `json:"deleted"` // how many
}

// deleteFilesOf deletes all files of a user, as when they are to be forgotten. Nobody but their owner can read them, an administrator neither.
func (a *API) deleteFilesOf(x *exchange) error {
	u, err := a.Accounts.Lookup(x.ctx(), x.r.PathValue("user"))
	if err != nil {
		return err
	}
	n, err := a.Uploads.DeleteOf(x.ctx(), x.actor(), u.ID)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, deletedFiles{n})
}
