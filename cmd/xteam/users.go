package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// user is an account as the API shows it.
type user struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Username string `json:"username"`
	FullName string `json:"full_name"`
	Role     string `json:"role"`

	IsActive  bool      `json:"is_active"`
	CreatedAt time.Time `json:"created_at"`
	Decoy     bool      `json:"decoy,omitempty"`
	APIKey    string    `json:"api_key,omitempty"` // of a new decoy
}

// newUser asks the API for an account. The password is in the clear: it goes into a request's body and nowhere else.
type newUser struct {
	Email    string `json:"email"`
	Username string `json:"username"`
	FullName string `json:"full_name,omitempty"`
	Role     string `json:"role"`
	Password string `json:"password"`
	Decoy    bool   `json:"decoy,omitempty"`
}

func (c *cli) usersCreate() *cobra.Command {
	var in newUser
	cmd := &cobra.Command{
		Use:   "create --email E --username U [--full-name N] [--role user|admin] --password-stdin",
		Short: "Make an account and print its id",
		Long: `Makes an account and prints its id. It works through the running server, or on
the store itself while the server is stopped, which it makes if there is none.
The password is the first line of standard input, so that it stays out of the
process list; on a terminal it is asked for and not shown.

With --decoy nobody is to use the account: its names, its password and an API
key, which is printed behind the id this once, are honeytokens to leave where
only an intruder looks. They are refused as wrong ones are, and whoever tries
one is a critical alert with their address. xteam users disable puts it away.`,
		Example: `  printf '%s\n' "$PASSWORD" |
    xteam users create --email ann@example.com --username ann --role admin --password-stdin
  xteam secret generate |
    xteam users create --decoy --email backup@example.com --username backup --password-stdin`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&in.Email, "email", "", "e-mail address")
	f.StringVar(&in.Username, "username", "", "user name: 3 to 50 of A-Z a-z 0-9 . _ -")
	f.StringVar(&in.FullName, "full-name", "", "the person's name")
	f.StringVar(&in.Role, "role", "user", "user or admin")
	f.BoolVar(&in.Decoy, "decoy", false, "nobody is to use it: whoever does is an alert")
	f.Bool("password-stdin", false, "read the password from standard input")
	for _, name := range []string{"email", "username", "password-stdin"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there alone
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if in.Role != "user" && in.Role != "admin" {
			return c.misuse("--role takes user or admin")
		}
		if in.Decoy && in.Role != "user" {
			return c.misuse("--decoy goes with --role user: a decoy is no administrator")
		}
		var err error
		if in.Password, err = c.line(cmd.Context(), "the password"); err != nil {
			return err
		}
		api, err := c.admin(cmd.Context(), true)
		if err != nil {
			return err
		}
		defer api.close()
		var made user
		err = api.post(cmd.Context(), usersPath, in, &made)
		if _, taken := refused(err, http.StatusConflict); taken {
			return api.taken(cmd.Context(), in, err)
		}
		if err != nil {
			return err
		}
		if made.Decoy {
			return c.print(*asJSON, made, made.ID+"\n"+made.APIKey)
		}
		return c.print(*asJSON, made, made.ID)
	})
	return cmd
}

// taken says which name of a new account is another's, since the API says only that one is. It asks what a revocation of each would hit.
func (a *admin) taken(ctx context.Context, in newUser, otherwise error) error {
	var parts []string
	for _, name := range []struct{ flag, value string }{{"--email", in.Email}, {"--username", in.Username}} {
		if a.post(ctx, revocationsPath, revocationRequest{User: name.value, DryRun: true}, nil) == nil {
			parts = append(parts, name.flag+": "+name.value+" is another account's")
		}
	}
	if len(parts) == 0 {
		return otherwise
	}
	return errors.New(strings.Join(parts, "; "))
}
