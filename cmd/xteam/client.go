package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// admin is a client of the admin API: of the running server through its socket, or of the same handler in this process.
type admin struct {
	http  *http.Client
	close func()
}

// operatorHost stands for the server behind the socket, or in this process.
const operatorHost = "operator"

// patience bounds one command's request: a hash at the greatest cost takes a few seconds.
const patience = 30 * time.Second

// admin connects to the server that holds the data folder, or opens the store when none does. Only a command that may begin a store makes one. What another
// command, a start or a stop holds for a moment is waited for.
func (c *cli) admin(ctx context.Context, begins bool) (a *admin, err error) {
	s, get, err := c.settings()
	if err != nil {
		return nil, err
	}
	if s.LogFile == "" {
		s.LogLevel = quiet
	}
	err = whenFree(ctx, func() (busy bool, err error) {
		if a, err = dialAdmin(ctx, s.Folder); a != nil || err != nil {
			return false, err
		}
		if !begins && !storeExists(s) {
			return false, noStore(s)
		}
		if _, err := claimFolders(s); err != nil {
			return false, err
		}
		sys, closeAll, err := open(ctx, s, get, c.err)
		if err != nil {
			return inUse(err), err
		}
		a = &admin{&http.Client{Transport: inProcess{sys.Operator}}, closeAll}
		return false, nil
	})
	if inUse(err) && !peersKnown {
		return nil, fmt.Errorf("a server runs on the data folder %s, and on this system no command reaches it: stop it first", absolute(s.Folder))
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// dialAdmin connects to the server that runs on the folder; nil when none does.
func dialAdmin(ctx context.Context, folder string) (*admin, error) {
	conn, err := dialSocket(ctx, folder)
	switch {
	case err == nil:
	case nobodyListens(err):
		return nil, nil
	case errors.Is(err, fs.ErrPermission):
		how := "run this as that user"
		if info, err := os.Stat(folder); err == nil {
			if uid, known := ownerOf(info); known {
				how = runAs(uid)
			}
		}
		return nil, fmt.Errorf("%s belongs to another user: %s", filepath.Join(absolute(folder), socketName), how)
	default:
		return nil, fmt.Errorf("reach the running server: %w", err)
	}
	// The connection is kept for the request: the server may begin to stop in between.
	first := make(chan net.Conn, 1)
	first <- conn
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case conn := <-first:
			return conn, nil
		default:
			return dialSocket(ctx, folder)
		}
	}}
	return &admin{&http.Client{Transport: t, Timeout: patience}, func() {
		t.CloseIdleConnections()
		select {
		case conn := <-first:
			_ = conn.Close()
		default:
		}
	}}, nil
}

// refusal is an answer of the admin API that says no.
type refusal struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Reason string `json:"reason"`
	Errors []struct {
		Field   string `json:"field"`
		Message string `json:"message"`
	} `json:"errors"`
}

// flags are what a command calls the fields of its requests.
var flags = map[string]string{
	"email": "--email", "username": "--username", "full_name": "--full-name", "role": "--role",
	"user_id": "--user", "session_id": "--session", "token": "--token", "jti": "--jti", "kid": "--key", "force": "--force", "issued_before": "--issued-before", "reason": "--reason",
	"expires_in_days": "--expires-in-days", "overlap_hours": "--overlap-hours",
	"expires_in_seconds": "--for", "until": "--until", "limit": "--limit", "cursor": "--cursor",
	"format": "--format", "from": "--from", "to": "--to", "user": "--user", "note": "--note",
	"cidr": "CIDR", "users": "--user", "networks": "--ip", "sessions": "--session", "keys": "--key", "api_keys": "--api-key",
}

// Error is one line: the fields and what they take, else the detail.
func (r *refusal) Error() string {
	var parts []string
	for _, e := range r.Errors {
		parts = append(parts, strings.TrimPrefix(cmp.Or(flags[e.Field], e.Field)+": "+e.Message, ": "))
	}
	text := r.Detail
	if text == "" {
		text = r.Title
	}
	if len(parts) > 0 {
		text = strings.Join(parts, "; ")
	}
	text = strings.ReplaceAll(text, "insist (force)", "add --force")
	return strings.Join(strings.Fields(text), " ")
}

// refused answers the API's refusal if it is one with this status, which says little by itself.
func refused(err error, status int) (*refusal, bool) {
	var no *refusal
	return no, errors.As(err, &no) && no.Status == status && len(no.Errors) == 0
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// get reads the answer into out. One that is no success is a *refusal.
func (a *admin) get(ctx context.Context, path string, out any) error {
	_, err := exchange(ctx, a.http, http.MethodGet, "http://"+operatorHost+path, "", nil, out)
	return err
}

// post sends in as JSON and reads the answer into out. An answer that is no success is a *refusal.
func (a *admin) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	_, err = exchange(ctx, a.http, http.MethodPost, "http://"+operatorHost+path, "", body, out)
	return err
}

// delete has what a path and its query name removed.
func (a *admin) delete(ctx context.Context, path string) error {
	_, err := exchange(ctx, a.http, http.MethodDelete, "http://"+operatorHost+path, "", nil, nil)
	return err
}

// exchange sends one request, with a bearer's token when there is one, and answers the status.
func exchange(ctx context.Context, client *http.Client, method, url, bearer string, body []byte, out any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := client.Do(req)
	if err != nil {
		if lost := (*neturl.Error)(nil); errors.As(err, &lost) { // its text repeats the whole URL
			err = lost.Err
		}
		if u := req.URL; u.Host != operatorHost {
			return 0, fmt.Errorf("%s://%s does not answer: %w: see that it is right, and that the server runs", u.Scheme, u.Host, err)
		}
		return 0, fmt.Errorf("reach the server: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return res.StatusCode, fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode >= 300 {
		no := &refusal{Status: res.StatusCode, Title: res.Status}
		_ = json.Unmarshal(text, no) // a body of another form leaves the status line
		return res.StatusCode, no
	}
	if out == nil {
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return res.StatusCode, errors.New("the answer is not the JSON that was expected")
	}
	return res.StatusCode, nil
}

// inProcess carries requests to a handler in this process.
type inProcess struct{ handler http.Handler }

// RoundTrip calls the handler and answers what it wrote.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	in.Host = r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	w := &answer{header: http.Header{}}
	t.handler.ServeHTTP(w, in)
	w.WriteHeader(http.StatusOK) // unless one was written
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.sent,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answer keeps what a handler writes.
type answer struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

// Header is what is sent with the first write.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader keeps the first final status.
func (w *answer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *answer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
