package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxLine bounds a secret that is read from standard input, in bytes: an access token is the longest.
const maxLine = 16 << 10

// line reads a secret: the first line of standard input, and nothing behind it. On a terminal it asks for it, and what is typed is not shown. It ends with ctx; the
// read does not, and is left behind.
func (c *cli) line(ctx context.Context, what string) (string, error) {
	read, restore := func() (string, error) { return firstLine(c.in) }, func() {}
	if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fd := int(f.Fd())
		before, err := term.GetState(fd)
		if err != nil {
			return "", fmt.Errorf("ask for %s: %w", what, err)
		}
		fmt.Fprintf(c.err, "%s, which is not shown: ", strings.ToUpper(what[:1])+what[1:])
		defer fmt.Fprintln(c.err)
		restore = func() { _ = term.Restore(fd, before) }
		read = func() (string, error) {
			b, err := term.ReadPassword(fd)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return string(b), err
		}
	}
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	var got result
	select {
	case got = <-done:
	case <-ctx.Done():
		restore()
		return "", fmt.Errorf("stopped while %s was awaited on standard input", what)
	}
	switch {
	case got.err != nil:
		return "", fmt.Errorf("read %s from standard input: %w", what, got.err)
	case got.text == "":
		return "", errors.New("the first line of standard input is empty: " + what + " was expected there")
	case len(got.text) > maxLine:
		return "", fmt.Errorf("the line on standard input is longer than %d bytes: %s was expected there", maxLine, what)
	}
	return got.text, nil
}

// token reads a token as line does, and takes off what comes along when one is copied.
func (c *cli) token(ctx context.Context, what string) (string, error) {
	text, err := c.line(ctx, what)
	if text = bare(text); err == nil && text == "" {
		err = errors.New("the first line of standard input has nothing of " + what)
	}
	return text, err
}

// bare is a token without what it is often copied with: blanks, quotation marks, and the header's name and scheme. None of them can be part of a token.
func bare(text string) string {
	for {
		was := text
		text = strings.Trim(text, " \t\r\n\"'`,;")
		for _, before := range [...]string{"authorization:", "x-api-key:", "bearer "} {
			if len(text) > len(before) && strings.EqualFold(text[:len(before)], before) {
				text = text[len(before):]
			}
		}
		if text == was {
			return text
		}
	}
}

// firstLine reads byte by byte: what stands behind the line is somebody else's. It stops when the line is too long.
func firstLine(in io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) <= maxLine+1; {
		n, err := in.Read(b)
		if n == 1 && b[0] == '\n' || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		line = append(line, b[:n]...)
	}
	return strings.TrimSuffix(string(line), "\r"), nil
}
