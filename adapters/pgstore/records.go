package pgstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
)

// encoding is the first byte of every record; the rest is JSON. What a client may have sent stands as bytes in it, for JSON would mend a text that is no UTF-8. A name is
// never given another meaning, and one that is not known was written by a newer version: it is refused, for what is not understood must not be written back without it.
const encoding = 1

var (
	errNewer   = errors.New("it was written by a newer version of the program: start that one")
	errDamaged = errors.New("it is damaged: restore the database from a backup")
)

func encode(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil {
		panic(err) // of numbers, bytes and texts there is nothing that cannot be written
	}
	return append([]byte{encoding}, b...)
}

func decode(b []byte, record any) error {
	switch {
	case len(b) == 0:
		return errDamaged
	case b[0] != encoding:
		return errNewer
	}
	strict := json.NewDecoder(bytes.NewReader(b[1:]))
	strict.DisallowUnknownFields()
	if strict.Decode(record) == nil && !strict.More() {
		return nil
	}
	if json.Valid(b[1:]) {
		return errNewer
	}
	return errDamaged
}

// fixed copies what has to have its length.
func fixed(into, from []byte) error {
	if copy(into, from) != len(from) || len(from) != len(into) {
		return errDamaged
	}
	return nil
}

// optional is fixed for what may be missing.
func optional(into, from []byte) error {
	if len(from) == 0 {
		return nil
	}
	return fixed(into, from)
}

func unless(zero bool, b []byte) []byte {
	if zero {
		return nil
	}
	return b
}

type accountRecord struct {
	Email         string `json:"email,omitempty"`
	Username      string `json:"username,omitempty"`
	FullName      string `json:"full_name,omitempty"`
	Role          string `json:"role,omitempty"`
	Password      []byte `json:"password,omitempty"`
	Disabled      bool   `json:"disabled,omitempty"`
	Generation    uint64 `json:"generation,omitempty"`
	SessionsFrom  uint64 `json:"sessions_from,omitempty"`
	SessionsEnded uint8  `json:"sessions_ended,omitempty"`
	KeysFrom      uint64 `json:"keys_from,omitempty"`
	KeysEnded     uint8  `json:"keys_ended,omitempty"`
	Created       int64  `json:"created,omitempty"`
	Updated       int64  `json:"updated,omitempty"`
	Decoy         bool   `json:"decoy,omitempty"`
	Places        []byte `json:"places,omitempty"`
}

func encodeAccount(a account.Account) []byte {
	return encode(accountRecord{a.Email.String(), a.Username.String(), a.FullName.String(), string(a.Role), []byte(a.Password.RevealPlaintext()), a.Disabled,
		uint64(a.Generation), uint64(a.SessionsFrom), uint8(a.SessionsEnded), uint64(a.KeysFrom), uint8(a.KeysEnded), int64(a.Created), int64(a.Updated), a.Decoy, a.Places.Bytes()})
}

func decodeAccount(uid id.User, b []byte) (account.Account, error) {
	var r accountRecord
	if err := decode(b, &r); err != nil {
		return account.Account{}, err
	}
	a := account.Account{ID: uid, Role: account.Role(r.Role), Password: secret.New(string(r.Password)), Disabled: r.Disabled, Decoy: r.Decoy,
		Generation: token.Generation(r.Generation), SessionsFrom: token.Generation(r.SessionsFrom), SessionsEnded: revocation.Reason(r.SessionsEnded),
		KeysFrom: token.Generation(r.KeysFrom), KeysEnded: revocation.Reason(r.KeysEnded), Created: instant.Instant(r.Created), Updated: instant.Instant(r.Updated)}
	var wrong [4]error
	a.Places, wrong[3] = session.ParsePlaces(r.Places)
	if r.Email != "" {
		a.Email, wrong[0] = account.ParseEmail(r.Email)
	}
	if r.Username != "" {
		a.Username, wrong[1] = account.ParseUsername(r.Username)
	}
	if r.FullName != "" {
		a.FullName, wrong[2] = account.ParseFullName(r.FullName)
	}
	if errors.Join(wrong[:]...) != nil {
		return account.Account{}, errDamaged
	}
	return a, nil
}

type originRecord struct {
	Address   []byte `json:"address,omitempty"`
	UserAgent []byte `json:"user_agent,omitempty"`
}

func originOf(o session.Origin) originRecord {
	address, _ := o.Address.MarshalBinary() // never fails
	return originRecord{address, []byte(o.UserAgent)}
}

func (r originRecord) origin(wrong *error) session.Origin {
	var address netip.Addr
	if address.UnmarshalBinary(r.Address) != nil {
		*wrong = errDamaged
	}
	return session.Origin{Address: address, UserAgent: string(r.UserAgent)}
}

