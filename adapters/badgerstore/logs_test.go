package badgerstore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// change is a transaction as it stands in Badger's log.
func change(version uint64, entries, size int) (b []byte) {
	entry := func(meta byte, key string, value []byte) {
		from := len(b)
		name := binary.BigEndian.AppendUint64([]byte(key), ^version)
		b = append(b, meta, 0)
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = binary.AppendUvarint(b, uint64(len(value)))
		b = binary.AppendUvarint(b, 0)
		b = append(append(b, name...), value...)
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[from:], crc32.MakeTable(crc32.Castagnoli)))
	}
	for i := range entries {
		entry(0x40, fmt.Sprintf("r/%d", i), bytes.Repeat([]byte{byte(version) | 0x80}, size))
	}
	entry(0x80, "!badger!txn", []byte(strconv.FormatUint(version, 10)))
	return b
}

// aLog is a log of transactions that begin with a version, and room.
func aLog(first uint64, changes int) []byte {
	b := append(make([]byte, 8), "the iv of 12"...)
	for v := range uint64(changes) {
		b = append(b, change(first+v, 2, 50)...)
	}
	return append(b, make([]byte, 5000)...)
}

func at(b []byte, i int, v ...byte) []byte {
	b = slices.Clone(b)
	copy(b[i:], v)
	return b
}

func TestLogs(t *testing.T) {
	const largest = 2000
	one := len(change(1, 2, 50)) // bytes of one change
	big := append(aLog(1, 3)[:20+3*one], change(4, 3, 600)...)
	big = append(big, make([]byte, 1000)...)
	flip := func(log []byte, i int) []byte { return at(log, i, log[i]^0x41) }
	type logs [][]byte
	type want struct {
		last  uint64
		torn  []string
		wrong string
	}
	check := func(what string, files logs, w want) {
		t.Helper()
		dir := t.TempDir()
		for i, data := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d.mem", i+1)), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		last, torn, err := badgerstore.CheckLogs(dir, largest)
		if w.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), w.wrong) {
				t.Errorf("%s: got %d, %v, want a refusal with %q", what, last, err, w.wrong)
			}
			if len(torn) > 0 {
				t.Errorf("%s: told of %q, and refused", what, torn)
			}
			return
		}
		if err != nil || last != w.last || !slices.Equal(torn, w.torn) {
			t.Errorf("%s: got %d, %q, %v, want %d, %q", what, last, torn, err, w.last, w.torn)
		}
	}
	tail := func(file, from, bytes int) []string {
		return []string{fmt.Sprintf("%05d.mem %d %d", file, from, bytes)}
	}

	check("no log", nil, want{})
	check("an empty one", logs{{}}, want{})
	check("half a head", logs{make([]byte, 7)}, want{})
	check("zeros", logs{make([]byte, 100)}, want{})
	check("a head", logs{aLog(1, 0)}, want{})
	check("five changes", logs{aLog(1, 5)}, want{last: 5})
	check("five changes, and no room", logs{aLog(1, 5)[:20+5*one]}, want{last: 5})
	check("two logs", logs{aLog(3, 5), aLog(8, 5)}, want{last: 12})
	check("of one of which nothing is left", logs{aLog(3, 5), aLog(8, 0), aLog(8, 1)}, want{last: 8})

	// What a crash leaves.
	for n := 1; n < one; n++ {
		cut := slices.Clone(aLog(1, 5)[:20+5*one-n])
		from, end := 20+4*one, len(bytes.TrimRight(cut, "\x00"))
		w := want{last: 4}
		if end > from {
			w.torn = tail(1, from, end-from)
		}
		check(fmt.Sprint("cut off by ", n), logs{cut}, w)
		check(fmt.Sprint("zeros instead of the last ", n), logs{append(cut, make([]byte, n)...)}, w)
	}
	for sector := 512; sector < len(big)-1000; sector += 512 {
		if sector < 20+3*one {
			continue
		}
		lost := at(big, sector, make([]byte, 512)...)
		check(fmt.Sprint("without the sector at ", sector), logs{lost},
			want{last: 3, torn: tail(1, 20+3*one, len(bytes.TrimRight(lost, "\x00"))-20-3*one)})
	}
	check("incomplete in an older one", logs{aLog(1, 5)[:20+5*one-9], aLog(5, 2)}, want{last: 6, torn: tail(1, 20+4*one, one-9)})

	// What no crash leaves.
	for i := 20; i < 20+4*one; i++ {
		check(fmt.Sprint("flipped at ", i), logs{flip(aLog(1, 5), i)}, want{wrong: fmt.Sprintf("00001.mem is damaged behind its byte %d,", 20+(i-20)/one*one)})
	}
	for i := 20; i < 20+one; i++ {
		check(fmt.Sprint("of two flipped at ", i), logs{flip(aLog(7, 2), i)}, want{wrong: "00001.mem is damaged behind its byte 20,"})
	}
	for i := range 8 {
		check(fmt.Sprint("head flipped at ", i), logs{flip(aLog(1, 5), i)}, want{wrong: "00001.mem is damaged behind its byte 0,"})
	}
	check("ones over three changes", logs{at(aLog(1, 5), 20+one, bytes.Repeat([]byte{0xff}, 3*one)...)}, want{wrong: "00001.mem is damaged"})
	check("zeros over a change", logs{at(aLog(1, 5), 20+one, make([]byte, one)...)}, want{wrong: "00001.mem is damaged"})
	check("more than a change at the end", logs{append(aLog(1, 5), bytes.Repeat([]byte{1}, largest)...)}, want{wrong: "00001.mem is damaged"})
	check("a length that is none", logs{at(aLog(1, 5), 20+4*one+2, bytes.Repeat([]byte{0xff}, 11)...)}, want{wrong: "00001.mem is damaged"})
	check("the last change of an older one", logs{flip(aLog(1, 5), 20+4*one+9), aLog(6, 2)}, want{wrong: "00002.mem does not begin where the log before it ends"})
	check("a log between", logs{aLog(1, 5), nil, aLog(8, 2)}, want{wrong: "00003.mem does not begin where the log before it ends"})

	// What may be a crash as well: the last change.
	for i := 20 + 4*one; i < 20+5*one; i++ {
		log := flip(aLog(1, 5), i)
		check(fmt.Sprint("flipped in the last one at ", i), logs{log}, want{last: 4, torn: tail(1, 20+4*one, one)})
	}
}

