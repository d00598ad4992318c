package bench_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

// BenchmarkGuardedGET asks the real program for the caller's own account, and a bare handler for the same bytes, over 32 kept connections. The processor
// time that a server uses for a request is steadier than its throughput, which it shares with the client. Beside them a bare handler sends the same headers: what
// net/http takes for that is told, and is no baseline.
func BenchmarkGuardedGET(b *testing.B) {
	folder := b.TempDir()
	enrol(b, folder)
	product := serve(b, folder)
	token, _ := product.signIn(b)
	body, head := product.get(b, mePath, token)
	base, headed := bare(b, body, ""), bare(b, body, head)
	var rates [3]spread
	micros := func(s *server, tokens []string, rate *spread) func() float64 {
		return func() float64 {
			before, began := s.cpu(b), time.Now()
			n := s.load(b, mePath, tokens, 32, 2*time.Second)
			*rate = append(*rate, float64(n)/time.Since(began).Seconds())
			return float64((s.cpu(b) - before).Microseconds()) / float64(n)
		}
	}
	one, thousand := []string{token}, others(b, token, 1000)
	for _, s := range []*server{product, base, headed} {
		s.load(b, mePath, thousand, 32, time.Second)
	}
	var heads spread
	spent, least := inTurns(5, micros(product, one, &rates[0]), micros(base, one, &rates[1]))
	many, again := inTurns(5, micros(product, thousand, &rates[2]), micros(base, thousand, new(spread)))
	for range 3 {
		heads = append(heads, micros(headed, one, new(spread))())
	}
	ratio, rate := spent.over(least), rates[0].over(rates[1])
	metric(b, ratio.median(), "x-of-bare-cpu")
	report.add(row{figure: "GET /users/me, processor time a request", goal: "≤ 1.5 × bare net/http", measured: spent.show("%.1f") + " µs",
		baseline: "bare " + least.shown("%.1f", "µs") + "; with the same headers " + heads.shown("%.1f", "µs"), ratio: ratio.show("%.2f"), met: ratio.median() <= 1.5})
	report.add(row{figure: "GET /users/me, requests a second", goal: "≥ 0.75 × bare", measured: rates[0].show("%.0f") + "/s",
		baseline: "bare " + rates[1].shown("%.0f", "a second"), ratio: rate.show("%.2f"), met: rate.median() >= 0.75})
	ratio = many.over(again)
	report.add(row{figure: "the same with 1,000 tokens in turn, processor time", goal: "≤ 1.5 × bare net/http", measured: many.show("%.1f") + " µs",
		baseline: "bare " + again.shown("%.1f", "µs"), ratio: ratio.show("%.2f"), met: ratio.median() <= 1.5})
}

// others are tokens like the one that was issued, each with ids of its own.
func others(b *testing.B, issued string, n int) (all []string) {
	codec := newCodec(b, jwtcodec.Options{})
	claims, err := codec.Parse(issued)
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		c := *claims
		c.ID, c.Session = random[id.Token](), random[id.Session]()
		text, err := codec.Sign(c)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, text.RevealPlaintext())
	}
	return all
}

// first starts a server and answers how long it took from the start of its process to its first 200, in milliseconds.
func first(b *testing.B, start func() *server) (*server, float64) {
	began := time.Now()
	s := start()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		resp, err := client.Get(s.base + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s, float64(time.Since(began).Microseconds()) / 1000
			}
		}
		if time.Since(began) > time.Minute {
			b.Fatalf("no 200 within a minute: %v", err)
		}
	}
}

// BenchmarkColdStart starts the program on no folder at all, and lets it idle.
func BenchmarkColdStart(b *testing.B) {
	if _, err := built(); err != nil {
		b.Fatal(err)
	}
	var idle spread
	cold, base := inTurns(7, func() float64 {
		s, ms := first(b, func() *server { return serve(b, b.TempDir()) })
		<-time.After(1500 * time.Millisecond) // idle: what the start has left behind is there, and nothing is asked
		idle = append(idle, s.resident(b))
		s.stop(b)
		return ms
	}, func() float64 {
		s, ms := first(b, func() *server { return bare(b, "{}", "") })
		s.stop(b)
		return ms
	})
	metric(b, cold.median(), "ms-to-200")
	metric(b, idle.median(), "MiB-idle")
	report.add(row{figure: "cold start on an empty store to the first 200", goal: "≤ 100 ms", measured: cold.show("%.0f") + " ms", baseline: "bare " + base.shown("%.0f", "ms"),
		ratio: cold.over(base).show("%.1f"), met: cold.median() <= 100})
	report.add(row{figure: "resident memory, idle", goal: "< 40 MiB", measured: idle.show("%.1f") + " MiB", met: idle.median() < 40})
}

