package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// Hash is a SHA-256.
type Hash [32]byte

// String is 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Salt hides what a commitment is to. Without it nobody can tell what that was, not even by trying what it may have been. The zero Salt is one that was erased.
type Salt [32]byte

// ChainID names one chain. It is ChainOf of the first key that signed for it.
type ChainID [16]byte

// String is 32 lower-case hexadecimal digits.
func (c ChainID) String() string { return hex.EncodeToString(c[:]) }

// KeyID names a public key that signs checkpoints: the beginning of its SHA-256.
type KeyID [8]byte

// String is 16 lower-case hexadecimal digits.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// KeyIDOf names a public key.
func KeyIDOf(public ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(public)
	return KeyID(sum[:8])
}

// ChainOf names the chain that begins under a public key.
func ChainOf(public ed25519.PublicKey) ChainID {
	sum := sha256.Sum256(append([]byte("xteam audit chain\x00"), public...))
	return ChainID(sum[:16])
}

// Genesis is what the first record of a chain holds as the hash of the one before: so no record of one chain fits into another.
func (c ChainID) Genesis() Hash {
	return sha256.Sum256(append([]byte("xteam audit genesis\x00"), c[:]...))
}

// Record is one link of the chain: what is not personal of an event, in the clear, and a commitment to the rest. It is never changed.
type Record struct {
	Seq        uint64 // from 1
	Prev       Hash   // of the record before
	Event      id.Event
	Time       instant.Instant // of the event, by its node's clock: the order is that of Seq, whatever clocks say
	Kind       Kind
	Severity   Severity
	Outcome    Outcome
	Actor      string // as the event's: ids, and words of the product
	Subject    string
	Reason     string
	Commitment Hash // of the Personal part, under the link's Salt
}

// Personal is what an event tells that may be about a person. It stands beside the chain, and can be erased there.
type Personal struct {
	Email     string
	IPAddress string
	UserAgent string
	RequestID string
	Details   map[string]string
}

// Link is a record as it is kept: with what is beside it.
type Link struct {
	Record     Record
	Salt       Salt        // of the commitment; zero once the personal part is erased
	Behind     uint64      // a position of ports.Events behind which the event stands, with fewer than MaxBatch others between; it is the store's own, and no part of the chain
	Checkpoint *Checkpoint // what was signed of the chain up to this record; nil for most
}

// MaxBatch is how many records are linked at once, at most.
const MaxBatch = 512

// maxText bounds a text of a record, in bytes: ids and words are far shorter.
const maxText = 256

// The times that a record can have: those of four-digit years.
const (
	earliest instant.Instant = -62_135_596_800_000_000
	latest   instant.Instant = 253_402_300_799_999_999
)

// Part takes an event apart: what is in the clear of its record, without its place in a chain, and what is personal.
func Part(e *Event) (Record, Personal) {
	r := Record{Event: e.ID, Time: min(max(e.Time, earliest), latest), Kind: Kind(plain(string(e.Kind))), Severity: e.Severity, Outcome: Outcome(plain(string(e.Outcome))),
		Actor: plain(e.Actor), Subject: plain(e.Subject), Reason: plain(e.Reason)}
	p := Personal{Email: valid(e.Email), IPAddress: valid(e.IPAddress), UserAgent: valid(e.UserAgent), RequestID: valid(e.RequestID)}
	for _, name := range slices.Sorted(maps.Keys(e.Details)) {
		if p.Details == nil {
			p.Details = make(map[string]string, len(e.Details))
		}
		p.Details[valid(name)] = valid(e.Details[name])
	}
	return r, p
}

// Tells reports whether the record tells of that event: whether all that it has in the clear is the event's.
func (r *Record) Tells(e *Event) bool {
	is, _ := Part(e)
	is.Seq, is.Prev, is.Commitment = r.Seq, r.Prev, r.Commitment
	return is == *r
}

// Erase takes from an event all that is personal, and leaves what its record has.
func (e *Event) Erase() {
	e.Email, e.IPAddress, e.UserAgent, e.RequestID, e.Details = "", "", "", "", nil
}

// valid is a text with U+FFFD in the place of what is no UTF-8: so that it can be exported, and read again as it was.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func plain(s string) string {
	s = valid(s)
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// The labels keep a hash or a signature of one kind from being taken for another's.
const (
	recordLabel     = "xteam audit record\x00"
	personalLabel   = "xteam audit personal\x00"
	checkpointLabel = "xteam audit checkpoint\x00"
)

// format is the first byte of every encoding: its version.
const format = 1

// ErrEncoding says that bytes are no encoding of this version.
var ErrEncoding = errors.New("it is no record of an audit trail, or of a newer version of the program")

