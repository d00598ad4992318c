package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often, at most, the files of the certificate are looked at while clients shake hands.
const lookEvery = time.Second

// maxPEM bounds what is read of either file, in bytes.
const maxPEM = 1 << 20

// certificate is the pair of SSL_CERTFILE and SSL_KEYFILE, read anew when the files change. Two files that do not agree, as while one is renewed
// and the other is not yet, change nothing: the pair before stays. So it does while it is valid and the one in the files is not.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate]
	mu      sync.Mutex // one looks at a time
	looked  time.Time
	judged  [sha256.Size]byte // what was seen last, good or bad
	waits   *tls.Certificate  // the pair that was seen last, while its time is not now and that of the one before is
}

// openCertificate reads the pair; it is nil when none is set. Its error is one sentence that shows nothing of the key.
func openCertificate(s *settings) (*certificate, error) {
	if s.CertFile == "" {
		return nil, nil //nolint:nilnil // no certificate is no fault here
	}
	c := &certificate{certFile: s.CertFile, keyFile: s.KeyFile, log: slog.New(slog.DiscardHandler), looked: time.Now()}
	var pair *tls.Certificate
	cert, key, err := c.read()
	if err == nil {
		c.judged = digest(cert, key, nil)
		pair, err = agree(cert, key)
	}
	if err != nil {
		return nil, err
	}
	if s.Environment == production && !timely(pair) {
		return nil, fmt.Errorf("SSL_CERTFILE: got a certificate for the time from %s to %s, takes in production one that is valid now",
			pair.Leaf.NotBefore.Format(time.DateTime), pair.Leaf.NotAfter.Format(time.DateTime))
	}
	c.current.Store(pair)
	return c, nil
}

// tellTo has the log say which certificate is served, now and whenever it changes. It comes before the first handshake.
func (c *certificate) tellTo(log *slog.Logger) {
	c.log = log
	c.tell("A certificate is served", c.current.Load())
}

func (c *certificate) tell(what string, pair *tls.Certificate) {
	level := slog.LevelInfo
	if !timely(pair) {
		level, what = slog.LevelWarn, what+", which is not valid now"
		if pair == c.waits {
			what += "; the one before is served on while that is valid"
		}
	}
	c.log.Log(context.Background(), level, what, "names", strings.Join(pair.Leaf.DNSNames, " "), "not_before", pair.Leaf.NotBefore, "not_after", pair.Leaf.NotAfter)
}

// timely reports whether the certificate is valid at this time.
func timely(pair *tls.Certificate) bool {
	now := time.Now()
	return !now.Before(pair.Leaf.NotBefore) && !now.After(pair.Leaf.NotAfter)
}

// config serves the pair over TLS 1.2 with forward secrecy and authenticated encryption, and over TLS 1.3 (RFC 9325, section 4.2).
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: c.get,
	}
}

// get is the pair for a handshake. One handshake in lookEvery looks at the files first, the others wait for nothing.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if time.Since(c.looked) >= lookEvery {
			c.look()
		}
	}
	return c.current.Load(), nil
}

// reload looks at the files now.
func (c *certificate) reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
}

// look takes the pair in the files if it is another than before, agrees, and is no worse by its time. What is not taken is logged once. It needs mu.
func (c *certificate) look() {
	c.looked = time.Now()
	cert, key, err := c.read()
	sum := digest(cert, key, err)
	if sum == c.judged {
		if c.waits != nil && (timely(c.waits) || !timely(c.current.Load())) {
			c.take(c.waits)
		}
		return
	}
	c.judged, c.waits = sum, nil
	var pair *tls.Certificate
	if err == nil {
		pair, err = agree(cert, key)
	}
	if err != nil {
		c.log.Warn("The certificate in the files is not taken; the one before is served on", "error", err.Error())
		return
	}
	if !timely(pair) && timely(c.current.Load()) {
		c.waits = pair
		c.tell("Another certificate is in the files", pair)
		return
	}
	c.take(pair)
}

// take serves another pair from now on. It needs mu.
func (c *certificate) take(pair *tls.Certificate) {
	c.current.Store(pair)
	c.waits = nil
	c.tell("Another certificate is served", pair)
}

// read reads both files.
func (c *certificate) read() (cert, key []byte, err error) {
	if cert, err = readPEM("SSL_CERTFILE", c.certFile); err != nil {
		return nil, nil, err
	}
	key, err = readPEM("SSL_KEYFILE", c.keyFile)
	return cert, key, err
}

// readPEM reads a file whole. Nothing but a regular file is opened: a pipe might never end.
func readPEM(setting, path string) ([]byte, error) {
	text, err := func() ([]byte, error) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, errors.New("it is no file")
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
		if len(text) > maxPEM {
			return nil, errors.New("it is longer than 1 MiB")
		}
		return text, err
	}()
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		err = at.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s cannot be read: %w", setting, path, err)
	}
	return text, nil
}

// agree makes a pair of a chain of certificates, the service's own first, and the key of that. A chain whose last certificate is cut off is still being
// written.
func agree(cert, key []byte) (*tls.Certificate, error) {
	rest := cert
	for block := new(pem.Block); block != nil; {
		block, rest = pem.Decode(rest)
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return nil, errors.New("SSL_CERTFILE: it ends within a certificate")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("SSL_CERTFILE and SSL_KEYFILE are no pair: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}

func digest(cert, key []byte, err error) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %v\n", len(cert), len(key), err)
	h.Write(cert)
	h.Write(key)
	return [sha256.Size]byte(h.Sum(nil))
}
