package jwtcodec_test

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/token"
)

func TestWarmParseAllocatesNothing(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	text := sign(t, c, claims())
	if got := testing.AllocsPerRun(1000, func() { parse(t, c, text) }); got != 0 {
		t.Errorf("got %v allocations", got)
	}
}

// A text whose parts cannot be a token's is refused without any allocation.
func TestTextsThatCostNothing(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	good := forge(goodHeader, goodPayload, ours)
	for name, text := range map[string]string{
		"8,000 dots":       strings.Repeat(".", 8000),
		"8,000 pairs":      strings.Repeat("a.", 4000),
		"too long":         sized(token.MaxSize + 1),
		"no dots":          strings.Repeat("a", token.MaxSize),
		"five parts":       good + ".AA.AA",
		"a newline inside": good[:10] + "\n" + good[10:],
	} {
		if got := testing.AllocsPerRun(100, func() { _, _ = c.Parse(text) }); got != 0 {
			t.Errorf("%s: got %v allocations", name, got)
		}
	}
}

// What somebody without a key can make one Parse allocate, whatever 8 KiB he sends (CVE-2025-30204): less than 32 KiB.
func TestHostileTextsCostLittle(t *testing.T) {
	const most = 32 << 10
	c := codec(t, jwtcodec.Options{})
	fill := func(head, unit, tail string) string { // an object as long as a token has room for
		room := 5700 - len(head) - len(tail)
		return head + strings.Repeat(unit, room/len(unit)) + tail
	}
	distinct := func(value string) string {
		var b strings.Builder
		for i := 0; b.Len() < 5600; i++ {
			b.WriteString(`"` + strconv.Itoa(i) + `":` + value + ",")
		}
		return "{" + b.String() + `"x":0}`
	}
	rest := goodPayload[1:]
	objects := map[string]string{
		"names":            distinct("0"),
		"objects":          fill(`{"x":[`, `{"a":0},`, `0]}`),
		"names inside":     `{"x":` + distinct("{}") + "}",
		"depth":            fill(`{"x":`, "[", ""),
		"depth of objects": fill(`{"x":`, `{"":`, ""),
		"a long name":      fill(`{"`, "x", `":0}`),
		"an escaped name":  fill(`{"`, `\u0000`, `":0}`),
		"a long string":    fill(`{"x":"`, "x", `"}`),
		"a long number":    fill(`{"x":`, "1", `}`),
		"empty roles":      fill(`{"roles":[`, `"",`, `""]}`),
		"roles":            fill(`{"roles":[`, `"r",`, `""]}`),
		"audiences":        fill(`{"aud":[`, `"r",`, `""]}`),
		"numbers as roles": fill(`{"roles":[`, `0,`, `0]}`),
		"a long scope":     strings.Replace(goodPayload, "users:read", strings.Repeat("s", 5000), 1),
		"an escaped scope": strings.Replace(goodPayload, "users:read", strings.Repeat(`\u0061`, 830), 1),
		"a long kid":       `{"kid":"` + strings.Repeat("k", 5600) + `","alg":"HS256","typ":"at+jwt"}`,
		"all of it": fill(`{"n":{`+names(50)+`},"aud":[`+strings.Repeat(`"a",`, 127)+`"a"],"roles":[`+strings.Repeat(`"r",`, 127)+`"r"],"scope":"`, `\n`,
			`"}`),
		"all of it, complete": fill(`{"n":{`+names(40)+`},`+rest[:len(rest)-1]+`,"z":"`, `\n`, `"}`),
	}
	for name, object := range objects {
		for place, text := range map[string]string{"header": forge(object, "{}", another), "payload": forge(goodHeader, object, another)} {
			if len(text) > token.MaxSize {
				t.Fatalf("%s: the text of %d bytes tests nothing", name, len(text))
			}
			got := allocated(t, c, text)
			if got >= most {
				t.Errorf("%s in the %s: %d bytes allocated", name, place, got)
			}
		}
	}
	for name, text := range map[string]string{"8,000 dots": strings.Repeat(".", 8000), "signature": forge(goodHeader, goodPayload, another) + strings.Repeat("A", 7600)} {
		if got := allocated(t, c, text); got >= most {
			t.Errorf("%s: %d bytes allocated", name, got)
		}
	}
}

// allocated is the mean of the bytes that a refused Parse of the text allocates.
func allocated(t *testing.T, c *jwtcodec.Codec, text string) uint64 {
	t.Helper()
	const runs = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := c.Parse(text); err == nil {
			t.Fatal("a hostile text was taken")
		}
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
