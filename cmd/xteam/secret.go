package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) secretGenerate() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "generate",
		Short:   "Print a fresh secret for SECRET_KEY or ROOT_KEY",
		Long:    "Prints 32 random bytes in base64url without padding: a value for SECRET_KEY or ROOT_KEY.",
		Example: "  echo \"SECRET_KEY=$(xteam secret generate)\" >>.env",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(*cobra.Command) error {
		s := randomText(32)
		return c.print(*asJSON, map[string]string{"secret": s}, s)
	})
	return cmd
}

// randomText is n random bytes in base64url without padding. The machine's random source cannot fail: the process would end.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c *cli) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print what this binary was built from",
		Long:    "Prints the version, the commit and the Go version that this binary was built from, and with --deps every module in it, with the sum that go.sum has of it.",
		Example: "  xteam version --deps --json",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	deps := cmd.Flags().Bool("deps", false, "print the modules in it too, each with its version and checksum")
	cmd.RunE = c.does(func(*cobra.Command) error {
		v := buildVersion()
		text := fmt.Sprintf("xteam %s, commit %s, %s", v.Version, v.Commit, v.Go)
		if *deps {
			v.Deps = dependencies()
			for _, m := range v.Deps {
				text += fmt.Sprintf("\n%s %s %s", m.Path, m.Version, m.Sum)
			}
		}
		return c.print(*asJSON, v, text)
	})
	return cmd
}

// built is what a binary says of itself.
type built struct {
	Version string   `json:"version"`
	Commit  string   `json:"commit"` // with "+changes" when the sources differed from it; unknown when the build did not say
	Go      string   `json:"go"`
	Deps    []module `json:"deps,omitempty"` // when they were asked for
}

// module is another's module that is linked: where go.mod replaces one, what takes its place.
type module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"` // as in go.sum; empty of a folder
}

// dependencies are the modules in this binary, in the order of their paths.
func dependencies() (all []module) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		all = append(all, module{m.Path, m.Version, m.Sum})
	}
	return all
}

func buildVersion() built {
	v := built{Version: "unknown", Commit: "unknown", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = strings.Trim(info.Main.Version, "()")
	changed := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = "+changes"
			}
		}
	}
	v.Commit += changed
	return v
}