// Append appends the record's one encoding: the version; Seq, Prev, Event, Time and Severity in their fixed lengths; the texts, each behind its length in two bytes; the commitment. Integers are
// big-endian.
func (r *Record) Append(b []byte) []byte {
	b = append(b, format)
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = append(b, r.Prev[:]...)
	b = append(b, r.Event[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	b = append(b, byte(r.Severity))
	for _, s := range [...]string{string(r.Kind), string(r.Outcome), r.Actor, r.Subject, r.Reason} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return append(b, r.Commitment[:]...)
}

// DecodeRecord reads what Append wrote. Of no record there are two encodings.
func DecodeRecord(b []byte) (r Record, err error) {
	d := decoder{rest: b}
	if v := d.take(1); len(v) == 0 || v[0] != format {
		return Record{}, ErrEncoding
	}
	r.Seq = d.uint64()
	copy(r.Prev[:], d.take(len(r.Prev)))
	copy(r.Event[:], d.take(len(r.Event)))
	r.Time = instant.Instant(d.uint64())
	if s := d.take(1); len(s) == 1 {
		r.Severity = Severity(s[0])
	}
	r.Kind, r.Outcome = Kind(d.text()), Outcome(d.text())
	r.Actor, r.Subject, r.Reason = d.text(), d.text(), d.text()
	copy(r.Commitment[:], d.take(len(r.Commitment)))
	if d.bad || len(d.rest) > 0 || !r.fits() {
		return Record{}, ErrEncoding
	}
	return r, nil
}

// fits reports whether a record is one that Part and a chain can make.
func (r *Record) fits() bool {
	ok := r.Seq > 0 && r.Time >= earliest && r.Time <= latest
	for _, s := range [...]string{string(r.Kind), string(r.Outcome), r.Actor, r.Subject, r.Reason} {
		ok = ok && len(s) <= maxText && utf8.ValidString(s)
	}
	return ok
}

type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.bad = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) text() string {
	if b := d.take(2); len(b) == 2 {
		return string(d.take(int(binary.BigEndian.Uint16(b))))
	}
	return ""
}

// Hash is what the next record holds of this one.
func (r *Record) Hash() Hash {
	var array [512]byte
	return r.hash(&array)
}

// hash is Hash, in room that is used again.
func (r *Record) hash(room *[512]byte) Hash {
	return sha256.Sum256(r.Append(append(room[:0], recordLabel...)))
}

// Commit is the commitment to the personal part: the SHA-256 of the salt and of the part's one encoding, which has each text behind its length in four bytes, and the details sorted by their names.
func (p *Personal) Commit(salt Salt) Hash {
	h, _ := p.commit(salt, nil)
	return h
}

func (p *Personal) commit(salt Salt, room []byte) (Hash, []byte) {
	b := append(room[:0], personalLabel...)
	b = append(b, salt[:]...)
	b = append(b, format)
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	text(p.Email)
	text(p.IPAddress)
	text(p.UserAgent)
	text(p.RequestID)
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.Details)))
	var array [8]string
	for _, name := range p.names(array[:0]) {
		text(name)
		text(p.Details[name])
	}
	return sha256.Sum256(b), b
}

// names are those of the details, sorted.
func (p *Personal) names(room []string) []string {
	for name := range p.Details {
		room = append(room, name)
	}
	slices.Sort(room)
	return room
}

// Chained are the links of events behind a head: of each event its record, and its salt. The positions are for the caller to fill in.
func (c *Checkpoint) Chained(events []Event, salts []Salt) []Link {
	links := make([]Link, len(events))
	seq, prev := c.Seq, c.Head
	var room []byte
	for i := range events {
		r, p := Part(&events[i])
		seq++
		r.Seq, r.Prev = seq, prev
		r.Commitment, room = p.commit(salts[i], room)
		prev = r.Hash()
		links[i] = Link{Record: r, Salt: salts[i]}
	}
	return links
}

// Purpose is what a checkpoint says. The numbers are stored: they never change meaning.
type Purpose uint8

// The purposes.
const (
	Headed   Purpose = 1 // the chain had these records, and this head
	Cut      Purpose = 2 // the records up to this one were taken away, for they were too old to be kept
	Exported Purpose = 3 // these records, and the bytes before, are an export
)

var purposes = map[Purpose]string{Headed: "head", Cut: "cut", Exported: "export"}

// String is head, cut or export.
func (p Purpose) String() string { return purposes[p] }

// Checkpoint is a count and a head that were signed. Whoever has one, and the public key, knows whether a trail still holds what it held then.
type Checkpoint struct {
	Purpose   Purpose
	Chain     ChainID
	Key       KeyID // that signed
	Time      instant.Instant
	First     uint64 // of an export: its first record, or the one that would be it
	Before    Hash   // of an export: what that one holds as the hash before it
	Seq       uint64 // the last record
	Head      Hash   // its hash; of an empty chain Genesis
	Position  uint64 // of a head: the position of ports.Events up to which everything is linked
	Digest    Hash   // of an export: the SHA-256 of all its bytes before this line
	Signature [ed25519.SignatureSize]byte
}

