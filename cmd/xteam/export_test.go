package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/app"
)

// Run is the program without its process.
var Run = run

// Bare is bare.
var Bare = bare

// SettingNames are the names of the table.
func SettingNames() (names []string) {
	for _, row := range table {
		names = append(names, row.name)
	}
	return names
}

// FailureTests are the tests that the table of failures names, by part and failure.
func FailureTests() map[string][]string {
	all := map[string][]string{}
	for _, f := range failures {
		all[f.Part+" "+f.Fails] = f.Tests
	}
	return all
}

// SettingRows is the table as Markdown.
func SettingRows() string {
	var b strings.Builder
	cell := strings.NewReplacer("|", `\|`, "*", `\*`)
	for _, row := range table {
		initial := "`" + row.initial + "`"
		if row.initial == "" {
			initial = "empty: " + row.without
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", row.name, cell.Replace(initial), cell.Replace(row.takes), cell.Replace(row.meaning))
	}
	return b.String()
}

// Commands are all of the tree.
func Commands() *cobra.Command { return new(cli).root() }

// RevokedText says in a terminal what the API answered.
func RevokedText(answer string, dry bool) string {
	var r revoked
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		return err.Error()
	}
	return r.text(dry)
}

// Parsed is what a test asks of the settings.
type Parsed struct {
	Addr, Folder, Store       string
	Access, Refresh, Leeway   time.Duration
	BcryptCost                int
	LogFormat, Issuer, Strict string
	Hasher                    string
	Limits                    app.LimiterOptions
	MinFreeSpace              int64
	AlertPrivate              bool
	UploadQuota               int64
	Introspection             bool
}

// Parse reads settings from a map.
func Parse(env map[string]string) (Parsed, error) {
	s, err := parse(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	strict := map[bool]string{true: "true", false: "false"}[s.Strict]
	return Parsed{s.Addr, s.Folder, s.Store, s.Access, s.Refresh, s.Leeway, s.BcryptCost, s.LogFormat, s.Issuer, strict, s.Hasher, s.Limits, s.MinFreeSpace, s.AlertPrivate, s.Uploads.Quota, s.Introspection}, err
}

// Whole is all that settings say, as a text.
func Whole(env map[string]string) (string, error) {
	s, err := parse(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return fmt.Sprintf("%+v", s), err
}

// WordsOf are the settings that are one of a few words.
func WordsOf() (names []string) {
	for _, row := range table {
		if row.word {
			names = append(names, row.name)
		}
	}
	return names
}

// Assignments reads the text of a settings' file.
var Assignments = assignments

// Nearest is the setting that a name is nearly.
var Nearest = nearest

// Output is where the log goes.
type Output = output

// OpenOutput opens the log on a file, or on stderr.
func OpenOutput(file string, errs io.Writer) (*Output, error) {
	o, _, err := openOutput(settings{LogFile: file, LogFormat: "text"}, errs)
	return o, err
}

// Release lets held lines go.
func (o *Output) Release() { o.release() }

// Reopen opens the file anew.
func (o *Output) Reopen() error { return o.reopen() }

// Close ends it.
func (o *Output) Close() { o.close() }

// MaxQueue is how much may wait.
const MaxQueue = maxQueue

// ListenOperator opens the operator's socket of a folder.
func ListenOperator(ctx context.Context, folder string) (net.Listener, error) {
	l, err := listenOperator(ctx, folder)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// DialSocket connects to it.
var DialSocket = dialSocket

// PeerUser is the user at the other end.
var PeerUser = peerUser

// MayOperate judges a peer.
var MayOperate = mayOperate

// OwnsAlone judges a folder.
var OwnsAlone = ownsAlone

// InProcess carries requests to a handler.
func InProcess(h http.Handler) http.RoundTripper { return inProcess{h} }

// Loopback judges an address.
var Loopback = loopback

// Main is the program.
var Main = main

// Drill has a handler of the admin API play an incident drill.
func Drill(ctx context.Context, h http.Handler) (text string, err error) {
	d, err := (&admin{&http.Client{Transport: inProcess{h}}, func() {}}).drill(ctx)
	if err != nil {
		return "", err
	}
	return d.text(), d.wrong()
}

// Judge answers everything that is wrong with the settings for a server.
func Judge(env map[string]string) error {
	s, err := parse(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return s.forServing(err)
}

// Masked reports whether a setting is shown masked, and whether of its value nothing may be shown, not even the scheme.
func Masked(name string) (masked, whole bool) {
	for i := range table {
		if row := &table[i]; row.name == name && row.mask != nil {
			return true, row.mask("x://") == maskSecret("x://")
		}
	}
	return false, false
}