// TestLogsAreReadAsBadgerReadsThem: Badger, when it may only read, says where it would cut a log.
func TestLogsAreReadAsBadgerReadsThem(t *testing.T) {
	small := func(o *badger.Options) { o.MemTableSize, o.ValueThreshold = 1<<20, 1<<10 }
	dir := filepath.Join(t.TempDir(), "data")
	s := store{must(badgerstore.Open(dir, badgerstore.Tuned(badgerstore.Options{UnsafeNoSync: true}, small)))}
	s.Unlock(sealer{})
	x := aSession()
	for i := range 40 {
		x.Counter++
		for _, err := range []error{
			s.Revocations().Record(t.Context(), []revocation.Entry{tokenEntry(time.Hour), tokenEntry(time.Hour), tokenEntry(time.Hour)}[:1+i%3]...),
			s.Sessions().Create(t.Context(), aSession(), ports.Effects{Revocations: []revocation.Entry{tokenEntry(time.Hour)}}),
			s.Events().Record(t.Context(), anEvent(), anEvent()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	killed := copyFolder(t, dir)
	s.close(t)
	path := filepath.Join(killed, "00001.mem")
	data := must(os.ReadFile(path))
	end := len(bytes.TrimRight(data, "\x00"))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	below := func(n int) int { // splitmix64
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return int((z ^ z>>31) % uint64(n))
	}
	for range 200 {
		place, length := 20+below(end-20), 1+below(3)*below(700)
		length = min(length, end-place)
		was := slices.Clone(data[place : place+length])
		is := slices.Clone(was)
		switch below(3) {
		case 0:
			is[below(length)] ^= 1 << below(8)
		case 1:
			clear(is)
		case 2:
			for i := range is {
				is[i] = byte(below(256))
			}
		}
		overwrite(t, path, place, is)
		got, ok := badgerstore.EndOfLog(must(os.ReadFile(path)))
		want, said := whereBadgerCuts(t, killed)
		if ok && got != want || !ok && want >= 0 {
			t.Errorf("%d bytes at %d, %x: got end %d, %v, want %d: %s", length, place, is, got, ok, want, said)
		}
		overwrite(t, path, place, was)
	}
}

// whereBadgerCuts answers a negative number when Badger refuses the log.
func whereBadgerCuts(t *testing.T, dir string) (end int, said string) {
	t.Helper()
	db, err := badgerstore.OpenReadOnly(dir)
	if err == nil {
		t.Fatal(db.Close(), "Badger does not want to cut")
	}
	_, rest, ok := strings.Cut(err.Error(), "end offset: ")
	if !ok {
		return -1, err.Error()
	}
	digits, _, _ := strings.Cut(rest, " ")
	return must(strconv.Atoi(digits)), err.Error()
}

// TestAFlipInTheLog: the sum of a change that was acknowledged, and is followed by others, is wrong. Badger would drop all of them, and say nothing.
func TestAFlipInTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	var order []revocation.Entry
	for range 100 {
		e := tokenEntry(time.Hour)
		if err := s.Revocations().Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		order = append(order, e)
	}
	killed := copyFolder(t, dir)
	s.close(t)
	path := filepath.Join(killed, "00001.mem")
	data := must(os.ReadFile(path))
	end := len(bytes.TrimRight(data, "\x00"))
	for _, i := range []int{0, 20, 25, 500, 1000, end / 2, end - 250} {
		overwrite(t, path, i, []byte{data[i] ^ 0x81})
		before := files(t, killed)
		refused(t, killed, "00001.mem is damaged behind its byte")
		if after := files(t, killed); after != before {
			t.Errorf("a byte flipped at %d: the refusal changed the folder: got %s, was %s", i, after, before)
		}
		overwrite(t, path, i, data[i:i+1])
	}
	if err := survivors(t, killed, order, len(order)); err != nil {
		t.Error(err)
	}
}

// files tells of the content of a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, e := range must(os.ReadDir(dir)) {
		data := must(os.ReadFile(filepath.Join(dir, e.Name())))
		fmt.Fprintf(&b, "%s %d %08x\n", e.Name(), len(data), crc32.ChecksumIEEE(data))
	}
	return b.String()
}

func TestATornTailIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	var order []revocation.Entry
	var begins int // the last one; the sum of the one before may end with a zero
	for range 10 {
		var ok bool
		if begins, ok = badgerstore.EndOfLog(must(os.ReadFile(filepath.Join(dir, "00001.mem")))); !ok {
			t.Fatal("the log is damaged")
		}
		e := tokenEntry(time.Hour)
		if err := s.Revocations().Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		order = append(order, e)
	}
	killed := copyFolder(t, dir)
	s.close(t)
	path := filepath.Join(killed, "00001.mem")
	end := len(bytes.TrimRight(must(os.ReadFile(path)), "\x00"))
	overwrite(t, path, end-5, make([]byte, 5))
	left := len(bytes.TrimRight(must(os.ReadFile(path)), "\x00")) - begins
	var log logged
	db := must(badgerstore.Open(killed, badgerstore.Options{Logger: log.logger()}))
	defer store{db}.close(t)
	db.Unlock(sealer{})
	if got := len((store{db}).all(t)); got != len(order)-1 {
		t.Errorf("got %d entries, want all but the last of %d", got, len(order))
	}
	if got, want := log.lines(t), []string{"WARN a change that was being written when the store was stopped is incomplete, and dropped"}; !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
	for _, want := range []string{`"file":"00001.mem"`, fmt.Sprintf(`"bytes":%d}`, left)} {
		if !strings.Contains(log.text.String(), want) {
			t.Errorf("logged %s, want %s", log.text.String(), want)
		}
	}
}

// TestFilesWithoutAByte: Badger is killed between two steps of making a file, or of deleting one.
func TestFilesWithoutAByte(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := tokenEntry(time.Hour)
	if err := s.Revocations().Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	for _, name := range []string{"00001.mem", "00009.mem", "000007.vlog", "000009.sst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		if all := s.all(t); all[e.Key()] != e {
			t.Errorf("%s: got %v", name, all)
		}
		s.close(t)
	}
}
