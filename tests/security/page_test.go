package security_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThePageOfSecurity: every line of the table of SECURITY.md links tests, and every test that is linked is in the file that the link leads to.
func TestThePageOfSecurity(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, e := range entries(t) {
		listed[e.id] = true
	}
	link := regexp.MustCompile("\\[`([^`]+)`\\]\\(([^)]+)\\)")
	lines, links := 0, 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| line ") {
			continue
		}
		lines++
		found := link.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test is linked: %s", line)
		}
		for _, l := range found {
			links++
			if wrong := shows(l[1], l[2], listed); wrong != "" {
				t.Errorf("%.40s: %s", line, wrong)
			}
		}
	}
	if lines < 40 || links < 60 {
		t.Errorf("the table has %d lines with %d links", lines, links)
	}
	for name, wrong := range map[string][2]string{"no such test": {"TestNothing", "tests/security/page_test.go"}, "no such file": {"TestMuseum", "tests/security/nothing_test.go"}, "no such exhibit": {"TestMuseum/nothing", "tests/security/museum_test.go"}, "another file's": {"TestMuseum/RFC7009", "tests/security/asvs_test.go"}} {
		if shows(wrong[0], wrong[1], listed) == "" {
			t.Errorf("%s: nothing is said of it", name)
		}
	}
}

// shows answers what is wrong with a link to a test: the file is to have it, or for one of the museum its id among its exhibits.
func shows(name, path string, listed map[string]bool) string {
	id, ok := strings.CutPrefix(name, "TestMuseum/")
	if !ok {
		return exists(path + ":" + name)
	}
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
	switch {
	case err != nil:
		return err.Error()
	case !listed[id]:
		return name + " is not in testdata/museum.txt"
	case !strings.Contains(string(text), `"`+id+`"`):
		return name + " is not shown by " + path
	}
	return ""
}
