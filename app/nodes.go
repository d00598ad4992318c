package app

import (
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

const (
	// confirmFor is how long nodes are waited for at the most, or two polls of a database and a second, but for no longer than confirmMost.
	confirmFor  = 3 * time.Second
	confirmMost = 10 * time.Second
	// forgetAnswers is how long an answer is repeated after its question was last heard.
	forgetAnswers = 10 * time.Second
	// hearWithin bounds one exchange of words.
	hearWithin = 2 * time.Second
	// retryAnswer is how often a question is looked at again that could not be answered yet.
	retryAnswer = 5 * time.Millisecond
	// maxQuestions is how many questions of one node are asked and listened to at a time.
	maxQuestions = 64
	// maxAsked is how long they may be together, in bytes; one that is longer is not asked.
	maxAsked = 16 << 10
	// maxAnswers is how many answers a word holds. With what else there is, it is never longer than node.MaxWord.
	maxAnswers = 512
	// maxGone bounds the nodes that are remembered to have gone.
	maxGone = 1024
)

// Board is a place where nodes leave word. There may be several, of which some are faster and some surer: a word is left at all, and the latest counts.
type Board struct {
	Name  string
	Nodes ports.Nodes
}

// NodesOptions are what a node says of itself.
type NodesOptions struct {
	Name    string // for people: a host's name
	Version string
	Poll    time.Duration // how often the database is asked for revocations
	Canary  time.Duration // how often a canary is sent; 0: none is
	Logger  *slog.Logger  // nil: nobody is told
}

// Nodes are this node and the others of its system. Each says every second that it lives, and what it knows; and asks the others whether they know something, such as a revocation: who
// asks hears from each that it does, and how long that took. Without a board there is this node alone.
//
// A question is a part of the word of whoever asks, and an answer of the word of whoever answers: so nothing is lost, and nothing is done twice, when a word is.
type Nodes struct {
	core   *Core
	guard  *Guard       // of canaries
	policy token.Policy // by which they are judged
	o      NodesOptions
	boards []Board
	self   id.Node
	began  instant.Instant
	within time.Duration   // how long nodes are waited for at the most
	kicks  []chan struct{} // each holds one when there is something to say at once at its board,
	wakes  chan struct{}   // and this when there is something to answer

	mu       sync.Mutex
	serial   int64                   // of this node's words
	asking   map[string]*question    // of this node's, by number
	answers  map[string]time.Time    // to others' questions, and when those were last heard
	open     map[string]questionWord // of others, not answered yet
	others   map[id.Node]*heardNode
	gone     map[id.Node]int64 // the serials of the last words of those that are heard no more
	checkers map[string]func(context.Context, []byte) bool
	canary   node.Canary
	sent     string               // this node's own last canary
	doubts   map[string]time.Time // canaries that this node takes, and since when it has been asked about each
	woken    time.Time            // when the rotator was last woken for a key that is asked for
}

// heardNode is what was last heard of another node.
type heardNode struct {
	word wordText
	at   time.Time // when it was said, by this node's clock
}

// question is one that this node asks.
type question struct {
	questionWord
	begun    time.Time
	answered map[id.Node]time.Duration
	heard    chan struct{} // holds one when an answer came
}

// wordText is what a word says.
type wordText struct {
	Serial  int64          `json:"serial"` // the later word has the greater one
	Name    string         `json:"name"`
	Version string         `json:"version"`
	Started int64          `json:"started"` // µs since 1970, as all times here
	ViewAge int64          `json:"view_age"`
	Fresh   bool           `json:"fresh"`
	Live    int            `json:"live"`
	Canary  int64          `json:"canary"`
	Failed  bool           `json:"canary_failed,omitempty"`
	Left    bool           `json:"left,omitempty"` // it is its last word
	Owes    bool           `json:"owes,omitempty"` // revocations that are in force and that the database has not taken yet,
	From    int64          `json:"from,omitempty"` // and when the oldest of them was asked for, by its own clock
	Asks    []questionWord `json:"asks,omitempty"`
	Answers []string       `json:"answers,omitempty"`
}

type questionWord struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Body []byte `json:"body"`
}

