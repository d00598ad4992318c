package main_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// issued is a certificate and its key, as files hold them.
type issued struct {
	cert, key []byte
	serial    int64
}

// issue signs a certificate for localhost with its own key. Its serial number tells it from others.
func issue(t testing.TB, serial int64, change ...func(*x509.Certificate)) issued {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return sign(t, serial, k, change...)
}

func sign(t testing.TB, serial int64, k crypto.Signer, change ...func(*x509.Certificate)) issued {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, f := range change {
		f(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	check(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(k)
	check(t, err)
	return issued{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), serial}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pairOf is where a test keeps the two files.
type pairOf struct{ cert, key string }

func (p pairOf) write(t testing.TB, cert, key []byte) {
	t.Helper()
	for path, text := range map[string][]byte{p.cert: cert, p.key: key} {
		if text != nil {
			check(t, os.WriteFile(path, text, 0o600))
		}
	}
}

func newPair(t testing.TB, c issued) pairOf {
	t.Helper()
	dir := t.TempDir()
	p := pairOf{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	p.write(t, c.cert, c.key)
	return p
}

// TestCertificateRenewedHalfWay: whichever file comes first, and however it is cut, the old pair is served until both agree; then the new one, without a restart.
func TestCertificateRenewedHalfWay(t *testing.T) {
	chained := issue(t, 2, func(c *x509.Certificate) { c.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) }) // the bubbles begin in 2000
	whole := append(slices.Clone(chained.cert), issue(t, 3).cert...)
	for name, steps := range map[string][]struct{ cert, key []byte }{
		"the key first":           {{nil, chained.key}, {chained.cert, nil}},
		"the certificate first":   {{chained.cert, nil}, {nil, chained.key}},
		"byte by byte, nearly":    {{[]byte{}, chained.key}, {chained.cert[:100], nil}, {chained.cert[:len(chained.cert)-30], nil}, {chained.cert, nil}},
		"a chain that is cut off": {{whole[:len(chained.cert)+100], chained.key}, {whole, nil}},
		"garbage in between":      {{[]byte("no certificate"), []byte("no key")}, {chained.cert, chained.key}},
		"the key cut off":         {{chained.cert, chained.key[:len(chained.key)/2]}, {nil, chained.key}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old := issue(t, 1, func(c *x509.Certificate) {
					c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
				})
				p := newPair(t, old)
				var log bytes.Buffer
				c, err := xteam.OpenCertificate("development", p.cert, p.key, slog.New(slog.NewJSONHandler(&log, nil)))
				check(t, err)
				for i, step := range steps {
					p.write(t, step.cert, step.key)
					for range 3 {
						<-time.After(1100 * time.Millisecond)
						want := old.serial
						if i == len(steps)-1 {
							want = chained.serial
						}
						if got := c.Served(); got != want {
							t.Fatalf("after step %d: certificate %d is served, want %d", i, got, want)
						}
					}
				}
				if n := strings.Count(log.String(), "is not taken"); n != len(steps)-1 || strings.Count(log.String(), "Another certificate is served") != 1 || strings.Contains(log.String(), "PRIVATE") {
					t.Errorf("want one line for each step: %s", &log)
				}
			})
		})
	}
}

// TestCertificateLooks: the files are looked at once a second at most, and at once when somebody asks for it; what has gone changes nothing, and is said once.
func TestCertificateLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, issue(t, 1))
		var log bytes.Buffer
		c, err := xteam.OpenCertificate("development", p.cert, p.key, slog.New(slog.NewJSONHandler(&log, nil)))
		check(t, err)
		next := issue(t, 2)
		p.write(t, next.cert, next.key)
		if got := c.Served(); got != 1 {
			t.Errorf("within a second: %d is served, want 1", got)
		}
		c.Reload()
		if got := c.Served(); got != 2 {
			t.Errorf("after a reload: %d is served, want 2", got)
		}
		check(t, os.Remove(p.key))
		for range 3 {
			<-time.After(time.Second)
			if got := c.Served(); got != 2 {
				t.Errorf("without its file: %d is served, want 2", got)
			}
		}
		if n := strings.Count(log.String(), "is not taken"); n != 1 {
			t.Errorf("%d lines for a file that has gone, want 1: %s", n, &log)
		}
		late := issue(t, 3, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		p.write(t, late.cert, late.key)
		for range 3 {
			<-time.After(time.Second)
			if got := c.Served(); got != 2 {
				t.Errorf("while the files hold a pair that is over: %d is served, want 2, which is good", got)
			}
		}
		early := issue(t, 4, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
		p.write(t, early.cert, early.key)
		<-time.After(time.Second)
		if got := c.Served(); got != 2 {
			t.Errorf("while the files hold a pair that is not good yet: %d is served, want 2", got)
		}
		if n := strings.Count(log.String(), "is not valid now"); n != 2 {
			t.Errorf("%d lines for two pairs that are not good now, want 2: %s", n, &log)
		}
		<-time.After(time.Hour)
		if got := c.Served(); got != 4 {
			t.Errorf("once its time has come: %d is served, want 4", got)
		}
		<-time.After(48 * time.Hour)
		p.write(t, late.cert, late.key)
		c.Reload()
		if got := c.Served(); got != 3 || !strings.Contains(log.String(), "Another certificate is served, which is not valid now") {
			t.Errorf("a pair that is over in the place of one that is: %d is served, log %s", got, &log)
		}
	})
}

