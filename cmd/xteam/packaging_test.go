package main_test

import (
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// What is shipped beside the program, as it lies in the repository.
const (
	unitFile    = "../../.deploy/xteam.service"
	imageFile   = "../../Containerfile"
	composeFile = "../../compose.yaml"
	user        = "65532:65532" // of the image
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// starts holds a shipped environment to the table of settings: it knows every name, takes every value, and there is no secret among them. It answers what
// the program makes of it.
func starts(t *testing.T, env map[string]string) xteam.Parsed {
	t.Helper()
	for name, value := range env {
		if !slices.Contains(xteam.SettingNames(), name) {
			t.Errorf("%s is no setting", name)
		}
		if strings.HasSuffix(strings.TrimSuffix(name, "_PREVIOUS"), "_KEY") && value != "" {
			t.Errorf("a secret is shipped: %s", name)
		}
	}
	with := maps.Clone(env)
	with["ROOT_KEY"] = key
	s, err := xteam.Parse(with)
	if err != nil {
		t.Errorf("the settings are refused: %v", err)
	}
	return s
}

// unit answers what is set in a unit file, by section and name.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	set, section := map[string][]string{}, ""
	for line := range strings.Lines(readFile(t, unitFile)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			section = strings.Trim(line, "[]")
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("a line of %s that sets nothing: %q", unitFile, line)
		}
		set[section+" "+name] = append(set[section+" "+name], value)
	}
	return set
}

func TestTheUnit(t *testing.T) {
	u := unit(t)
	env := map[string]string{}
	for _, line := range u["Service Environment"] {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	starts(t, env)
	want := map[string]string{"DATA_DIR": "/var/lib/xteam", "LOG_FILE": "/var/log/xteam/backend.log"}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("the settings (-want +got):\n%s", diff)
	}
	once := map[string]string{}
	for name, values := range u {
		if len(values) == 1 {
			once[strings.TrimPrefix(name, "Service ")] = values[0]
		}
	}
	for name, want := range map[string]string{
		"User": "xteam", "ExecStart": "/usr/local/bin/xteam serve", "ExecReload": "/bin/kill -HUP $MAINPID", "Restart": "on-failure",
		"EnvironmentFile": "-/etc/xteam/xteam.env", "Install WantedBy": "multi-user.target",
		"StateDirectory": path.Base(env["DATA_DIR"]), "StateDirectoryMode": "0700", "LogsDirectory": path.Base(path.Dir(env["LOG_FILE"])), "UMask": "0077", "LimitCORE": "0",
		"CapabilityBoundingSet": "", "AmbientCapabilities": "", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes",
		"PrivateDevices": "yes", "PrivateMounts": "yes", "PrivateUsers": "yes", "DevicePolicy": "closed", "ProtectClock": "yes", "ProtectControlGroups": "yes", "ProtectHostname": "yes",
		"ProtectKernelLogs": "yes", "ProtectKernelModules": "yes", "ProtectKernelTunables": "yes", "ProtectProc": "invisible", "RemoveIPC": "yes",
		"LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6", "RestrictNamespaces": "yes",
		"RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "SystemCallArchitectures": "native", "SystemCallErrorNumber": "EPERM",
	} {
		if got, ok := once[name]; !ok || got != want {
			t.Errorf("%s: got %q, set once: %v; want %q", name, got, ok, want)
		}
	}
	if _, ok := u["Service ProcSubset"]; ok {
		t.Error("ProcSubset is set; the file says why it is not")
	}
}

// instruction is one of a Containerfile.
type instruction struct{ name, rest string }

// image answers the instructions, those of the last stage apart.
func image(t *testing.T) (before, last []instruction) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(readFile(t, imageFile), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "FROM" {
			before, last = append(before, last...), nil
		}
		if name != "" {
			last = append(last, instruction{name, strings.TrimSpace(rest)})
		}
	}
	return before, last
}

// imageSettings are those that the image sets.
func imageSettings(t *testing.T) map[string]string {
	t.Helper()
	env := map[string]string{}
	_, last := image(t)
	for _, i := range last {
		if i.name == "ENV" {
			for _, one := range strings.Fields(i.rest) {
				name, value, _ := strings.Cut(one, "=")
				env[name] = value
			}
		}
	}
	return env
}