// NewNodes makes itself known to the core. Run is to be running beside it.
func NewNodes(c *Core, o NodesOptions, boards ...Board) (*Nodes, error) {
	self, err := id.New[id.Node](c.Random)
	if err != nil {
		return nil, unavailable("draw the id of this node", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Nodes{core: c, guard: NewGuard(c), policy: c.Tunables.Policy(), o: o, boards: boards, self: self, began: c.now(), within: min(max(confirmFor, 2*o.Poll+time.Second), confirmMost), wakes: make(chan struct{}, 1), asking: map[string]*question{}, answers: map[string]time.Time{},
		open: map[string]questionWord{}, others: map[id.Node]*heardNode{}, gone: map[id.Node]int64{}, doubts: map[string]time.Time{}, checkers: map[string]func(context.Context, []byte) bool{}}
	n.policy.Audience = CanaryAudience
	for range boards {
		n.kicks = append(n.kicks, make(chan struct{}, 1))
	}
	n.Answer(askRevoked, c.holdsRevoked)
	n.Answer(askKey, n.holdsKey)
	n.Answer(askCanary, n.judgesCanary)
	c.Nodes = n
	return n, nil
}

// Name is how this node is called.
func (n *Nodes) Name() string { return n.o.Name }

// Answer has questions of a kind answered by holds: true once this node knows what the body tells. It is asked again until it does, or nobody wants to know any more. It is to be called before Run.
func (n *Nodes) Answer(kind string, holds func(ctx context.Context, body []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checkers[kind] = holds
}

// Confirmation is what came of a question.
type Confirmation struct {
	Nodes   []NodeTime // who knows, this node first and the others in the order of their answers; the time is from the question to the answer's arrival
	Missing []string   // who lives and has not said so in time
}

// Confirm asks every node that lives whether it knows something, and answers when all have said so, or the time is over, or ctx ends. A node that stops to live meanwhile is not waited for.
func (n *Nodes) Confirm(ctx context.Context, kind string, body []byte) Confirmation {
	begun := time.Now()
	if n == nil {
		return Confirmation{}
	}
	ctx, cancel := context.WithTimeout(ctx, n.within)
	defer cancel()
	q, err := n.ask(kind, body, begun)
	if err != nil {
		return Confirmation{Missing: n.names()}
	}
	defer n.asked(q)
	self := n.awaits(ctx, kind, body, begun)
	look := time.NewTicker(100 * time.Millisecond) // for those who stop to live
	defer look.Stop()
	for {
		if c, all := n.tally(q, self); all || ctx.Err() != nil {
			return c
		}
		select {
		case <-ctx.Done():
		case <-q.heard:
		case <-look.C:
		}
	}
}

// awaits has this node know it too, and answers after how long it did; 0: it did not.
func (n *Nodes) awaits(ctx context.Context, kind string, body []byte, begun time.Time) time.Duration {
	n.mu.Lock()
	holds := n.checkers[kind]
	n.mu.Unlock()
	for holds != nil {
		if holds(ctx, body) {
			return max(time.Since(begun), 1)
		}
		if !pause(ctx, retryAnswer) {
			break
		}
	}
	return 0
}

func (n *Nodes) ask(kind string, body []byte, begun time.Time) (*question, error) {
	number, err := id.New[id.Token](n.core.Random)
	if err != nil {
		return nil, err
	}
	q := &question{questionWord: questionWord{number.String(), kind, body}, begun: begun, answered: map[id.Node]time.Duration{}, heard: make(chan struct{}, 1)}
	n.mu.Lock()
	n.asking[q.ID] = q
	n.mu.Unlock()
	n.say()
	return q, nil
}

func (n *Nodes) asked(q *question) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asking, q.ID)
}

// tally looks who of those that live has answered, and whether all have.
func (n *Nodes) tally(q *question, self time.Duration) (c Confirmation, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if self > 0 {
		c.Nodes = append(c.Nodes, NodeTime{n.o.Name, self})
	} else {
		c.Missing = append(c.Missing, n.o.Name)
	}
	var others []NodeTime
	for who, h := range n.others {
		took, ok := q.answered[who]
		switch {
		case ok:
			others = append(others, NodeTime{h.word.Name, took})
		case h.live():
			c.Missing = append(c.Missing, h.word.Name)
		}
	}
	slices.SortFunc(others, func(a, b NodeTime) int { return cmp.Compare(a.Took, b.Took) })
	c.Nodes = append(c.Nodes, others...)
	slices.Sort(c.Missing)
	return c, len(c.Missing) == 0
}

func (h *heardNode) live() bool { return !h.word.Left && h.heard() }

// heard reports whether it is to be remembered: one that left is, so that an earlier word of it, from a slower board, does not bring it back.
func (h *heardNode) heard() bool { return time.Since(h.at) < node.Silence }

// names are the others that live.
func (n *Nodes) names() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.others {
		if h.live() {
			all = append(all, h.word.Name)
		}
	}
	slices.Sort(all)
	return all
}