// TestCertificateRefused: each way in which the pair cannot be served stops the start with one sentence that names the setting and shows no key.
func TestCertificateRefused(t *testing.T) {
	one, other := issue(t, 1), issue(t, 2)
	over := issue(t, 3, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := issue(t, 4, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	check(t, syscall.Mkfifo(fifo, 0o600))
	missing := filepath.Join(dir, "missing")
	good := newPair(t, one)
	for name, try := range map[string]struct {
		files pairOf
		env   string
		want  string
	}{
		"another key":            {newPair(t, issued{one.cert, other.key, 0}), "development", "^SSL_CERTFILE and SSL_KEYFILE are no pair: private key does not match public key$"},
		"no certificate":         {newPair(t, issued{[]byte("planted"), one.key, 0}), "development", "^SSL_CERTFILE and SSL_KEYFILE are no pair: "},
		"no key":                 {newPair(t, issued{one.cert, []byte("planted"), 0}), "development", "^SSL_CERTFILE and SSL_KEYFILE are no pair: "},
		"changed about":          {newPair(t, issued{one.key, one.cert, 0}), "development", "^SSL_CERTFILE and SSL_KEYFILE are no pair: "},
		"empty":                  {newPair(t, issued{[]byte{}, []byte{}, 0}), "development", "^SSL_CERTFILE and SSL_KEYFILE are no pair: "},
		"a missing certificate":  {pairOf{missing, good.key}, "development", "^SSL_CERTFILE: " + missing + " cannot be read: no such file or directory$"},
		"a missing key":          {pairOf{good.cert, missing}, "development", "^SSL_KEYFILE: " + missing + " cannot be read: no such file or directory$"},
		"a folder":               {pairOf{good.cert, dir}, "development", "^SSL_KEYFILE: " + dir + " cannot be read: it is no file$"},
		"a pipe":                 {pairOf{fifo, good.key}, "development", "^SSL_CERTFILE: " + fifo + " cannot be read: it is no file$"},
		"two megabytes":          {newPair(t, issued{bytes.Repeat([]byte("a"), 2<<20), one.key, 0}), "development", "^SSL_CERTFILE: .* cannot be read: it is longer than 1 MiB$"},
		"over, in production":    {newPair(t, over), "production", "^SSL_CERTFILE: got a certificate for the time from .* takes in production one that is valid now$"},
		"not yet, in production": {newPair(t, early), "production", "^SSL_CERTFILE: got a certificate for the time from .* takes in production one that is valid now$"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := xteam.OpenCertificate(try.env, try.files.cert, try.files.key, slog.New(slog.DiscardHandler))
			if err == nil || !regexp.MustCompile(try.want).MatchString(err.Error()) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v, want %s", err, try.want)
			}
		})
	}
	for _, env := range []string{"development", "staging"} {
		p := newPair(t, over)
		if _, err := xteam.OpenCertificate(env, p.cert, p.key, slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("over, in %s: got %v, want a line in the log only", env, err)
		}
	}
}

// lines is an output that says when a line begins with a text.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits for a text.
func (l *lines) await(t testing.TB, text string) {
	t.Helper()
	for tooLong := time.After(30 * time.Second); !strings.Contains(l.String(), text); {
		select {
		case <-l.more:
		case <-tooLong:
			t.Fatalf("%s was not written: %s", text, l)
		}
	}
}

// running is a server in this process.
type running struct {
	base string // as its ready line has it
	log  *lines
}

