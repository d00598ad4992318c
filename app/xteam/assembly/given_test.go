package assembly_test

import (
	"strings"
	"testing"

	"github.com/xteam/xteam/app/xteam/assembly"
)

// A secret that was given once does not fall back to one that the system made for itself before, when a settings' file is empty for a moment.
func TestWhatWasGivenDoesNotFallBack(t *testing.T) {
	dir, values := t.TempDir(), map[string]string{}
	source := assembly.Source{Secrets: given(values)}
	made := assembly.OpenSecrets(source, dir, silent)
	_, closeStore, err := assembly.OpenBadger(t.Context(), dir, 0, made, silent) // makes ROOT_KEY, and keeps it
	if err != nil {
		t.Fatal(err)
	}
	closeStore()
	kept := made.Values().Root

	values["ROOT_KEY"] = "Zq3Vt8Lw1Xc6Rb9Mk4Pj7Hd2Gs5Fy0NaEu"
	all := assembly.OpenSecrets(source, dir, silent)
	if err := all.Read(t.Context()); err != nil || all.Values().Root == kept {
		t.Fatalf("given: %v", err)
	}
	delete(values, "ROOT_KEY")
	if err := all.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "ROOT_KEY is not there any more") || all.Values().Root == kept {
		t.Errorf("empty for a moment: %v", err)
	}
	if another := assembly.OpenSecrets(source, dir, silent); another.Read(t.Context()) != nil || another.Values().Root != kept {
		t.Error("another process does not find the one that is kept")
	}
}

// What verifies is judged as what signs is: whoever guesses it makes any token.
func TestEarlierSecretsAreJudged(t *testing.T) {
	good, weak := "Zq3Vt8Lw1Xc6Rb9Mk4Pj7Hd2Gs5Fy0NaEu", strings.Repeat("a", 36)
	for name, values := range map[string]map[string]string{
		"SECRET_KEY": {"SECRET_KEY": weak}, "ROOT_KEY": {"ROOT_KEY": weak}, "SECRET_KEY_PREVIOUS": {"SECRET_KEY": good, "SECRET_KEY_PREVIOUS": good + "2, " + weak},
	} {
		for _, sturdy := range []bool{true, false} {
			err := assembly.OpenSecrets(assembly.Source{Secrets: given(values), Sturdy: sturdy}, t.TempDir(), silent).Read(t.Context())
			if sturdy != (err != nil) || err != nil && (!strings.HasPrefix(err.Error(), name+" ") || strings.Contains(err.Error(), "aaa")) {
				t.Errorf("%s, in production %v: %v", name, sturdy, err)
			}
		}
	}
}
