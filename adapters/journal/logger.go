package journal

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/xteam/xteam/domain/secret"
)

// MaxValue is how much of any text is written to a log line, in bytes. It leaves room for a stack.
const MaxValue = 8 << 10

// NewLogger answers the product's logger: one JSON object a line, or one line of key=value for the format "text"; times in UTC (RFC 3339). What a
// terminal or a reader could mistake for something else (bidirectional controls, line separators, broken UTF-8) is escaped, and texts are cut
// to MaxValue bytes. As a last line of defence, what has the form of a secret of ours is written as [redacted], wherever in a line
// it stands: signed tokens, refresh tokens, API keys, and what follows Bearer or Basic. An error of w is nobody's concern: the line is lost.
func NewLogger(w io.Writer, level slog.Leveler, format string) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: replace}
	switch format {
	case "", "json":
		return slog.New(slog.NewJSONHandler(redactor{w}, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(redactor{w}, o)), nil
	}
	return nil, fmt.Errorf("the format of the log is %.20q: give json or text", format)
}

// replace makes every value fit to be written; groups are replaced attribute by attribute.
func replace(_ []string, a slog.Attr) slog.Attr {
	const keep = "\n\t" // both handlers escape these themselves, and a reader of a stack wants them
	a.Key = printable(a.Key, MaxText, "")
	switch a.Value.Kind() {
	case slog.KindTime:
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	case slog.KindString:
		a.Value = slog.StringValue(printable(a.Value.String(), MaxValue, keep))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(printable(message(v), MaxValue, keep))
		case []byte: // base64 would hide a secret from the redactor
			a.Value = slog.StringValue(fmt.Sprintf("[%d bytes]", len(v)))
		}
	}
	return a
}

// message is the text of an error, also of one whose Error panics, as a nil pointer's does.
func message(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("an error of type %T that cannot be printed", err)
		}
	}()
	return err.Error()
}

// redactor takes secrets out of finished lines: whatever way they came in, as a message, a key, an error or deep in a value. A handler writes
// a line in one call. All forms are of characters that neither JSON nor quoting escapes.
type redactor struct{ w io.Writer }

func (r redactor) Write(line []byte) (int, error) {
	if _, err := r.w.Write(secret.Scrub(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
