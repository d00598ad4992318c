package faults_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/xteam/xteam/ports/porttest"
)

// service is one of a Compose file.
type service struct {
	Image       string            `yaml:"image"`
	Build       map[string]string `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Tmpfs       []string          `yaml:"tmpfs"`
	Networks    any               `yaml:"networks"`
	DependsOn   any               `yaml:"depends_on"`
	Healthcheck any               `yaml:"healthcheck"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Restart     string            `yaml:"restart"`
	Grace       string            `yaml:"stop_grace_period"`
}

// The cluster of compose.cluster.yaml is one: what the file says of its containers is played with the programs of this machine, and a token that is revoked on one node is refused by all,
// through the nginx that it configures.
func TestComposeCluster(t *testing.T) {
	text, err := os.ReadFile("../../compose.cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"ROOT_KEY": "r00tOfTests-q2Wn8Xb5Vt1Lc7Zk4Mj9Hd3Gs", "SECRET_KEY": "k3yOfTests-7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc", "DB_PASSWORD": postgresPassword, "REDIS_PASSWORD": "p4ssOfTests-5Tg9Bv2Nc"}
	given := regexp.MustCompile(`\$\{([A-Z_]+)(:-|:\?)([^}]*)\}`)
	for _, m := range given.FindAllStringSubmatch(string(text), -1) {
		if _, secret := secrets[m[1]]; secret != (m[2] == ":?") {
			t.Errorf("%s: a secret must be given, and nothing else need be", m[0])
		}
	}
	var file struct {
		Node     service            `yaml:"x-node"`
		Services map[string]service `yaml:"services"`
		Networks map[string]any     `yaml:"networks"`
		Volumes  map[string]any     `yaml:"volumes"`
	}
	d := yaml.NewDecoder(strings.NewReader(given.ReplaceAllStringFunc(string(text), func(m string) string { return secrets[given.FindStringSubmatch(m)[1]] })))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	volumes := map[string]bool{}
	for name, s := range file.Services {
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Restart != "unless-stopped" || s.Image != "xteam" && !regexp.MustCompile(`^docker\.io/[a-z/-]+:\d+(\.\d+)?-alpine$`).MatchString(s.Image) {
			t.Errorf("%s: what it may do, or what it is: %+v", name, s)
		}
		if len(s.Ports) > 0 && (name != "nginx" || !slices.Equal(s.Ports, []string{"127.0.0.1:8000:8080"})) {
			t.Errorf("%s is open to others than this machine: %q", name, s.Ports)
		}
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); from[0] != '.' && volumes[from] {
				t.Errorf("%s: the volume %s is another's too", name, from)
			} else if from[0] != '.' {
				volumes[from] = true
			}
		}
	}
	for v := range volumes {
		if _, ok := file.Volumes[v]; !ok {
			t.Errorf("the volume %s is not named", v)
		}
	}

	// Redis with the arguments of the file.
	args := file.Services["redis"].Command
	if len(args) == 0 || args[0] != "redis-server" {
		t.Fatalf("Redis is started by %q", args)
	}
	redis := startRedis(t, args[1:]...)
	if got := redis.say("PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("whoever gives no password is answered %s", got)
	}
	redis.user, redis.password = "xteam", secrets["REDIS_PASSWORD"]
	for _, x := range [][2]string{{"SET other 1", "-NOPERM"}, {"FLUSHALL", "-NOPERM"}, {"SET xteam:probe 1", "+OK"}} {
		if got := redis.say(strings.Fields(x[0])...); !strings.HasPrefix(got, x[1]) {
			t.Errorf("%s as the user of the nodes: got %s, want %s", x[0], got, x[1])
		}
	}
	for name, want := range map[string]string{"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "maxmemory": "536870912"} {
		if got := redis.ask("CONFIG", "GET", name); !strings.Contains(got, "\r\n"+want+"\r\n") {
			t.Errorf("Redis' %s: got %q, want %s", name, got, want)
		}
	}

	// The nodes with their environment; their hosts are this one.
	postgres := startPostgres(t)
	c := &cluster{t: t, redis: redis, postgres: postgres, client: http.DefaultClient}
	conf, err := os.ReadFile("../../.deploy/cluster.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := string(conf)
	for i, name := range []string{"node1", "node2", "node3"} {
		s := file.Services[name]
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.Grace != "30s" || s.Image != "xteam" || s.Build["dockerfile"] != "Containerfile" {
			t.Errorf("%s: what it may do, and how it is built: %+v", name, s)
		}
		var env []string
		for name, value := range s.Environment {
			value = strings.ReplaceAll(value, "xteam:"+postgresPassword+"@postgres:5432/xteam", fmt.Sprintf("xteam:%s@127.0.0.1:%d/postgres", postgresPassword, postgres.port))
			value = strings.ReplaceAll(value, "@redis:6379", fmt.Sprintf("@127.0.0.1:%d", redis.port))
			env = append(env, name+"="+strings.ReplaceAll(value, "172.30.83.2/32", "127.0.0.1/32"))
		}
		n := c.node(i, append(env, "RATE_LIMIT_ENABLED=true")...)
		c.serve(n)
		c.nodes = append(c.nodes, n)
		if !strings.Contains(config, "server "+name+":8000 ") {
			t.Errorf("nginx knows nothing of %s", name)
		}
		config = strings.Replace(config, name+":8000", strings.TrimPrefix(n.base, "http://"), 1)
	}

	// nginx before them.
	port := porttest.Free(t)
	folder := t.TempDir()
	config = strings.Replace(config, "listen 8080;", "listen 127.0.0.1:"+strconv.Itoa(port)+";", 1)
	user := ""
	if os.Getuid() == 0 { // else the workers are another user's, to whom the folder is closed
		user = "user root; "
	}
	main := user + "pid " + folder + "/pid; error_log stderr; daemon off; worker_processes 1; events {} http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n" + config + "}"
	path := filepath.Join(folder, "main.conf")
	if err := os.WriteFile(path, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	front := &cluster{t: t, client: http.DefaultClient, nodes: []*node{{base: fmt.Sprintf("http://127.0.0.1:%d", port)}}}
	proxy := &process{t: t, name: "nginx", args: []string{needs(t, "nginx"), "-e", "stderr", "-p", folder, "-c", path},
		ready: func() bool { return front.call(0, http.MethodGet, "/readyz", "", nil).status == http.StatusOK }}
	proxy.start()

	if a := front.call(0, http.MethodPost, "/api/v1/auth/register", "", map[string]any{"email": "u0@example.com", "username": "user0", "password": password}); a.status != http.StatusCreated {
		t.Fatalf("register: %d %s", a.status, a.text)
	}
	a := front.signIn(0, 0)
	for n := range c.nodes {
		if got := c.call(n, http.MethodGet, me, a.AccessToken, nil); got.status != http.StatusOK {
			t.Errorf("node %d: %d %s", n, got.status, got.text)
		}
	}
	if got := front.call(0, http.MethodPost, "/api/v1/auth/logout", a.AccessToken, nil); got.status != http.StatusNoContent {
		t.Fatalf("log-out: %d %s", got.status, got.text)
	}
	for n := range c.nodes {
		until(t, "every node refuses", func() bool {
			return c.call(n, http.MethodGet, me, a.AccessToken, nil).status == http.StatusUnauthorized
		})
	}
	for range 6 {
		if got := front.call(0, http.MethodGet, me, a.AccessToken, nil); got.status != http.StatusUnauthorized {
			t.Errorf("through nginx, after every node has heard: %d %s", got.status, got.text)
		}
	}
	if got := redis.ask("EXISTS", "xteam:{r}:sid:"+sid(a.AccessToken)); !strings.HasPrefix(got, ":1") {
		t.Errorf("Redis does not know the session that was revoked: %s", got)
	}

	// One node is gone, and nobody notices.
	c.nodes[1].kill()
	fresh := front.signIn(0, 0)
	for range 9 {
		if got := front.call(0, http.MethodGet, me, fresh.AccessToken, nil); got.status != http.StatusOK {
			t.Errorf("through nginx, while a node is gone: %d %s", got.status, got.text)
		}
	}
}