type sessionRecord struct {
	User        []byte       `json:"user"`
	Generation  uint64       `json:"generation,omitempty"`
	Epoch       uint64       `json:"epoch,omitempty"`
	Counter     uint64       `json:"counter,omitempty"`
	LiveHash    []byte       `json:"live_hash"`
	Idle        int64        `json:"idle,omitempty"`
	Rotated     int64        `json:"rotated,omitempty"`
	RotatedFrom originRecord `json:"rotated_from"`
	Successor   []byte       `json:"successor,omitempty"`
	Created     int64        `json:"created,omitempty"`
	LastUsed    int64        `json:"last_used,omitempty"`
	Expires     int64        `json:"expires,omitempty"`
	Device      originRecord `json:"device"`
	LastFrom    originRecord `json:"last_from"`
	Ended       int64        `json:"ended,omitempty"`
	EndedReason uint8        `json:"ended_reason,omitempty"`
}

func encodeSession(s session.Session) []byte {
	return encode(sessionRecord{s.User[:], uint64(s.Generation), uint64(s.Epoch), s.Counter, s.LiveHash[:], int64(s.Idle), int64(s.Last.At), originOf(s.Last.From),
		s.Last.Successor, int64(s.Created), int64(s.LastUsed), int64(s.Expires), originOf(s.Device), originOf(s.LastFrom), int64(s.Ended), uint8(s.EndedReason)})
}

func decodeSession(sid id.Session, b []byte) (session.Session, error) {
	var r sessionRecord
	err := decode(b, &r)
	if err != nil {
		return session.Session{}, err
	}
	s := session.Session{ID: sid, Generation: token.Generation(r.Generation), Epoch: token.Epoch(r.Epoch), Counter: r.Counter, Idle: instant.Instant(r.Idle),
		Last:    session.Rotation{At: instant.Instant(r.Rotated), From: r.RotatedFrom.origin(&err), Successor: r.Successor},
		Created: instant.Instant(r.Created), LastUsed: instant.Instant(r.LastUsed), Expires: instant.Instant(r.Expires), Device: r.Device.origin(&err),
		LastFrom: r.LastFrom.origin(&err), Ended: instant.Instant(r.Ended), EndedReason: revocation.Reason(r.EndedReason)}
	if err := errors.Join(err, fixed(s.User[:], r.User), fixed(s.LiveHash[:], r.LiveHash)); err != nil {
		return session.Session{}, errDamaged
	}
	return s, nil
}

type apiKeyRecord struct {
	Owner         []byte       `json:"owner"`
	Generation    uint64       `json:"generation,omitempty"`
	Environment   string       `json:"environment,omitempty"`
	Name          string       `json:"name,omitempty"`
	Scopes        uint64       `json:"scopes,omitempty"`
	Hash          []byte       `json:"hash"`
	Created       int64        `json:"created,omitempty"`
	Expires       int64        `json:"expires,omitempty"`
	Successor     []byte       `json:"successor,omitempty"`
	Retires       int64        `json:"retires,omitempty"`
	Revoked       int64        `json:"revoked,omitempty"`
	RevokedReason uint8        `json:"revoked_reason,omitempty"`
	LastUsed      int64        `json:"last_used,omitempty"`
	LastFrom      originRecord `json:"last_from"`
	Uses          uint64       `json:"uses,omitempty"`
	MadeBySession []byte       `json:"made_by_session,omitempty"`
	MadeByKey     []byte       `json:"made_by_key,omitempty"`
	Networks      []string     `json:"networks,omitempty"`
	Habit         *habitRecord `json:"habit,omitempty"`
	Limit         int64        `json:"limit,omitempty"`
	Warned        uint8        `json:"warned,omitempty"`
	Known         []byte       `json:"known,omitempty"`
	Roamed        int64        `json:"roamed,omitempty"`
}

type habitRecord struct {
	Hour    int64  `json:"hour,omitempty"`
	Uses    uint64 `json:"uses,omitempty"`
	Unusual bool   `json:"unusual,omitempty"`
	Average uint64 `json:"average,omitempty"`
	Hours   uint32 `json:"hours,omitempty"`
}

func habitOf(h apikey.Habit) *habitRecord {
	if h == (apikey.Habit{}) {
		return nil
	}
	return &habitRecord{h.Hour, h.Uses, h.Unusual, h.Average, h.Hours}
}

// networksOf is the networks as texts, the zero ones at the end left out.
func networksOf(n apikey.Networks) (all []string) {
	for _, p := range n.List() {
		all = append(all, p.String())
	}
	return all
}

func readNetworks(all []string) (n apikey.Networks, err error) {
	if len(all) > len(n) {
		return n, errDamaged
	}
	for i, text := range all {
		if n[i], err = netip.ParsePrefix(text); err != nil {
			return n, errDamaged
		}
	}
	return n, nil
}

