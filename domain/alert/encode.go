package alert

import (
	"encoding/json"
	"errors"
)

// Encode is the book as stores keep it.
func (b Book) Encode() []byte {
	if len(b.Alerts)+len(b.Silences) == 0 {
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return text
}

// Decode reads what Encode wrote; nothing is an empty book.
func Decode(text []byte) (b Book, err error) {
	if len(text) == 0 {
		return b, nil
	}
	if json.Unmarshal(text, &b) != nil {
		return Book{}, errors.New("the book of alerts is damaged")
	}
	return b, nil
}

// Clone is a book of its own.
func (b Book) Clone() Book {
	c, err := Decode(b.Encode())
	if err != nil {
		panic(err)
	}
	return c
}