// owing is when the oldest revocation was asked for that a node that lives, this one among them, has in force and owes to the database, by its clock; false when none does. It asks every board anew.
func (n *Nodes) owing(ctx context.Context) (oldest instant.Instant, some bool) {
	oldest, some = n.core.owes()
	n.Greet(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.others {
		if from := instant.Instant(h.word.From); h.live() && h.word.Owes && (!some || from < oldest) {
			oldest, some = from, true
		}
	}
	return oldest, some
}

// List tells of every node that lives, this one first, the others by name.
func (n *Nodes) List() []node.Status {
	if n == nil {
		return nil
	}
	own := n.word()
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []node.Status{status(n.self, own, 0)}
	var others []node.Status
	for who, h := range n.others {
		if h.live() {
			others = append(others, status(who, h.word, time.Since(h.at)))
		}
	}
	slices.SortFunc(others, func(a, b node.Status) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return append(all, others...)
}

func status(who id.Node, w wordText, seen time.Duration) node.Status {
	return node.Status{ID: who, Name: w.Name, Version: w.Version, Started: instant.Instant(w.Started), ViewAge: time.Duration(w.ViewAge) * time.Microsecond, Fresh: w.Fresh, Live: w.Live,
		Canary: node.Canary{At: instant.Instant(w.Canary), Failed: w.Failed}, Seen: seen}
}

// word is what this node says now.
func (n *Nodes) word() wordText {
	st := n.core.View.Status()
	from, owes := n.core.owes()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.serial++
	w := wordText{Serial: n.serial, Name: n.o.Name, Version: n.o.Version, Started: int64(n.began), ViewAge: st.Age.Microseconds(), Fresh: st.OK, Live: st.Live,
		Canary: int64(n.canary.At), Failed: n.canary.Failed, Owes: owes, From: int64(from), Answers: n.latestAnswers(), Asks: n.openAsks()}
	return w
}

// latestAnswers are those to the questions that were heard last. It is called with the lock held.
func (n *Nodes) latestAnswers() []string {
	all := slices.SortedFunc(maps.Keys(n.answers), func(a, b string) int { return n.answers[b].Compare(n.answers[a]) })
	return all[:min(len(all), maxAnswers)]
}

// openAsks are the questions that fewest have answered, of those the oldest: the others have been heard by whoever listens, and wait for a node that hangs. It is called with the lock held.
func (n *Nodes) openAsks() (asks []questionWord) {
	all := slices.SortedFunc(maps.Values(n.asking), func(a, b *question) int {
		return cmp.Or(cmp.Compare(len(a.answered), len(b.answered)), a.begun.Compare(b.begun))
	})
	left := maxAsked
	for _, q := range all {
		if len(asks) == maxQuestions {
			break
		}
		if left >= len(q.Body) {
			left -= len(q.Body)
			asks = append(asks, q.questionWord)
		}
	}
	return asks
}

// say has the word said at once.
func (n *Nodes) say() {
	for _, kick := range n.kicks {
		signal(kick)
	}
}

// Greet hears who lives, once, so that nobody is passed over who is asked for before Run has heard a word: by a command that is a node for a moment, above all. A board that does not answer is
// heard later.
func (n *Nodes) Greet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hearWithin)
	defer cancel()
	var greeting sync.WaitGroup
	for _, b := range n.boards {
		greeting.Go(func() {
			asked := time.Now()
			if words, err := b.Nodes.Hear(ctx); err == nil {
				n.hear(words, asked)
			}
		})
	}
	greeting.Wait()
}

