package main_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// The README's settings are those of the table. UPDATE_README=1 writes them anew.
func TestReadmeSettings(t *testing.T) {
	const file, head = "../../README.md", "| setting | default | takes | meaning |\n|---|---|---|---|\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), head)
	got, rest, closed := strings.Cut(after, "\n\n")
	if !ok || !closed {
		t.Fatalf("the README has no table that begins with %q", head)
	}
	want := strings.TrimSuffix(xteam.SettingRows(), "\n")
	diff := cmp.Diff(want, got)
	if diff == "" {
		return
	}
	if os.Getenv("UPDATE_README") == "" {
		t.Fatalf("the README's settings are not the program's; UPDATE_README=1 go test ./cmd/xteam -run %s writes them (-want +got):\n%s", t.Name(), diff)
	}
	if err := os.WriteFile(file, []byte(before+head+want+"\n\n"+rest), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A setting without a default says what happens without a value.
func TestSettingsWithoutDefault(t *testing.T) {
	for row := range strings.Lines(xteam.SettingRows()) {
		if strings.Contains(row, "| empty:  |") || strings.Contains(row, "|  |") {
			t.Errorf("a row has an empty cell: %s", row)
		}
	}
}

// Every command has a sentence, a text and an example that names it.
func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" { // cobra's own
			return
		}
		if cmd.Short == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) && cmd.Name() != "xteam" {
			t.Errorf("%s: got the sentence %q and the example %q, want a sentence, and an example of this command", cmd.CommandPath(), cmd.Short, cmd.Example)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(xteam.Commands())
}

// A command that prints a result prints it as JSON too.
func TestEveryResultAsJSON(t *testing.T) {
	without := map[string]bool{"xteam": true, "xteam serve": true, "xteam dev": true} // servers
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			return
		}
		if !cmd.HasSubCommands() && !without[cmd.CommandPath()] && cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(xteam.Commands())
}