// runServer serves with these settings until the test ends.
func runServer(t testing.TB, env ...string) *running {
	t.Helper()
	for _, one := range append([]string{"DATA_DIR=" + t.TempDir(), "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10"}, env...) {
		name, v, _ := strings.Cut(one, "=")
		t.Setenv(name, v)
	}
	out, errs := &lines{more: make(chan struct{}, 1)}, &lines{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- xteam.Run(ctx, []string{"serve"}, strings.NewReader(""), out, errs) }()
	select {
	case <-out.more:
	case code := <-ended:
		cancel()
		t.Fatalf("the server ended with %d: %s", code, errs)
	}
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("the server ended with %d: %s", code, errs)
		}
	})
	base, ok := strings.CutPrefix(strings.SplitN(out.String(), "\n", 2)[0], "ready ")
	if !ok {
		t.Fatalf("not a ready line: %q", out)
	}
	return &running{base, errs}
}

// trusting is a client that trusts these certificates and keeps no connection.
func trusting(certs ...issued) *http.Client {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AppendCertsFromPEM(c.cert)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
}

// TestServeTLS: the ready line, the headers, both versions of HTTP, both of TLS and none below; plain text is told so.
func TestServeTLS(t *testing.T) {
	c := issue(t, 1)
	p := newPair(t, c)
	s := runServer(t, "SSL_CERTFILE="+p.cert, "SSL_KEYFILE="+p.key)
	if !strings.HasPrefix(s.base, "https://127.0.0.1:") {
		t.Fatalf("the ready line names %s", s.base)
	}
	client := trusting(c)
	res, err := client.Get(s.base + "/health")
	check(t, err)
	defer res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 || res.Header.Get("Strict-Transport-Security") != "max-age=31536000; includeSubDomains" {
		t.Errorf("got %d by %s with %v, want 200 by HTTP/2 with HSTS", res.StatusCode, res.Proto, res.Header)
	}
	addr := strings.TrimPrefix(s.base, "https://")
	shake := func(change func(*tls.Config)) error {
		conf := client.Transport.(*http.Transport).TLSClientConfig.Clone()
		change(conf)
		conn, err := tls.Dial("tcp", addr, conf)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	for v, name := range map[uint16]string{tls.VersionTLS10: "1.0", tls.VersionTLS11: "1.1"} {
		if shake(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }) == nil {
			t.Errorf("TLS %s was taken", name)
		}
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		check(t, shake(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }))
	}
	for _, suite := range append(tls.InsecureCipherSuites(), tls.CipherSuites()...) {
		good := strings.Contains(suite.Name, "ECDHE_ECDSA") && (strings.Contains(suite.Name, "GCM") || strings.Contains(suite.Name, "POLY1305"))
		err := shake(func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite.ID} })
		if slices.Contains(suite.SupportedVersions, tls.VersionTLS12) && (err == nil) != good {
			t.Errorf("%s: got %v, want it taken: %v", suite.Name, err, good)
		}
	}
	conn, err := net.Dial("tcp", addr)
	check(t, err)
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
	if got, _ := io.ReadAll(conn); !bytes.HasPrefix(got, []byte("HTTP/1.0 400 ")) || bytes.Contains(got, []byte(`"status"`)) {
		t.Errorf("plain text got %q, want 400", got)
	}
}