func TestTheImage(t *testing.T) {
	before, last := image(t)
	s := starts(t, imageSettings(t))
	_, port, _ := strings.Cut(s.Addr, ":")
	if diff := cmp.Diff([]instruction{
		{"FROM", "scratch"},
		{"COPY", "--from=build /image/ /"},
		{"COPY", "--from=build --chown=" + user + " /state/ /"},
		{"USER", user},
		{"ENV", "HTTP_ADDR=0.0.0.0:8000 DATA_DIR=/data"},
		{"VOLUME", `["` + s.Folder + `"]`},
		{"EXPOSE", port},
		{"ENTRYPOINT", `["/xteam"]`},
		{"CMD", `["serve"]`},
	}, last, cmp.AllowUnexported(instruction{})); diff != "" {
		t.Errorf("the last stage (-want +got):\n%s", diff)
	}
	// The same bytes come of the same compiler alone, so the builder is named to the last digit; it is no older than go.mod asks.
	builder := regexp.MustCompile(`^docker\.io/library/golang:(\d+\.\d+)\.\d+-bookworm AS build$`).FindStringSubmatch(before[0].rest)
	asks := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "../../go.mod"))
	if before[0].name != "FROM" || builder == nil || asks == nil || builder[1] != asks[1] {
		t.Errorf("the builder is %+v, and go.mod asks for %v", before[0], asks)
	}
	if !slices.Contains(before, instruction{"RUN", "make build"}) {
		t.Errorf("the program is not built by make build: %+v", before)
	}
	for _, name := range []string{".env", "*.pem", "*.key", "secrets/", "/data/"} {
		if !slices.Contains(strings.Fields(readFile(t, "../../.dockerignore")), name) {
			t.Errorf("%s is copied into the builder", name)
		}
	}
}

func TestCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Image       string            `yaml:"image"`
			Build       map[string]string `yaml:"build"`
			Environment map[string]string `yaml:"environment"`
			Ports       []string          `yaml:"ports"`
			Volumes     []string          `yaml:"volumes"`
			ReadOnly    bool              `yaml:"read_only"`
			CapDrop     []string          `yaml:"cap_drop"`
			SecurityOpt []string          `yaml:"security_opt"`
			Restart     string            `yaml:"restart"`
			Grace       string            `yaml:"stop_grace_period"`
		} `yaml:"services"`
		Volumes map[string]any `yaml:"volumes"`
	}
	d := yaml.NewDecoder(strings.NewReader(readFile(t, composeFile)))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	c, ok := file.Services["xteam"]
	if !ok || len(file.Services) != 1 {
		t.Fatalf("the services are %v, want xteam alone", slices.Collect(maps.Keys(file.Services)))
	}
	env := imageSettings(t)
	given := regexp.MustCompile(`^\$\{([A-Z_]+)(?::-(.*)|:\?.+)\}$`) // from .env: its default, or that it must be there
	for name, value := range c.Environment {
		m := given.FindStringSubmatch(value)
		if m == nil || m[1] != name {
			t.Errorf("%s is %q, want it from .env", name, value)
			continue
		}
		env[name] = m[2]
	}
	s := starts(t, env)
	_, port, _ := strings.Cut(s.Addr, ":")
	if want := []string{"127.0.0.1:" + port + ":" + port}; !slices.Equal(c.Ports, want) {
		t.Errorf("the ports are %q, want %q", c.Ports, want)
	}
	if want := []string{"data:" + s.Folder}; !slices.Equal(c.Volumes, want) || len(file.Volumes) != 1 {
		t.Errorf("the volumes are %q of %v, want %q", c.Volumes, file.Volumes, want)
	}
	if _, ok := file.Volumes["data"]; !ok {
		t.Errorf("the volume data is not named among %v", file.Volumes)
	}
	if !c.ReadOnly || !slices.Equal(c.CapDrop, []string{"ALL"}) || !slices.Equal(c.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("what it may do: %+v", c)
	}
	if c.Restart != "unless-stopped" || c.Grace != "30s" || c.Build["dockerfile"] != path.Base(imageFile) || c.Build["context"] != "." {
		t.Errorf("how it is built and run: %+v", c)
	}
}