// Head is where a chain ends, and where what is kept of it begins.
type Head struct {
	Last Checkpoint // Headed; the zero value of a trail that has not begun
	Cut  Checkpoint // the last Cut; the zero value when everything is kept
}

// IsZero reports whether there is none.
func (c *Checkpoint) IsZero() bool { return c.Purpose == 0 }

// checkpointSize is the length of an encoding, in bytes.
const checkpointSize = 2 + 16 + 8 + 8 + 8 + 32 + 8 + 32 + 8 + 32

// statement appends what is signed: everything but the signature, in fixed lengths.
func (c *Checkpoint) statement(b []byte) []byte {
	b = append(b, format, byte(c.Purpose))
	b = append(b, c.Chain[:]...)
	b = append(b, c.Key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Time))
	b = binary.BigEndian.AppendUint64(b, c.First)
	b = append(b, c.Before[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Seq)
	b = append(b, c.Head[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Position)
	return append(b, c.Digest[:]...)
}

// Append appends the checkpoint's one encoding, the signature at its end.
func (c *Checkpoint) Append(b []byte) []byte { return append(c.statement(b), c.Signature[:]...) }

// DecodeCheckpoint reads what Append wrote. It does not look at the signature.
func DecodeCheckpoint(b []byte) (c Checkpoint, err error) {
	if len(b) != checkpointSize+len(c.Signature) || b[0] != format || purposes[Purpose(b[1])] == "" {
		return c, ErrEncoding
	}
	d := decoder{rest: b[2:]}
	c.Purpose = Purpose(b[1])
	copy(c.Chain[:], d.take(len(c.Chain)))
	copy(c.Key[:], d.take(len(c.Key)))
	c.Time = instant.Instant(d.uint64())
	c.First = d.uint64()
	copy(c.Before[:], d.take(len(c.Before)))
	c.Seq = d.uint64()
	copy(c.Head[:], d.take(len(c.Head)))
	c.Position = d.uint64()
	copy(c.Digest[:], d.take(len(c.Digest)))
	copy(c.Signature[:], d.rest)
	if c.Time < earliest || c.Time > latest {
		return Checkpoint{}, ErrEncoding
	}
	return c, nil
}

// Message is what is to be signed.
func (c *Checkpoint) Message() []byte { return c.statement([]byte(checkpointLabel)) }

// SignedBy reports whether the holder of the public key's other half signed it.
func (c *Checkpoint) SignedBy(public ed25519.PublicKey) bool {
	return len(public) == ed25519.PublicKeySize && c.Key == KeyIDOf(public) && ed25519.Verify(public, c.Message(), c.Signature[:])
}

// Same reports whether two checkpoints say the same of the chain.
func (c *Checkpoint) Same(o *Checkpoint) bool {
	return c.Chain == o.Chain && c.Seq == o.Seq && bytes.Equal(c.Head[:], o.Head[:])
}

// ErrDisorder says that links do not follow a head, or that a checkpoint is none of what it was given for.
var ErrDisorder = errors.New("the links of an audit trail do not follow its head")

// Follows judges whether links can be appended behind a head, and next be the head then. It does not look at hashes and signatures. A trail without links may begin behind any record.
func Follows(was Checkpoint, links []Link, next Checkpoint) error {
	begins := was.IsZero() && len(links) == 0
	ok := next.Purpose == Headed && (begins || next.Seq == was.Seq+uint64(len(links))) && len(links) <= MaxBatch
	for i := range links {
		ok = ok && links[i].Record.Seq == was.Seq+uint64(i)+1
	}
	if !ok {
		return ErrDisorder
	}
	return nil
}

// Cuts judges whether a cut can be made of a trail with that head.
func (h *Head) Cuts(cut Checkpoint) error {
	if cut.Purpose != Cut || cut.Seq == 0 || cut.Seq >= h.Last.Seq || cut.Seq < h.Cut.Seq || cut.Seq == h.Cut.Seq && cut != h.Cut {
		return ErrDisorder
	}
	return nil
}

// keyBegin begins the text of a public key.
const keyBegin = "ed25519:"

// KeyText is a public key as people carry it.
func KeyText(public ed25519.PublicKey) string {
	return keyBegin + base64.RawURLEncoding.EncodeToString(public)
}

// ErrKey says that a text is no public key.
var ErrKey = errors.New("a public key of an audit trail is ed25519: and 43 characters, as `xteam audit pubkey` prints it")

// ParseKey reads what KeyText wrote.
func ParseKey(text string) (ed25519.PublicKey, error) {
	digits, ok := strings.CutPrefix(text, keyBegin)
	b, err := base64.RawURLEncoding.Strict().DecodeString(digits)
	if !ok || err != nil || len(b) != ed25519.PublicKeySize {
		return nil, ErrKey
	}
	return b, nil
}
