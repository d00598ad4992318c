package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const explainPath = "/api/v1/admin/explain"

// explanation is what the API says of a token. What it says itself may be anybody's words unless it is verified.
type explanation struct {
	Kind     string     `json:"kind"`
	Taken    bool       `json:"taken"`
	Code     string     `json:"code"`
	Reason   string     `json:"reason"`
	Detail   string     `json:"detail"`
	Since    *time.Time `json:"since"`
	By       string     `json:"by"`
	Note     string     `json:"note"`
	Verified bool       `json:"verified"`
	Key      *struct {
		KID     string `json:"kid"`
		Held    bool   `json:"held"`
		Revoked bool   `json:"revoked"`
	} `json:"key"`
	Claims *struct {
		Issuer    string     `json:"iss"`
		Subject   string     `json:"sub"`
		Audience  []string   `json:"aud"`
		IssuedAt  *time.Time `json:"iat"`
		ExpiresAt *time.Time `json:"exp"`
		ID        string     `json:"jti"`
		Session   string     `json:"sid"`
		Scope     string     `json:"scope"`
		Roles     []string   `json:"roles"`
	} `json:"claims"`
	User    *user `json:"user"`
	Session *struct {
		ID          string     `json:"id"`
		Address     string     `json:"ip_address"`
		LastUsed    time.Time  `json:"last_used_at"`
		EndedAt     *time.Time `json:"ended_at"`
		EndedReason string     `json:"ended_reason"`
	} `json:"session"`
	Revocations []struct {
		Names  string     `json:"names"`
		Reason string     `json:"reason"`
		Since  time.Time  `json:"since"`
		By     string     `json:"by"`
		Note   string     `json:"note"`
		Until  *time.Time `json:"until"`
	} `json:"revocations"`
}

func (c *cli) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain TOKEN|-",
		Short: "Tell what a token says, and whether it would be taken now",
		Long: `Tells what an access or refresh token says, or which API key it is, which key made
it, whose it is, and whether it would be taken now; if not, why, since when and at
whose wish. The token is not used up by it. With - it is the first line of standard input, which
keeps it out of the process list. The exit code is 0 when the token would be
taken, and 1 when it would be refused.`,
		Example: "  xteam explain - <token.txt\n  xteam explain \"$TOKEN\" --json",
		Args:    cobra.ExactArgs(1),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		token := cmd.Flags().Arg(0)
		switch token {
		case "":
			return c.misuse("which token? Give it, or - for the first line of standard input")
		case "-":
			var err error
			if token, err = c.token(cmd.Context(), "the token"); err != nil {
				return err
			}
		}
		token = bare(token)
		api, err := c.admin(cmd.Context(), false)
		if err != nil {
			return err
		}
		defer api.close()
		var answer json.RawMessage
		if err := api.post(cmd.Context(), explainPath, map[string]string{"token": token}, &answer); err != nil {
			return err
		}
		var e explanation
		if err := json.Unmarshal(answer, &e); err != nil {
			return errors.New("the answer is not the JSON that was expected")
		}
		if err := c.print(*asJSON, answer, e.text()); err != nil {
			return err
		}
		if !e.Taken {
			return errors.New("the token would be refused: " + e.why())
		}
		return nil
	})
	return cmd
}

// why is the code of a refusal, with its reason where it has one.
func (e *explanation) why() string {
	if e.Reason != "" {
		return e.Code + ", " + e.Reason
	}
	return e.Code
}

// text is a line for each thing that is known, the verdict first.
func (e *explanation) text() string {
	var rows [][]string
	row := func(name string, parts ...string) {
		if text := printable(strings.Join(parts, "")); text != "" {
			rows = append(rows, []string{name, text})
		}
	}
	at := func(name string, t *time.Time) {
		if t != nil {
			row(name, clock(*t))
		}
	}
	if e.Taken {
		row("verdict", "it would be taken now")
	} else {
		row("verdict", "refused: ", e.why())
		if _, why, more := strings.Cut(e.Detail, ": "); more {
			row("why", why)
		}
	}
	at("since", e.Since)
	row("by", e.By)
	row("note", e.Note)
	switch kind := strings.ReplaceAll(e.Kind, "_", " "); {
	case e.Verified:
		row("token", kind, ", made by this system")
	case e.Claims != nil:
		row("token", kind, ", not known to be made by this system: what it says is its maker's word")
	default:
		row("token", kind)
	}
	if k := e.Key; k != nil {
		state := ""
		switch {
		case k.Revoked:
			state = ", revoked"
		case !k.Held:
			state = ", not held here"
		}
		row("key", k.KID, state)
	}
	if u := e.User; u != nil {
		row("user", u.Username, ", ", u.Email, ", ", u.ID, ", ", u.Role, ", ", u.state())
	} else if e.Claims != nil {
		row("user", e.Claims.Subject)
	}
	if s := e.Session; s != nil {
		ended := ""
		if s.EndedAt != nil {
			ended = fmt.Sprintf(", ended %s: %s", clock(*s.EndedAt), s.EndedReason)
		}
		row("session", s.ID, ", from ", s.Address, ", last used ", clock(s.LastUsed), ended)
	} else if e.Claims != nil {
		row("session", e.Claims.Session)
	}
	if c := e.Claims; c != nil {
		at("issued", c.IssuedAt)
		at("expires", c.ExpiresAt)
		row("issuer", c.Issuer)
		row("audience", strings.Join(c.Audience, " "))
		row("roles", strings.Join(c.Roles, " "))
		row("scope", c.Scope)
		row("jti", c.ID)
	}
	for _, r := range e.Revocations {
		until, note := "for ever", ""
		if r.Until != nil {
			until = "until " + clock(*r.Until)
		}
		if r.Note != "" {
			note = ": " + r.Note
		}
		row("revoked", r.Names, ": ", r.Reason, ", since ", clock(r.Since), ", by ", r.By, ", ", until, note)
	}
	return aligned(rows)
}
