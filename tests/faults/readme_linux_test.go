package faults_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/xteam/xteam/ports/porttest"
)

// The README's lines for a cluster, to the letter but for ports and passwords that are this test's, give three nodes of one service.
func TestReadmeCluster(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Run it as a cluster\n")
	_, script, opened := strings.Cut(section, "\n```sh\n")
	script, _, closed := strings.Cut(script, "\n```\n")
	if !ok || !opened || !closed {
		t.Fatal("the README's section on clusters has no lines to follow")
	}
	redis, postgres := startRedis(t), startPostgres(t)
	ports := []int{porttest.Free(t), porttest.Free(t), porttest.Free(t)}
	for old, its := range map[string]string{
		"'postgres://xteam:PASSWORD@127.0.0.1:5432/xteam?sslmode=disable'": "'" + postgres.url() + "'",
		"redis://127.0.0.1:6379":    redis.url(),
		"HTTP_ADDR=127.0.0.1:800$n": fmt.Sprintf("HTTP_ADDR=127.0.0.1:$(echo %d %d %d | cut -d ' ' -f $n)", ports[0], ports[1], ports[2]),
	} {
		if strings.Count(script, old) != 1 {
			t.Fatalf("the README's lines have not once %s:\n%s", old, script)
		}
		script = strings.Replace(script, old, its, 1)
	}
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(folder, "bin", "xteam")); err != nil {
		t.Fatal(err)
	}
	// Who reads along waits until the servers answer before the next line is typed.
	waits := ""
	for _, port := range ports {
		waits += fmt.Sprintf("until curl -sf -o /dev/null http://127.0.0.1:%d/readyz; do read -r -t 0.1 <> <(:) || :; done\n", port)
	}
	lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
	last := len(lines) - 1
	script = strings.Join(lines[:last], "\n") + "\n" + waits + lines[last] + "\necho done\nwait\n"
	shell := &process{t: t, name: "the shell", dir: folder, args: []string{needs(t, "bash"), "-euc", script}, env: []string{"PASSWORD=" + password}}
	shell.ready = func() bool {
		out, err := os.ReadFile(shell.log.Name())
		return err == nil && strings.Contains(string(out), "\ndone\n")
	}
	shell.start()
	t.Cleanup(func() { shell.signal(syscall.SIGKILL) })

	c := &cluster{t: t, client: http.DefaultClient}
	for _, port := range ports {
		c.nodes = append(c.nodes, &node{base: fmt.Sprintf("http://127.0.0.1:%d", port)})
	}
	a := c.call(0, http.MethodPost, "/api/v1/auth/login", "", map[string]any{"username": "ann", "password": password})
	for n := range c.nodes {
		if got := c.call(n, http.MethodGet, me, a.AccessToken, nil); got.status != http.StatusOK {
			t.Errorf("node %d: %d %s", n, got.status, got.text)
		}
	}
	if got := c.call(1, http.MethodPost, "/api/v1/auth/logout", a.AccessToken, nil); got.status != http.StatusNoContent {
		t.Fatalf("log-out: %d %s", got.status, got.text)
	}
	for n := range c.nodes {
		until(t, "every node refuses", func() bool {
			return c.call(n, http.MethodGet, me, a.AccessToken, nil).status == http.StatusUnauthorized
		})
	}
}
