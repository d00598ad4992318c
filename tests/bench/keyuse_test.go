package bench_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
)

// keyUse names the variable by which this binary is told to be the process that uses API keys until it is killed: a keyPlan, as text.
const keyUse = "XTEAM_BENCH_KEY_USE"

// keyPlan is what that process does.
type keyPlan struct {
	dir        string
	keys, uses int
	every      time.Duration // between two writings, which it asks for itself; 0: as the product does
}

func (p keyPlan) String() string { return fmt.Sprintf("%s %d %d %d", p.dir, p.keys, p.uses, p.every) }

var bot = app.Request{Origin: session.Origin{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "bot"}}

// useKeys makes the keys and uses them in turns. It tells what it has used, and what was surely written down; then it waits to be killed.
func useKeys(text string) {
	var p keyPlan
	if _, err := fmt.Sscan(text, &p.dir, &p.keys, &p.uses, &p.every); err != nil {
		panic(err)
	}
	x := openKeyed(p.dir)
	texts := issueKeys(x, p.keys)
	fmt.Println("ready")
	var used atomic.Int64
	if p.every > 0 {
		go func() {
			for range time.Tick(p.every) {
				before := used.Load()
				if err := x.APIKeys().Flush(context.Background()); err != nil {
					panic(err)
				}
				fmt.Println("flushed", before)
			}
		}()
	}
	for i := range p.uses {
		if _, err := x.Guard().AdmitKey(context.Background(), bot, texts[i%p.keys]); err != nil {
			panic(err)
		}
		used.Add(1)
	}
	fmt.Println("used", p.uses)
	select {}
}

func openKeyed(dir string) *xteam.XTeam {
	return must(xteam.Open(context.Background(), xteam.Options{Dir: dir, BcryptCost: 10, MinFreeSpace: -1, Limits: app.LimiterOptions{Mode: app.Off}}))
}

// owners have the keys of a plan, as many as one may have each.
func owners(keys int) (names []string) {
	for i := range (keys + apikey.MaxLive - 1) / apikey.MaxLive {
		names = append(names, fmt.Sprintf("owner%d", i))
	}
	return names
}

// issueKeys makes accounts and their keys, and answers the texts.
func issueKeys(x *xteam.XTeam, keys int) (texts []string) {
	ctx, word := context.Background(), secret.New("correct-Horse-battery-9-staple")
	for _, name := range owners(keys) {
		reg := app.Registration{Email: must(account.ParseEmail(name + "@example.com")), Username: must(account.ParseUsername(name)), Password: word}
		must(x.Accounts().Create(ctx, app.Actor{Name: app.System}, reg, account.RoleUser))
		tokens := must(x.Sessions().Login(ctx, bot, must(account.ParseLogin("", name)), word))
		caller := must(x.Guard().Admit(tokens.Access.RevealPlaintext()))
		for range min(apikey.MaxLive, keys-len(texts)) {
			k := must(x.APIKeys().Issue(ctx, bot, caller, apikey.Wish{Name: must(apikey.ParseName("bot")), Scopes: apikey.UsersRead}))
			texts = append(texts, k.Text.RevealPlaintext())
		}
	}
	return texts
}

// counted opens what a killed process has left, and answers how many uses are written down, and of how many keys.
func counted(dir string, keys int) (uses, usedKeys int) {
	x := openKeyed(dir)
	defer x.Close()
	for _, name := range owners(keys) {
		acct := must(x.Accounts().Lookup(context.Background(), name))
		for _, k := range must(x.APIKeys().ListOf(context.Background(), acct.ID)) {
			uses += int(k.Uses)
			if k.Uses > 0 && k.LastUsed != 0 && k.LastFrom == bot.Origin {
				usedKeys++
			}
		}
	}
	return uses, usedKeys
}

// killed runs a plan until enough says that it is, by a line that the process has written, and kills it with no warning. Nothing is left of what it had in memory.
func killed(t testing.TB, p keyPlan, enough func(line string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, must(os.Executable()))
	cmd.Env, cmd.Stderr = append(os.Environ(), keyUse+"="+p.String()), os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if enough(lines.Text()) {
			return
		}
	}
	t.Fatal("the process that uses keys has ended by itself")
}

// TestUsesOutliveKill: a process that is killed in the middle of its work has lost the uses since its last writing and no others, and invented none.
func TestUsesOutliveKill(t *testing.T) {
	p := keyPlan{t.TempDir(), 100, 1 << 30, 50 * time.Millisecond}
	flushed := 0
	killed(t, p, func(line string) bool {
		var n int
		if _, err := fmt.Sscanf(line, "flushed %d", &n); err != nil {
			return false
		}
		flushed = n
		return n >= 20_000
	})
	uses, keys := counted(p.dir, p.keys)
	if uses < flushed || keys != p.keys {
		t.Errorf("%d uses of %d keys are written down, of %d that were", uses, keys, flushed)
	}
	t.Logf("%d uses were surely written down when it was killed, and %d are there", flushed, uses)
}

// BenchmarkKilledUses is the whole: 1,000 keys are used 1,000,000 times, and a minute after the last use, in which the product writes them down by itself, the process is killed. It takes as long.
func BenchmarkKilledUses(b *testing.B) {
	p := keyPlan{b.TempDir(), 1000, 1_000_000, 0}
	var began, done time.Time
	killed(b, p, func(line string) bool {
		switch {
		case line == "ready":
			began = time.Now()
		case strings.HasPrefix(line, "used "):
			done = time.Now()
			select {
			case <-time.After(time.Minute + 2*time.Second): // the last writing begins within a minute, and takes a moment
			case <-b.Context().Done():
				b.Fatal(errors.New("stopped"))
			}
			return true
		}
		return false
	})
	uses, keys := counted(p.dir, p.keys)
	metric(b, float64(uses), "uses-kept")
	report.add(row{figure: "1,000 API keys, 1,000,000 uses, kill -9 a minute later", goal: "all are counted", measured: fmt.Sprintf("%d uses of %d keys, made in %.1f s", uses, keys, done.Sub(began).Seconds()), met: uses == p.uses && keys == p.keys})
}
