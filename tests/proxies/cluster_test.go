package proxies_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What stands in the query of /ws stands in no log of the nginx of the cluster, whether a node answers or none does.
func TestClusterLogsNoQuery(t *testing.T) {
	needs(t, "nginx")
	file, err := os.ReadFile("../../.deploy/cluster.conf")
	if err != nil {
		t.Fatal(err)
	}
	at, folder := free(t), t.TempDir()
	conf := strings.Replace(string(file), "listen 8080;", "listen "+at+";", 1)
	conf = strings.Replace(conf, "/dev/stdout", folder+"/access.log", 1)
	conf = regexp.MustCompile(`node\d:8000`).ReplaceAllString(conf, "127.0.0.1:9") // nobody is there
	user := ""
	if os.Getuid() == 0 {
		user = "user root; "
	}
	path := filepath.Join(folder, "main.conf")
	text := user + "pid " + folder + "/pid; error_log " + folder + "/error.log; daemon off; worker_processes 1; events {} http { client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n" + conf + "}"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	nginx := exec.Command("nginx", "-e", folder+"/error.log", "-p", folder, "-c", path)
	nginx.Stderr = &said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = nginx.Process.Signal(os.Interrupt); _ = nginx.Wait() }
	get := func(to string) bool {
		resp, err := http.Get("http://" + at + to) //nolint:noctx // of a test
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusBadGateway
	}
	for tries := 0; !get("/other"); tries++ {
		if tries == 1200 {
			stop()
			t.Fatalf("nginx does not answer: %s", said.String())
		}
		<-time.After(50 * time.Millisecond)
	}
	for _, to := range []string{"/ws?token=SECRET.JWT.HERE", "/%77s?ticket=SECRET", "//ws?token=SECRET", "/ws/?token=SECRET"} {
		if !get(to) {
			t.Errorf("%s is not answered by 502", to)
		}
	}
	stop()
	access, err1 := os.ReadFile(folder + "/access.log")
	errors, err2 := os.ReadFile(folder + "/error.log")
	if err1 != nil || err2 != nil || !strings.Contains(string(access), "GET /ws HTTP") || !strings.Contains(string(errors), "/other") {
		t.Errorf("the logs are not what they were: %v, %v\n%s%s", err1, err2, access, errors)
	}
	if all := string(access) + string(errors); strings.Contains(all, "SECRET") {
		t.Errorf("a secret is logged:\n%s", all)
	}
}
