package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// gate is a reader that has stalled until it is opened.
type gate struct {
	open chan struct{}
	b    bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.b.Write(p)
}

var lostLine = regexp.MustCompile(`msg="Log lines were lost" count=(\d+)\n`)

func TestLogStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		o, err := xteam.OpenOutput("", g)
		if err != nil {
			t.Fatal(err)
		}
		o.Release()
		const size, n = 1000, 3 * xteam.MaxQueue / 1000
		for i := range n {
			line := fmt.Appendf(nil, "%-*d\n", size-1, i)
			if _, err := o.Write(line); err != nil {
				t.Fatal(err)
			}
			copy(line, "spoilt") // the writer of a line may use it again
			if i == 0 {
				synctest.Wait() // it is being written, and in nobody's way
			}
		}
		close(g.open)
		synctest.Wait()
		if _, err := fmt.Fprintln(o, "afterwards"); err != nil {
			t.Fatal(err)
		}
		o.Close()

		text := g.b.String()
		m := lostLine.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%d lines, %d bytes of them written, and nothing says that lines were lost", n, len(text))
		}
		lost, _ := strconv.Atoi(m[1])
		before, after, _ := strings.Cut(text, "time=")
		next := 0
		for line := range strings.Lines(before) {
			if got, err := strconv.Atoi(strings.TrimSpace(line)); err != nil || got != next {
				t.Fatalf("line %d is %q: want them all, in their order", next, line)
			}
			next++
		}
		if next+lost != n || next*size < xteam.MaxQueue-size {
			t.Errorf("of %d lines %d were written and %d lost, want each one or the other, and a queue's length written", n, next, lost)
		}
		if !strings.HasSuffix(after, "\nafterwards\n") {
			t.Errorf("after the loss: got %q, want the line of it and then the next", after)
		}
	})
}

// The end waits for a reader that has stalled, but not for ever.
func TestLogStalledAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		o, err := xteam.OpenOutput("", g)
		if err != nil {
			t.Fatal(err)
		}
		o.Release()
		if _, err := fmt.Fprintln(o, "late"); err != nil {
			t.Fatal(err)
		}
		o.Close()
		if _, err := fmt.Fprintln(o, "too late"); err != nil {
			t.Fatal(err)
		}
		close(g.open) // or its goroutine would not end
	})
}

// What a start says is held until it has succeeded.
func TestLogHeld(t *testing.T) {
	for _, released := range []bool{false, true} {
		var b bytes.Buffer
		o, err := xteam.OpenOutput("", &b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(o, "a line"); err != nil {
			t.Fatal(err)
		}
		if released {
			o.Release()
		}
		o.Close()
		if want := map[bool]string{true: "a line\n"}[released]; b.String() != want {
			t.Errorf("released %v: got %q, want %q", released, b.String(), want)
		}
	}
}

func TestLogReopen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	o, err := xteam.OpenOutput(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if _, err := fmt.Fprintln(o, text); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	for i := range 3 { // a file that nothing was written to yet is left alone
		if err := os.Rename(file, file+strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
		if err := o.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	write("two")
	o.Close()
	var all string
	for _, name := range []string{file + "0", file + "1", file + "2", file} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	if last, err := os.ReadFile(file); err != nil || all != "one\ntwo\n" || !strings.HasSuffix(string(last), "two\n") {
		t.Errorf("got %q in all, %q in the last file, %v", all, last, err)
	}
}
