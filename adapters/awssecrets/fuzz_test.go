package awssecrets_test

import (
	"testing"

	"github.com/xteam/xteam/adapters/awssecrets"
)

// FuzzParse: a source is refused, or read again as the same from its parts.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"awssm://eu-central-1/prod/xteam", "awssm://eu-central-1", "awssm://eu-central-1/a//b", "awssm://ann:b@r/x?y#z", "awssm:r", "awssm://R/%2e%2e"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := awssecrets.Parse(text)
		if err != nil {
			return
		}
		if again, err := awssecrets.Parse("awssm://" + o.Region + "/" + o.Prefix); err != nil || again.Region != o.Region || again.Prefix != o.Prefix || o.Region == "" {
			t.Errorf("%q is read as %q, %q, and that as %q, %q (%v)", text, o.Region, o.Prefix, again.Region, again.Prefix, err)
		}
	})
}
