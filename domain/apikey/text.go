// Package apikey holds what a program signs in with in the name of its owner: a secret that lives long, may do little, and dies at once.
package apikey

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"strings"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
)

// Why an API key is refused. A revoked one is a *revocation.RevokedError.
var (
	// ErrMalformed says that a text is not an API key.
	ErrMalformed = errors.New("the API key is malformed")
	// ErrInvalid says that there is no such key, or another secret belongs to it.
	ErrInvalid = errors.New("the API key is invalid")
	// ErrEnvironment says that a key was made for another environment than it was sent to.
	ErrEnvironment = errors.New("the API key is for another environment")
	// ErrExpired says that the key has reached its time, or has been out of use since it was rotated.
	ErrExpired = errors.New("the API key has expired")
)

// Environment is where a key is good. It stands in the key's text, so that one that strays is seen to.
type Environment string

// The environments.
const (
	Development Environment = "dev"
	Staging     Environment = "stg"
	Production  Environment = "prd"
)

// Prefix begins every API key, so that scanners recognise a leaked one.
const Prefix = "xt_"

const (
	idStart     = len(Prefix) + 3 + 1
	secretStart = idStart + 32 + 1
	secretSize  = 43 // of 62 characters: 256.03 bits
	sumStart    = secretStart + secretSize
)

// Size is the length of a key's text, in bytes.
const Size = sumStart + 8

// alphabet is of letters and digits alone: no tool parts a key when it is double-clicked, put into a URL or split at its underscores.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Proof is what is left of a key's text when its secret is taken away: which key it is for, and what to hold against what is stored.
type Proof struct {
	Environment Environment
	ID          id.APIKey
	Hash        [32]byte // SHA-256 of the text without its checksum: 256 random bits need no slow hash
}

// Make draws the secret of a new key. The text is xt_, the environment, an underscore, the id as 32 hexadecimal digits, an underscore, 43 random letters and
// digits, and the CRC-32 (IEEE) of all that as 8 hexadecimal digits, by which a scanner tells a key from a look-alike. It exists here once: only the proof is kept.
// A source that fails or ends early yields its error and no key; one that repeats itself, id.ErrNotRandom.
func Make(env Environment, kid id.APIKey, random io.Reader) (secret.Text, Proof, error) {
	b := make([]byte, 0, Size)
	b = append(b, Prefix...)
	b = append(b, env...)
	b = append(b, '_')
	b = hex.AppendEncode(b, kid[:])
	b = append(b, '_')
	b, err := draw(b, random)
	if err != nil {
		return secret.Text{}, Proof{}, err
	}
	p := Proof{Environment: env, ID: kid, Hash: sha256.Sum256(b)}
	sum := checksum(b)
	return secret.New(string(append(b, sum[:]...))), p, nil
}

// draw appends secretSize characters, each as likely as any other: bytes that 62 does not share out evenly are drawn anew.
func draw(b []byte, random io.Reader) ([]byte, error) {
	const even = 256 - 256%len(alphabet)
	n, same := 0, true
	for range 16 { // a working source needs a second time once in 10^15 times
		var raw [64]byte
		if _, err := io.ReadFull(random, raw[:]); err != nil {
			return nil, err
		}
		for _, r := range raw {
			if int(r) >= even {
				continue
			}
			b = append(b, alphabet[int(r)%len(alphabet)])
			same = same && b[len(b)-1] == b[len(b)-1-n]
			if n++; n < secretSize {
				continue
			}
			if same {
				return nil, id.ErrNotRandom
			}
			return b, nil
		}
	}
	return nil, id.ErrNotRandom
}

// Looks reports whether s begins as an API key does, and no token: which of the two a bearer sent.
func Looks(s string) bool { return strings.HasPrefix(s, Prefix) }

// Parse reads the text form, strictly, the length first: whatever has not the form is ErrMalformed. What it answers has proved nothing yet. It keeps no
// reference to the text.
func Parse(s string) (Proof, error) {
	if len(s) != Size || !Looks(s) || s[idStart-1] != '_' || s[secretStart-1] != '_' {
		return Proof{}, ErrMalformed
	}
	p := Proof{}
	switch s[len(Prefix) : idStart-1] {
	case string(Development):
		p.Environment = Development
	case string(Staging):
		p.Environment = Staging
	case string(Production):
		p.Environment = Production
	default:
		return Proof{}, ErrMalformed
	}
	body, strange := []byte(s[:sumStart]), false
	for _, c := range body[secretStart:] {
		strange = strange || !inAlphabet[c]
	}
	kid, err := id.Parse[id.APIKey](s[idStart : secretStart-1])
	if sum := checksum(body); strange || err != nil || s[sumStart:] != string(sum[:]) {
		return Proof{}, ErrMalformed
	}
	p.ID, p.Hash = kid, sha256.Sum256(body)
	return p, nil
}

// inAlphabet says of each byte whether it may stand in a secret.
var inAlphabet = func() (in [256]bool) {
	for i := range len(alphabet) {
		in[alphabet[i]] = true
	}
	return in
}()

// Named answers the id that a text names, if it has the length of a key. Nothing else of it was looked at.
func Named(s string) (kid id.APIKey, ok bool) {
	if len(s) != Size || !Looks(s) {
		return kid, false
	}
	kid, err := id.Parse[id.APIKey](s[idStart : secretStart-1])
	return kid, err == nil
}

// Again knows a text again that Parse has taken, at half the cost. The zero value knows none.
type Again struct{ sum [Size - sumStart]byte }

// AgainOf is of a text that Parse has taken.
func AgainOf(s string) Again { return Again{[Size - sumStart]byte([]byte(s[sumStart:]))} }

// Proves reports whether s is the text, and proves k.
func (a Again) Proves(k *Key, s string) bool {
	if len(s) != Size || a == (Again{}) {
		return false
	}
	var whole [Size]byte
	copy(whole[:], s)
	hash := sha256.Sum256(whole[:sumStart])
	return subtle.ConstantTimeCompare(hash[:], k.Hash[:])&subtle.ConstantTimeCompare(whole[sumStart:], a.sum[:]) == 1
}

// checksum is the CRC-32 of a key's text as it ends it.
func checksum(body []byte) (digits [8]byte) {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE(body))
	hex.Encode(digits[:], sum[:])
	return digits
}