// Run says this node's word, and hears the others', until ctx ends; then it takes its leave.
func (n *Nodes) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	if n.o.Canary > 0 {
		running.Go(func() { n.sing(ctx, n.o.Canary) })
	}
	if len(n.boards) == 0 {
		<-ctx.Done()
		return
	}
	for _, b := range n.boards {
		running.Go(func() { n.listen(ctx, b) })
	}
	running.Go(func() { n.answer(ctx) })
	for i, b := range n.boards {
		running.Go(func() { n.speak(ctx, b, n.kicks[i]) })
	}
	<-ctx.Done()
}

// speak leaves this node's word at one board, every second and when there is something to say, until ctx ends; then its last. A board that hangs holds up no other.
func (n *Nodes) speak(ctx context.Context, b Board, kick <-chan struct{}) {
	beat := time.NewTicker(node.Beat)
	defer beat.Stop()
	unable := false
	for {
		err := n.tell(ctx, b, n.word())
		switch {
		case ctx.Err() != nil:
		case err != nil && !unable:
			unable = true
			n.o.Logger.Warn("This node cannot leave word for the others", "board", b.Name, "error", err.Error())
		case err == nil && unable:
			unable = false
			n.o.Logger.Info("This node can leave word for the others again", "board", b.Name)
		}
		select {
		case <-ctx.Done():
			// Its word may not simply go: nobody could tell that from a board that lost all words.
			last := n.word()
			last.Left, last.Asks = true, nil
			_ = n.tell(context.WithoutCancel(ctx), b, last) // else it is forgotten in a moment
			return
		case <-beat.C:
		case <-kick:
		}
	}
}

func (n *Nodes) tell(ctx context.Context, b Board, w wordText) error {
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, hearWithin/2)
	defer cancel()
	return b.Nodes.Say(ctx, node.Word{Node: n.self, Text: n.sealed(n.self, text)})
}

// macSize is what stands before a word's text: the key of its MAC and that, by which whoever can write to a board and nothing else says nothing in a node's name.
const macSize = 2 + 32

func (n *Nodes) macOf(key uint16, who id.Node, text []byte) (mac [32]byte, ok bool) {
	if n.core.MACs == nil {
		return mac, true
	}
	return n.core.MACs.MAC(key, append([]byte("nodes/"+who.String()+"/"), text...))
}

func (n *Nodes) sealed(who id.Node, text []byte) []byte {
	key := uint16(0)
	if n.core.MACs != nil {
		key = n.core.MACs.Current()
	}
	mac, _ := n.macOf(key, who, text)
	return append(append(binary.BigEndian.AppendUint16(make([]byte, 0, macSize+len(text)), key), mac[:]...), text...)
}

// opened is the text of a word that a node of this system said.
func (n *Nodes) opened(w *node.Word) (text wordText, ok bool) {
	if len(w.Text) < macSize || len(w.Text) > node.MaxWord {
		return text, false
	}
	said := w.Text[macSize:]
	mac, held := n.macOf(binary.BigEndian.Uint16(w.Text), w.Node, said)
	if !held || !hmac.Equal(mac[:], w.Text[2:macSize]) {
		return text, false
	}
	return text, json.Unmarshal(said, &text) == nil
}

// Running answers the names of the nodes that work on a database now: those of which a word comes while it listens at its board. It listens as long as some count there that have not taken their leave, and no
// longer than a node may be silent: those that say nothing were killed, whatever the store's clock says of when they spoke last.
func Running(ctx context.Context, board ports.Nodes, macs ports.Authenticator) ([]string, error) {
	n, begun, first := &Nodes{core: &Core{MACs: macs}}, time.Now(), map[id.Node]int64(nil)
	for {
		words, err := board.Hear(ctx)
		if err != nil {
			return nil, err
		}
		var running []string
		quiet, heard := false, map[id.Node]int64{}
		for i := range words {
			w := &words[i]
			text, ok := n.opened(w)
			if !ok || text.Left || !w.Live() {
				continue
			}
			if serial, was := first[w.Node]; first != nil && (!was || text.Serial > serial) {
				running = append(running, text.Name)
			}
			quiet, heard[w.Node] = true, text.Serial
		}
		if first == nil {
			first = heard
		}
		if len(running) > 0 || !quiet || time.Since(begun) > node.Silence {
			slices.Sort(running)
			return running, nil
		}
		select {
		case <-time.After(node.Beat / 4):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// listen hears what is said at one board.
func (n *Nodes) listen(ctx context.Context, b Board) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, hearWithin)
		asked := time.Now()
		words, err := b.Nodes.Hear(within)
		if err == nil {
			n.hear(words, asked)
		}
		if err = b.Nodes.Wait(within); err != nil {
			pause(ctx, node.Beat/4)
		}
		cancel()
	}
}