func encodeAPIKey(k apikey.Key) []byte {
	return encode(apiKeyRecord{k.Owner[:], uint64(k.Generation), string(k.Environment), k.Name.String(), uint64(k.Scopes), k.Hash[:], int64(k.Created), int64(k.Expires),
		unless(k.Successor.IsZero(), k.Successor[:]), int64(k.Retires), int64(k.Revoked), uint8(k.RevokedReason), int64(k.LastUsed), originOf(k.LastFrom), k.Uses, unless(k.MadeBy.Session.IsZero(), k.MadeBy.Session[:]), unless(k.MadeBy.Key.IsZero(), k.MadeBy.Key[:]),
		networksOf(k.Networks), habitOf(k.Habit), k.Limit, k.Warned, k.Known.Bytes(), int64(k.Roamed)})
}

func decodeAPIKey(kid id.APIKey, b []byte) (apikey.Key, error) {
	var r apiKeyRecord
	err := decode(b, &r)
	if err != nil {
		return apikey.Key{}, err
	}
	k := apikey.Key{ID: kid, Generation: token.Generation(r.Generation), Environment: apikey.Environment(r.Environment), Scopes: apikey.Scopes(r.Scopes),
		Created: instant.Instant(r.Created), Expires: instant.Instant(r.Expires), Retires: instant.Instant(r.Retires), Revoked: instant.Instant(r.Revoked),
		RevokedReason: revocation.Reason(r.RevokedReason), LastUsed: instant.Instant(r.LastUsed), LastFrom: r.LastFrom.origin(&err), Uses: r.Uses, Limit: r.Limit, Warned: r.Warned, Roamed: instant.Instant(r.Roamed)}
	if h := r.Habit; h != nil {
		k.Habit = apikey.Habit{Hour: h.Hour, Uses: h.Uses, Unusual: h.Unusual, Average: h.Average, Hours: h.Hours}
	}
	var wrong, lost, unread error
	k.Networks, lost = readNetworks(r.Networks)
	k.Known, unread = session.ParsePlaces(r.Known)
	if r.Name != "" {
		k.Name, wrong = apikey.ParseName(r.Name)
	}
	if errors.Join(err, wrong, lost, unread, fixed(k.Owner[:], r.Owner), fixed(k.Hash[:], r.Hash), optional(k.Successor[:], r.Successor),
		optional(k.MadeBy.Session[:], r.MadeBySession), optional(k.MadeBy.Key[:], r.MadeByKey)) != nil {
		return apikey.Key{}, errDamaged
	}
	return k, nil
}