// BenchmarkReady starts the program on a folder with a million live revocations.
func BenchmarkReady(b *testing.B) {
	folder := b.TempDir()
	s, _ := first(b, func() *server { return serve(b, folder) })
	s.stop(b)
	fill(b, folder)
	var ready, memory spread
	for range 3 {
		s, ms := first(b, func() *server { return serve(b, folder) })
		ready, memory = append(ready, ms/1000), append(memory, s.resident(b))
		s.stop(b)
	}
	metric(b, ready.median(), "s-to-200")
	report.add(row{figure: "1,000,000 live revocations: start to the first 200", goal: "< 3 s", measured: ready.show("%.2f") + " s, " + memory.shown("%.0f", "MiB then"), met: ready.median() < 3})
}

// fill records a million revocations in the program's own folder.
func fill(b *testing.B, folder string) {
	db, err := badgerstore.Open(folder, badgerstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	keys, err := fieldcrypt.Open(b.Context(), db.Keys(), secret.New(rootKey), secret.Text{}, rand.Reader, instant.Of(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	db.Unlock(keys)
	for range million / 10_000 {
		entries := make([]revocation.Entry, 10_000)
		for i := range entries {
			entries[i] = entry(i)
		}
		if err := db.Revocations().Record(context.WithoutCancel(b.Context()), entries...); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSignIn signs in over HTTP, and compares a password with bcrypt alone at the same cost.
func BenchmarkSignIn(b *testing.B) {
	folder := b.TempDir()
	enrol(b, folder)
	s := serve(b, folder)
	const cost = 12
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		b.Fatal(err)
	}
	s.signIn(b)
	in, alone := inTurns(21, func() float64 {
		_, took := s.signIn(b)
		return float64(took.Microseconds()) / 1000
	}, func() float64 {
		began := time.Now()
		if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil {
			b.Fatal(err)
		}
		return float64(time.Since(began).Microseconds()) / 1000
	})
	ratio := in.over(alone)
	metric(b, ratio.median(), "x-of-bcrypt")
	report.add(row{figure: fmt.Sprintf("sign-in at bcrypt cost %d", cost), goal: "≤ 1.05 × bcrypt", measured: in.show("%.0f") + " ms", baseline: "bcrypt " + alone.shown("%.0f", "ms"),
		ratio: ratio.show("%.3f"), met: ratio.median() <= 1.05})
}

// BenchmarkForwardAuth asks as a proxy does, over 32 kept connections, and a bare handler that answers with nothing.
func BenchmarkForwardAuth(b *testing.B) {
	folder := b.TempDir()
	enrol(b, folder)
	product, base := serve(b, folder), bare(b, " ", "")
	token, _ := product.signIn(b)
	rate := func(s *server, path string) func() float64 {
		return func() float64 {
			began := time.Now()
			n := s.load(b, path, []string{token}, 32, 2*time.Second)
			return float64(n) / time.Since(began).Seconds()
		}
	}
	answers, least := rate(product, verifyPath), rate(base, mePath)
	answers()
	least()
	asked, bared := inTurns(5, answers, least)
	ratio := asked.over(bared)
	metric(b, ratio.median(), "x-of-bare")
	report.add(row{figure: "forward-auth, answers a second", goal: "≥ 0.8 × bare net/http", measured: asked.show("%.0f") + "/s", baseline: "bare " + bared.shown("%.0f", "a second"),
		ratio: ratio.show("%.2f"), met: ratio.median() >= 0.8})
}

// BenchmarkGraphQL asks for the caller's own account over GraphQL and over REST, the same members of it, over 32 kept connections.
func BenchmarkGraphQL(b *testing.B) {
	folder := b.TempDir()
	enrol(b, folder)
	product := serve(b, folder)
	token, _ := product.signIn(b)
	body := `{"query":"{ me { id email username fullName role isActive createdAt } }"}`
	request := []byte("POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	rate := func(send func() int) func() float64 {
		return func() float64 {
			began := time.Now()
			n := send()
			return float64(n) / time.Since(began).Seconds()
		}
	}
	graphql := rate(func() int { return product.send(b, [][]byte{request}, 32, 2*time.Second) })
	rest := rate(func() int { return product.load(b, mePath, []string{token}, 32, 2*time.Second) })
	graphql()
	rest()
	asked, plain := inTurns(5, graphql, rest)
	ratio := asked.over(plain)
	metric(b, ratio.median(), "x-of-rest")
	report.add(row{figure: "GraphQL me, requests a second", goal: "≥ 0.5 × GET /users/me", measured: asked.show("%.0f") + "/s", baseline: "REST " + plain.shown("%.0f", "a second"),
		ratio: ratio.show("%.2f"), met: ratio.median() >= 0.5})
}
