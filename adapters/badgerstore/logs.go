package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The form of Badger's log of what is in no table yet: a head, and then entries of transactions.
const (
	logHead     = 20      // the number of the key that it is encrypted with, 8 bytes, 0 for none; and 12 random ones
	longestKey  = 1 << 16 // in bytes
	bitInTxn    = 1 << 6  // of an entry's first byte: it belongs to a transaction
	bitEndOfTxn = 1 << 7  // it ends one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkLogs looks at the logs before Badger does, which ends each of them, for ever, at the first place that it cannot read. Every transaction was synced before the next one was
// written: so a crash leaves one incomplete at most, the last, and that was not acknowledged. checkLogs tells of it and lets Badger drop it. What is more than that is damage,
// and would lose what was acknowledged: it is refused, and the files stay as they are. It answers the version of the last complete transaction, or 0.
func checkLogs(dir string, largest int64, log *slog.Logger) (last uint64, err error) {
	paths, err := filepath.Glob(filepath.Join(escape(dir), "*.mem"))
	if err != nil {
		return 0, err
	}
	slices.SortFunc(paths, func(a, b string) int { return logNumber(a) - logNumber(b) })
	type tail struct {
		name      string
		from, end int
	}
	var tails []tail
	var data []byte
	for _, path := range paths {
		if data, err = read(path, data); err != nil {
			return 0, err
		}
		name := filepath.Base(path)
		versions, from, ok := complete(data)
		for _, v := range versions {
			if last > 0 && v > last+1 {
				return 0, fmt.Errorf("%s does not begin where the log before it ends, and what was acknowledged between them is gone", name)
			}
			last = v
		}
		end := content(data)
		if end <= from {
			continue
		}
		if !ok || int64(end-from) > largest || later(data[from:end], last) {
			return 0, fmt.Errorf("%s is damaged behind its byte %d, and what was acknowledged is there", name, from)
		}
		tails = append(tails, tail{name, from, end})
	}
	for _, t := range tails {
		log.Warn("a change that was being written when the store was stopped is incomplete, and dropped", "folder", dir, "file", t.name, "from", t.from, "bytes", t.end-t.from)
	}
	return last, nil
}

// firstLog syncs the folder, with the name of the log that Badger has just begun, and answers the number of the next one.
func firstLog(dir string) (next int, err error) {
	paths, err := filepath.Glob(filepath.Join(escape(dir), "*.mem"))
	if err != nil {
		return 0, refusal(dir, err)
	}
	for _, path := range paths {
		next = max(next, logNumber(path)+1)
	}
	if err := syncFolder(dir); err != nil {
		return 0, refusal(dir, err)
	}
	return next, nil
}

// nameLog syncs the folder when Badger has begun the next log, which it syncs, but not its name.
func (db *DB) nameLog() error {
	path := db.logPath(db.nextLog)
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncFolder(db.dir)
	}
	if err == nil {
		db.space.begun(path)
	}
	db.nextLog++
	return err
}

func (db *DB) logPath(number int) string {
	return filepath.Join(db.dir, fmt.Sprintf("%05d.mem", number))
}

// logNumber is the number that a log is named by. Badger refuses other names.
func logNumber(path string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".mem"))
	return n
}

// complete answers the versions of the complete transactions at the beginning of a log, and where the last of them ends, exactly as Badger reads them. It is not ok when
// Badger would refuse the log.
func complete(data []byte) (versions []uint64, end int, ok bool) {
	end = logHead
	if len(data) < logHead {
		return nil, end, true
	}
	if binary.BigEndian.Uint64(data) != 0 {
		return nil, 0, false
	}
	var open uint64 // the version of the transaction of which there are entries, or 0
	for at := end; ; {
		e, ok := parseEntry(data[at:])
		at += e.size
		switch {
		case !ok:
			return versions, end, e.size == 0
		case e.inTxn():
			if open == 0 {
				open = e.version
			}
			if e.version != open {
				return versions, end, true
			}
		case e.endsTxn():
			if e.version != open {
				return versions, end, true
			}
			versions, open, end = append(versions, open), 0, at
		default: // Badger's own, without a transaction: its collection of values writes such
			if open != 0 {
				return versions, end, true
			}
			end = at
		}
	}
}

// later reports whether there are entries of another transaction in what is left of a log than the one that may be incomplete. That has the version behind last, or any when last is 0.
func later(rest []byte, last uint64) bool {
	known, next := last > 0, last+1
	for at := 0; at < len(rest); {
		e, ok := parseEntry(rest[at:])
		if !ok || !e.inTxn() && !e.endsTxn() { // behind a place that cannot be read the next entry may begin at any byte
			at++
			continue
		}
		at += e.size
		if !known {
			known, next = true, e.version
		}
		if e.version != next {
			return true
		}
	}
	return false
}

// logEntry is what matters of an entry.
type logEntry struct {
	meta    byte
	version uint64
	size    int // of all of it, in bytes
}

func (e logEntry) inTxn() bool { return e.meta&bitInTxn != 0 }

func (e logEntry) endsTxn() bool { return e.meta&bitEndOfTxn != 0 }

// parseEntry reads the entry at the beginning of b, when there is a whole one with the right sum: two bytes of flags, the lengths of key and value and the
// time of its end as uvarints, key, value, and the CRC-32C of all that. The last 8 bytes of the key are the complement of the version; the end of a transaction has the version
// in its value, as digits. When a length is no number at all, the size is negative: so it was never written.
func parseEntry(b []byte) (e logEntry, ok bool) {
	if len(b) < 2 {
		return e, false
	}
	at := 2
	var head [3]uint64
	for i := range head {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return logEntry{size: n}, false
		}
		head[i], at = v, at+n
	}
	key, value := uint64(uint32(head[0])), uint64(uint32(head[1]))
	if key == 0 || key > longestKey || key+value+crc32.Size > uint64(len(b)-at) {
		return e, false
	}
	afterKey, sum := at+int(key), at+int(key+value)
	if crc32.Checksum(b[:sum], castagnoli) != binary.BigEndian.Uint32(b[sum:]) {
		return e, false
	}
	e = logEntry{meta: b[0], size: sum + crc32.Size}
	if e.endsTxn() && !e.inTxn() {
		v, err := strconv.ParseUint(string(b[afterKey:sum]), 10, 64)
		if err != nil {
			return logEntry{}, false
		}
		e.version = v
	} else if key > 8 {
		e.version = ^binary.BigEndian.Uint64(b[afterKey-8:])
	}
	return e, true
}

// content is the length of data without the zeros at its end: a log is as long as it may become from its beginning.
func content(data []byte) int {
	var zeros [4096]byte
	for len(data) >= len(zeros) && bytes.Equal(data[len(data)-len(zeros):], zeros[:]) {
		data = data[:len(data)-len(zeros)]
	}
	return len(bytes.TrimRight(data, "\x00"))
}

// removeEmpty removes logs without a byte. Badger leaves such a file when it is killed while it makes or deletes one, and stumbles over it at its next start.
func removeEmpty(files []string) error {
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() > 0 || strings.HasSuffix(path, ".sst") {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
