package badgerstore

import (
	"encoding/binary"
	"errors"
)

// encoding is the first byte of every value.
const encoding = 1

var (
	errNewer   = errors.New("it was written by a newer version of the program: start that one")
	errDamaged = errors.New("it is damaged: restore the data folder from a backup")
)

// encoder appends fields to a value.
type encoder []byte

func newEncoder() encoder { return encoder{encoding} }

func (e *encoder) bytes(tag byte, v []byte) {
	if len(v) > 0 {
		e.item(tag, v)
	}
}

// item is bytes for one of a list: it is there even when it is empty.
func (e *encoder) item(tag byte, v []byte) {
	*e = append(*e, tag)
	*e = binary.AppendUvarint(*e, uint64(len(v)))
	*e = append(*e, v...)
}

func (e *encoder) text(tag byte, v string) { e.bytes(tag, []byte(v)) }

func (e *encoder) int(tag byte, v int64) {
	if v == 0 {
		return
	}
	var b [binary.MaxVarintLen64]byte
	e.bytes(tag, b[:binary.PutVarint(b[:], v)])
}

func (e *encoder) bool(tag byte, v bool) {
	if v {
		e.int(tag, 1)
	}
}

// field is one field on its way back. Its methods keep the first thing that is wrong in the record's error.
type field struct {
	tag byte
	raw []byte
	err *error
}

func (f field) fail(err error) {
	if *f.err == nil {
		*f.err = err
	}
}

func (f field) int() int64 {
	v, n := binary.Varint(f.raw)
	if n != len(f.raw) {
		f.fail(errDamaged)
	}
	return v
}

func (f field) text() string { return string(f.raw) }

func (f field) bytes() []byte { return append([]byte(nil), f.raw...) }

func (f field) copy(into []byte) {
	if copy(into, f.raw) != len(f.raw) || len(f.raw) != len(into) {
		f.fail(errDamaged)
	}
}

// unknown refuses a tag that this version does not know.
func (f field) unknown() { f.fail(errNewer) }

// decode hands the fields of a value to take, one by one.
func decode(value []byte, take func(field)) error {
	switch {
	case len(value) == 0:
		return errDamaged
	case value[0] != encoding:
		return errNewer
	}
	return fields(value[1:], take)
}

// fields is decode for what has no encoding byte: a record within a record.
func fields(b []byte, take func(field)) error {
	var err error
	for len(b) > 0 && err == nil {
		tag := b[0]
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return errDamaged
		}
		b = b[1+n:]
		take(field{tag, b[:size], &err})
		b = b[size:]
	}
	return err
}
