package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/adapters/envsecrets"
)

// configured is a setting as this run has it.
type configured struct {
	Name    string `json:"name"`
	Value   string `json:"value"` // masked when it must not be seen
	Source  string `json:"source"`
	Default string `json:"default"`
	Takes   string `json:"takes"`
	Meaning string `json:"meaning"`

	without string // what its empty value stands for
}

// configuration is every setting, and all that is wrong with them.
type configuration struct {
	Settings []configured `json:"settings"`
	Warnings []string     `json:"warnings"`
	Faults   []string     `json:"faults"`
}

func (c *cli) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show every setting, its value and where that comes from",
		Long: `Shows every setting: its value, where that comes from and what it means. Sources
are environment, .env, default, SECRETS_URL for a secret that is read there, which
is not done here, and kept file, which is a secret that was made at the first start
and lies in DATA_DIR/secrets. Secrets are masked. The exit code is 1 when serve
would not start with these settings, and stderr says each reason; and it names
what is given and is nearly a setting, which serve would pass over.`,
		Example: "  xteam config\n  xteam config --json\n  xteam config --failure-modes",
		Args:    cobra.NoArgs,
	}
	modes := cmd.Flags().Bool("failure-modes", false, "show instead what happens when something fails that this stands on")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(*cobra.Command) error {
		if *modes {
			return c.print(*asJSON, map[string][]failure{"failures": failures}, failuresText())
		}
		get, source, err := environment()
		if err != nil {
			return err
		}
		s, err := parse(get)
		if err == nil {
			_, err = openCertificate(&s)
		}
		wrong := s.forServing(err)
		all := configuration{Settings: show(get, source), Warnings: append([]string{}, mistyped()...), Faults: []string{}}
		if wrong != nil {
			all.Faults = strings.Split(wrong.Error(), "\n")
		}
		if err := c.print(*asJSON, all, all.text()); err != nil {
			return err
		}
		for _, what := range all.Warnings {
			_, _ = fmt.Fprintf(c.err, "xteam: %s\n", printable(what)) // the table is there
		}
		return wrong
	})
	return cmd
}

// show answers the rows of the table with what this run has for each.
func show(get lookup, source func(string) string) (rows []configured) {
	folder := cmp.Or(given(get, "DATA_DIR"), "data")
	url := given(get, "SECRETS_URL")
	elsewhere := url != "" && url != "env:"
	for i := range table {
		row := &table[i]
		is := configured{Name: row.name, Value: row.value(get), Source: source(row.name), Default: row.initial, Takes: row.takes, Meaning: row.meaning, without: row.without}
		switch {
		case elsewhere && slices.Contains(secretNames, row.name):
			is.Value, is.Source, is.without = "", fromSource, "read from SECRETS_URL"
		case row.kept && is.Value == "" && keeps(folder, row.name):
			is.Value, is.Source = redacted, fromKeptFile
		case row.mask != nil:
			is.Value = maskIfSecret(row, is.Value)
		}
		rows = append(rows, is)
	}
	return rows
}

const redacted = "[redacted]"

// maskIfSecret is a value of a row that has a mask: a URL without a name or a password is shown, and so is the default.
func maskIfSecret(row *setting, v string) string {
	if v == row.initial || strings.HasPrefix(v, "badger:///") && !strings.ContainsAny(v, "?@#") {
		return v
	}
	masked := row.mask(v)
	if strings.HasPrefix(masked, redacted) {
		return redacted
	}
	return masked
}

// keeps reports whether the data folder has the file of a secret that was made.
func keeps(folder, name string) bool {
	_, err := os.Lstat(filepath.Join(folder, envsecrets.Folder, name))
	return err == nil || !errors.Is(err, fs.ErrNotExist) // one that cannot be looked at is most likely there
}

// text is a line for each setting.
func (all *configuration) text() string {
	rows := [][]string{{"SETTING", "VALUE", "FROM", "MEANING"}}
	for i := range all.Settings {
		is := &all.Settings[i]
		rows = append(rows, []string{is.Name, is.shown(), is.Source, is.Meaning})
	}
	return aligned(rows)
}

// aligned are rows of a table, without the last line end.
func aligned(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		_, _ = w.Write([]byte(strings.Join(cells, "\t") + "\n"))
	}
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// shown is the value as a terminal may have it.
func (is *configured) shown() string {
	if is.Value == "" {
		return "(empty: " + is.without + ")"
	}
	return printable(is.Value)
}

// printable is a text as a terminal may have it: one that could move the cursor is quoted.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
