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
		Example: "  xteam version --json",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(*cobra.Command) error {
		v := buildVersion()
		text := fmt.Sprintf("xteam %s, commit %s, %s", v.Version, v.Commit, v.Go)
		return c.print(*asJSON, v, text)
	})
	return cmd
}

// built is what a binary says of itself.
type built struct {
	Version string `json:"version"`
	Commit  string `json:"commit"` // with "+changes" when the sources differed from it; unknown when the build did not say
	Go      string `json:"go"`
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
