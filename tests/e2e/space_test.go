package e2e_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestTooLittleSpace: on a disk with less free space than is asked for, who is signed in stays so and tokens are withdrawn, and nobody new comes.
func TestTooLittleSpace(t *testing.T) {
	folder := t.TempDir()
	env := environ(folder)
	admin(t, env)
	s := serve(t, env)
	boss, other := s.signIn("admin@example.com"), s.signIn("admin@example.com")
	if a := s.want(http.StatusOK, http.MethodGet, "/readyz", "", nil); !strings.Contains(a.Text, `"store":{"status":"ok"`) {
		t.Errorf("with room: %s", a.Text)
	}
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil || int64(disk.Bavail)*int64(disk.Bsize) >= 1<<40 {
		t.Skipf("here is more free space than can be asked for (%v)", err)
	}
	env = append(env, "MIN_FREE_SPACE=1024GiB")
	s = serve(t, env)
	for path, body := range map[string]object{
		login:    {"email": "admin@example.com", "password": password},
		register: {"email": "new@example.com", "username": "new", "password": password},
	} {
		if a := s.want(http.StatusInsufficientStorage, http.MethodPost, path, "", body); a.Code != "no_space" {
			t.Errorf("%s: %s", path, a.Text)
		}
	}
	if a := s.want(http.StatusOK, http.MethodGet, "/readyz", "", nil); !strings.Contains(a.Text, `"store":{"status":"degraded"`) {
		t.Errorf("with too little: %s", a.Text)
	}
	boss = s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": boss.Refresh})
	if code, page := metricsPage(t, s.base, boss.Access); code != http.StatusOK || !strings.Contains(page, "\nxteam_store_takes_new 0\n") || !strings.Contains(page, "\nxteam_store_free_bytes ") {
		t.Errorf("%d, without the free space:\n%s", code, page)
	}
	s.revokeOne(boss.Access, object{"token": other.Access})
	s.refused(other.Access, "revoked with too little space")
	s.want(http.StatusNoContent, http.MethodPost, logout, boss.Access, nil)
	if r := xteam(t, env, password, "users", "create", "--email", "more@example.com", "--username", "more", "--password-stdin"); r.code == 0 {
		t.Errorf("the operator made a user: %s", r.out)
	} else {
		t.Logf("the operator is told: %s", r.err)
	}
	until(t, "the log tells of it", func() bool { return strings.Contains(s.log.String(), "space is low") })
	if n := strings.Count(s.log.String(), "space is low"); n != 1 {
		t.Errorf("the log says %d times that space is low:\n%s", n, s.log)
	}
}