type keyRecord struct {
	ID        string `json:"id"`
	Purpose   string `json:"purpose,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	State     int    `json:"state,omitempty"`
	Created   int64  `json:"created,omitempty"`
	Changed   int64  `json:"changed,omitempty"`
	Public    []byte `json:"public,omitempty"`
	Wrapped   []byte `json:"wrapped,omitempty"`
}

type ringRecord struct {
	Keys []keyRecord `json:"keys"`
}

// encodeRing leaves out the secret halves: they are stored wrapped or not at all.
func encodeRing(r keyset.Ring) []byte {
	var all ringRecord
	for _, k := range r.Keys {
		all.Keys = append(all.Keys, keyRecord{k.ID, string(k.Purpose), k.Algorithm, int(k.State), int64(k.Created), int64(k.Changed), k.Public, k.Wrapped})
	}
	return encode(all)
}

func decodeRing(name string, b []byte) (keyset.Ring, error) {
	var all ringRecord
	if err := decode(b, &all); err != nil {
		return keyset.Ring{}, err
	}
	r := keyset.Ring{Name: name}
	for _, k := range all.Keys {
		r.Keys = append(r.Keys, keyset.Key{ID: k.ID, Purpose: keyset.Purpose(k.Purpose), Algorithm: k.Algorithm, State: keyset.State(k.State),
			Created: instant.Instant(k.Created), Changed: instant.Instant(k.Changed), Public: k.Public, Wrapped: k.Wrapped})
	}
	return r, nil
}

type stateRecord struct {
	Epoch         uint64 `json:"epoch,omitempty"`
	LongestAccess int64  `json:"longest_access,omitempty"` // in nanoseconds
	SessionsFrom  uint64 `json:"sessions_from,omitempty"`
	SessionsAfter int64  `json:"sessions_after,omitempty"`
}

func encodeState(s system.State) []byte {
	return encode(stateRecord{uint64(s.Epoch), int64(s.LongestAccess), uint64(s.SessionsFrom), int64(s.SessionsAfter)})
}

// decodeState reads the state; nothing is the zero state of a new database.
func decodeState(b []byte) (system.State, error) {
	if len(b) == 0 {
		return system.State{}, nil
	}
	var r stateRecord
	err := decode(b, &r)
	return system.State{Epoch: token.Epoch(r.Epoch), LongestAccess: time.Duration(r.LongestAccess), SessionsFrom: token.Epoch(r.SessionsFrom),
		SessionsAfter: instant.Instant(r.SessionsAfter)}, err
}

type eventRecord struct {
	Time      int64       `json:"time,omitempty"`
	Kind      string      `json:"kind,omitempty"`
	Severity  int         `json:"severity,omitempty"`
	Outcome   string      `json:"outcome,omitempty"`
	Actor     []byte      `json:"actor,omitempty"`
	Subject   []byte      `json:"subject,omitempty"`
	Email     []byte      `json:"email,omitempty"`
	IPAddress []byte      `json:"ip_address,omitempty"`
	UserAgent []byte      `json:"user_agent,omitempty"`
	RequestID []byte      `json:"request_id,omitempty"`
	Reason    []byte      `json:"reason,omitempty"`
	Details   [][2][]byte `json:"details,omitempty"` // in the order of their names
}

func encodeEvent(v audit.Event) []byte {
	r := eventRecord{int64(v.Time), string(v.Kind), int(v.Severity), string(v.Outcome), []byte(v.Actor), []byte(v.Subject), []byte(v.Email), []byte(v.IPAddress),
		[]byte(v.UserAgent), []byte(v.RequestID), []byte(v.Reason), nil}
	for _, name := range slices.Sorted(maps.Keys(v.Details)) {
		r.Details = append(r.Details, [2][]byte{[]byte(name), []byte(v.Details[name])})
	}
	return encode(r)
}

func decodeEvent(eid id.Event, b []byte) (audit.Event, error) {
	var r eventRecord
	if err := decode(b, &r); err != nil {
		return audit.Event{}, err
	}
	v := audit.Event{ID: eid, Time: instant.Instant(r.Time), Kind: audit.Kind(r.Kind), Severity: audit.Severity(r.Severity), Outcome: audit.Outcome(r.Outcome),
		Actor: string(r.Actor), Subject: string(r.Subject), Email: string(r.Email), IPAddress: string(r.IPAddress), UserAgent: string(r.UserAgent),
		RequestID: string(r.RequestID), Reason: string(r.Reason)}
	for _, pair := range r.Details {
		if v.Details == nil {
			v.Details = map[string]string{}
		}
		v.Details[string(pair[0])] = string(pair[1])
	}
	return v, nil
}

type headRecord struct {
	Last []byte `json:"last,omitempty"`
	Cut  []byte `json:"cut,omitempty"`
}

func encodeHead(h *audit.Head) []byte {
	return encode(headRecord{checkpointBytes(&h.Last), checkpointBytes(&h.Cut)})
}

// decodeHead reads the head of the audit trail; nothing is that of a new database.
func decodeHead(b []byte) (h audit.Head, err error) {
	if len(b) == 0 {
		return h, nil
	}
	var r headRecord
	if err := decode(b, &r); err != nil {
		return h, err
	}
	if h.Last, err = checkpointOf(r.Last); err != nil {
		return h, err
	}
	h.Cut, err = checkpointOf(r.Cut)
	return h, err
}

// checkpointBytes is a checkpoint's own encoding, or nothing for none.
func checkpointBytes(c *audit.Checkpoint) []byte {
	if c == nil || c.IsZero() {
		return nil
	}
	return c.Append(nil)
}

func checkpointOf(b []byte) (audit.Checkpoint, error) {
	if len(b) == 0 {
		return audit.Checkpoint{}, nil
	}
	c, err := audit.DecodeCheckpoint(b)
	if err != nil {
		return c, errDamaged
	}
	return c, nil
}

type linkRecord struct {
	Record     []byte `json:"record"`
	Salt       []byte `json:"salt,omitempty"` // none: what is personal was erased
	Behind     uint64 `json:"behind,omitempty"`
	Checkpoint []byte `json:"checkpoint,omitempty"`
}

func encodeLink(l *audit.Link) []byte {
	return encode(linkRecord{l.Record.Append(nil), unless(l.Erased(), l.Salt[:]), l.Behind, checkpointBytes(l.Checkpoint)})
}

func decodeLink(b []byte) (l audit.Link, err error) {
	var r linkRecord
	if err := decode(b, &r); err != nil {
		return l, err
	}
	if l.Record, err = audit.DecodeRecord(r.Record); err != nil {
		return l, errDamaged
	}
	l.Behind = r.Behind
	if err := optional(l.Salt[:], r.Salt); err != nil || len(r.Checkpoint) == 0 {
		return l, err
	}
	c, err := checkpointOf(r.Checkpoint)
	l.Checkpoint = &c
	return l, err
}
