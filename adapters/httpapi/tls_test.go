package httpapi_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
)

// pipedTLS is piped over TLS.
func pipedTLS(t *testing.T, s *service) *pipes {
	t.Helper()
	synthetic := time.Now().Year() == 2000 // in a bubble of fake time
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"xteam.test"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	check(t, err)
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	srv := httpapi.Server(s.h, slog.New(slog.DiscardHandler))
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: k}}}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("ServeTLS: %v", err)
		}
		if synthetic {
			<-time.After(time.Minute) // what lingers ends
		}
	})
	return l
}

// TestSlowHello: a handshake has ten seconds, whether nothing comes or a byte now and then.
func TestSlowHello(t *testing.T) {
	for name, hello := range map[string][]byte{
		"nothing":         nil,
		"a byte a second": append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 200)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipedTLS(t, newService(t)).dial()
				defer c.Close()
				begun := time.Now()
				go func() {
					for i := range hello {
						select {
						case <-time.After(time.Second):
						case <-t.Context().Done():
							return
						}
						if _, err := c.Write(hello[i : i+1]); err != nil {
							return
						}
					}
				}()
				_, _ = io.Copy(io.Discard, c)
				if took := time.Since(begun); took > 11*time.Second {
					t.Errorf("cut off after %v, want 10 s", took)
				}
			})
		})
	}
}

// TestSlowBehindTheHello: over TLS a header and a body have the same bounds as without, by both versions of HTTP.
func TestSlowBehindTheHello(t *testing.T) {
	for name, try := range map[string]struct {
		proto  string
		sent   []byte
		within time.Duration
	}{
		"an HTTP/1 header that stops": {"http/1.1", []byte("POST /api/v1/auth/login HTTP/1.1\r\nHost: x"), 11 * time.Second},
		"an HTTP/1 body that stops":   {"http/1.1", []byte(head + "Content-Length: 9\r\n\r\n{"), 12 * time.Second},
		"no HTTP/2 preface":           {"h2", nil, 11 * time.Second},
		"a preface that stops":        {"h2", []byte("PRI * HTTP/2.0\r\n"), 11 * time.Second},
		"an HTTP/2 frame that stops":  {"h2", append([]byte(preface), frame(0, 0, 0, nil)[:5]...), 31 * time.Second},
		"a header that never ends":    {"h2", append([]byte(preface), frame(headersFrame, 0, 1, []byte{0x82})...), 31 * time.Second},
		"a silent HTTP/2 connection":  {"h2", append([]byte(preface), frame(settingsFrame, 0, 0, nil)...), 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				raw := pipedTLS(t, newService(t)).dial()
				c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{try.proto}})
				defer raw.Close()
				check(t, c.Handshake())
				begun := time.Now()
				go func() { _, _ = c.Write(try.sent) }()
				_, _ = io.Copy(io.Discard, c)
				if took := time.Since(begun); took > try.within {
					t.Errorf("cut off after %v, want within %v", took, try.within)
				}
			})
		})
	}
}

// The little of HTTP/2 that tests write by hand (RFC 9113, sections 4.1 and 6).
const (
	preface           = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	headersFrame      = 1
	resetFrame        = 3
	settingsFrame     = 4
	continuationFrame = 9
	endStream         = 1
	endHeaders        = 4
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// TestHTTP2Floods: headers that never end, and streams that are reset as soon as they are asked for, end the connection before they cost much: a header is read no
// farther than its bound, and no more requests are begun than are served at a time (CVE-2023-45288, CVE-2023-44487).
func TestHTTP2Floods(t *testing.T) {
	get := append([]byte{0x82, 0x87, 0x04, 5}, "/nope"...) // GET, https, :path; and (RFC 7541, section 6)
	get = append(append(get, 0x01, 10), "xteam.test"...)   // :authority
	junk := append([]byte{0x00, 1, 'x', 0x7f, 0x81, 0x77}, bytes.Repeat([]byte("y"), 127+1+119*128)...)
	for name, flood := range map[string]struct {
		first []byte
		next  func(i uint32) []byte
		begun int64
	}{
		"continuation": {frame(headersFrame, endStream, 1, get), func(uint32) []byte { return frame(continuationFrame, 0, 1, junk) }, 0},
		"rapid reset": {nil, func(i uint32) []byte {
			return append(frame(headersFrame, endStream|endHeaders, 2*i+1, get), frame(resetFrame, 0, 2*i+1, []byte{0, 0, 0, 8})...)
		}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			hold := make(chan struct{})
			var begun atomic.Int64
			inner := s.h
			s.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { begun.Add(1); <-hold; inner.ServeHTTP(w, r) })
			raw := pipedTLS(t, s).dial()
			defer raw.Close()
			defer close(hold)
			c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			check(t, c.Handshake())
			go func() { _, _ = io.Copy(io.Discard, c) }()
			if _, err := c.Write(append(append([]byte(preface), frame(settingsFrame, 0, 0, nil)...), flood.first...)); err != nil {
				t.Fatal(err)
			}
			check(t, c.SetWriteDeadline(time.Now().Add(time.Minute)))
			var err error
			for i := uint32(0); err == nil; i++ {
				_, err = c.Write(flood.next(i))
			}
			if errors.Is(err, os.ErrDeadlineExceeded) || begun.Load() > flood.begun {
				t.Errorf("%v after %d requests were begun, want the connection closed, and at most %d", err, begun.Load(), flood.begun)
			}
		})
	}
}