// hear takes in what others said. A word's age was told some time after it was asked for.
func (n *Nodes) hear(words []node.Word, asked time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for i := range words {
		w := &words[i]
		if w.Node == n.self {
			continue
		}
		at := asked.Add(-w.Age)
		is := n.others[w.Node]
		text, ok := n.opened(w)
		if !ok {
			continue // nobody of this system said it
		}
		switch {
		case is == nil:
			if last, was := n.gone[w.Node]; !w.Live() || text.Left || was && text.Serial <= last {
				continue // a store whose clock was set back has old words for young
			}
			is = &heardNode{word: text, at: at}
			n.others[w.Node] = is
			n.o.Logger.Info("Another node is there", "node", text.Name, "version", text.Version)
		case text.Serial > is.word.Serial: // it said something since; how old a word is that was heard before, its store's clock alone knows
			is.word = text
			if at.After(is.at) {
				is.at = at
			}
		}
		n.takeAnswers(w.Node, text.Answers, now)
		n.takeQuestions(text.Asks, now)
	}
	for who, is := range n.others {
		if !is.heard() {
			n.o.Logger.Info("A node is not heard any more", "node", is.word.Name)
			if len(n.gone) >= maxGone {
				clear(n.gone)
			}
			n.gone[who] = is.word.Serial
			delete(n.others, who)
		}
	}
	for number, last := range n.answers {
		if now.Sub(last) > forgetAnswers {
			delete(n.answers, number)
		}
	}
}

func (n *Nodes) takeAnswers(from id.Node, answers []string, now time.Time) {
	for _, number := range answers {
		q, ok := n.asking[number]
		if !ok {
			continue
		}
		if _, had := q.answered[from]; !had {
			q.answered[from] = now.Sub(q.begun)
			signal(q.heard)
			if len(n.asking) > maxQuestions { // there is room for another
				n.say()
			}
		}
	}
}

func (n *Nodes) takeQuestions(asks []questionWord, now time.Time) {
	for i, q := range asks {
		if i == maxQuestions {
			return
		}
		if _, done := n.answers[q.ID]; done {
			n.answers[q.ID] = now
			continue
		}
		if _, known := n.open[q.ID]; !known {
			n.open[q.ID] = q
			signal(n.wakes)
		}
	}
}

// answer answers others' questions as soon as this node knows what they ask for.
func (n *Nodes) answer(ctx context.Context) {
	since := map[string]time.Time{}
	for {
		n.mu.Lock()
		open := maps.Clone(n.open)
		n.mu.Unlock()
		some := false
		for number, q := range open {
			if since[number].IsZero() {
				since[number] = time.Now()
			}
			n.mu.Lock()
			holds := n.checkers[q.Kind]
			n.mu.Unlock()
			known := holds != nil && holds(ctx, q.Body)
			if !known && time.Since(since[number]) < n.within {
				continue
			}
			delete(since, number)
			n.mu.Lock()
			delete(n.open, number)
			if known {
				n.answers[number] = time.Now()
			}
			n.mu.Unlock()
			some = some || known
		}
		if some {
			n.say()
		}
		again := time.Hour
		if len(since) > 0 {
			again = retryAnswer
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-n.wakes:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// UnconfirmedError says that nodes that live have not taken something in time.
type UnconfirmedError struct {
	What  string
	Nodes []string
}

func (e *UnconfirmedError) Error() string {
	return fmt.Sprintf("%s has not reached %v yet: ask again in a moment, or stop those nodes", e.What, e.Nodes)
}