// TestServeRenews: a new pair is served without a restart, at once after SIGHUP and soon without; connections that are open go on.
func TestServeRenews(t *testing.T) {
	one, two, three := issue(t, 1), issue(t, 2), issue(t, 3)
	p := newPair(t, one)
	s := runServer(t, "SSL_CERTFILE="+p.cert, "SSL_KEYFILE="+p.key)
	client := trusting(one, two, three)
	served := func() int64 {
		res, err := client.Get(s.base + "/health")
		check(t, err)
		_ = res.Body.Close()
		return res.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	await := func(want int64) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for tooLong := time.After(30 * time.Second); served() != want; {
			select {
			case <-tick.C:
			case <-tooLong:
				t.Fatalf("certificate %d is not served: %s", want, s.log)
			}
		}
	}
	kept := trusting(one)
	kept.Transport.(*http.Transport).DisableKeepAlives = false
	defer kept.CloseIdleConnections()
	open := func() {
		t.Helper()
		res, err := kept.Get(s.base + "/health")
		check(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	open()
	if got := served(); got != 1 {
		t.Fatalf("%d is served, want 1", got)
	}
	p.write(t, two.cert, two.key)
	await(2)
	p.write(t, three.cert, nil)
	check(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	await(2)
	p.write(t, nil, three.key)
	check(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	await(3)
	open() // on the connection of the first certificate, which it alone trusts
}

// TestScanned: sslscan finds nothing below TLS 1.2, no weak cipher, and none of the holes it knows, with either kind of key.
func TestScanned(t *testing.T) {
	switch _, err := exec.LookPath("sslscan"); {
	case err == nil:
	case os.Getenv("XTEAM_TEST_REAL") == "1":
		t.Fatal("sslscan is not installed: make deps")
	default:
		t.Skip("sslscan is not installed")
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	for name, c := range map[string]issued{"ECDSA": issue(t, 1), "RSA": sign(t, 2, k)} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, c)
			s := runServer(t, "SSL_CERTFILE="+p.cert, "SSL_KEYFILE="+p.key)
			out, err := exec.CommandContext(t.Context(), "sslscan", "--no-colour", strings.TrimPrefix(s.base, "https://")).CombinedOutput()
			if err != nil {
				t.Fatalf("sslscan: %v\n%s", err, out)
			}
			for _, want := range []string{`SSLv2\s+disabled`, `SSLv3\s+disabled`, `TLSv1\.0\s+disabled`, `TLSv1\.1\s+disabled`, `TLSv1\.2\s+enabled`, `TLSv1\.3\s+enabled`, `TLS Fallback SCSV`, `renegotiation not supported`,
				`TLSv1.2 not vulnerable to heartbleed`, `TLSv1.3 not vulnerable to heartbleed`} {
				if !regexp.MustCompile(want).Match(out) {
					t.Errorf("%s is not in what sslscan says", want)
				}
			}
			suites := regexp.MustCompile(`(?m)^(?:Preferred|Accepted)\s+(\S+)\s+(\d+) bits\s+(\S+)`).FindAllSubmatch(out, -1)
			var suite []string
			for _, m := range suites {
				version, bits, name := string(m[1]), string(m[2]), string(m[3])
				suite = append(suite, fmt.Sprint(version, " ", name))
				aead := strings.Contains(name, "GCM") || strings.Contains(name, "CHACHA20") || strings.Contains(name, "POLY1305")
				secret := version == "TLSv1.3" || strings.HasPrefix(name, "ECDHE-")
				if bits != "128" && bits != "256" || !aead || !secret {
					t.Errorf("a weak cipher: %s", m[0])
				}
			}
			if len(suites) < 5 {
				t.Errorf("sslscan saw only %q", suite)
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}

// TestSlowClients: 2,000 clients that stop in the TLS hello, in the header or in the body keep others waiting no longer than 50 ms.
func TestSlowClients(t *testing.T) {
	var most syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most); err != nil || most.Cur < 4200 {
		t.Skipf("this process may open %d files, and needs 4,200", most.Cur)
	}
	c := issue(t, 1)
	p := newPair(t, c)
	s := runServer(t, "SSL_CERTFILE="+p.cert, "SSL_KEYFILE="+p.key)
	addr, client := strings.TrimPrefix(s.base, "https://"), trusting(c)
	client.Transport.(*http.Transport).DisableKeepAlives = false
	conf := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	for i := range 2000 {
		var conn net.Conn
		var err error
		text := "\x16\x03\x01\x02\x00\x01"
		if i%5 == 0 {
			conn, err = tls.Dial("tcp", addr, conf)
			text = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
			if i%10 == 0 {
				text += "Content-Length: 100\r\n\r\n{"
			}
		} else {
			conn, err = net.Dial("tcp", addr)
		}
		check(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, text)
		check(t, err)
	}
	defer client.CloseIdleConnections()
	best := time.Hour
	for rounds := 0; rounds < 20 && best > 50*time.Millisecond; rounds++ { // a busy machine is no slow server
		took := make([]time.Duration, 200)
		for i := range took {
			begun := time.Now()
			res, err := client.Get(s.base + "/health")
			check(t, err)
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			took[i] = time.Since(begun)
		}
		slices.Sort(took)
		best = min(best, took[190])
		t.Logf("median %v, 95th of 100 %v, longest %v", took[100], took[190], took[199])
	}
	if best > 50*time.Millisecond {
		t.Errorf("among 2,000 slow clients 5 of 100 requests took %v or more, want below 50 ms", best)
	}
}
