package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// user is an account as the API shows it.
type user struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Username string `json:"username"`
	FullName string `json:"full_name,omitempty"`
	Role     string `json:"role"`
}

// newUser asks the API for an account. The password is in the clear: it goes into a request's body and nowhere else.
type newUser struct {
	Email    string `json:"email"`
	Username string `json:"username"`
	FullName string `json:"full_name,omitempty"`
	Role     string `json:"role"`
	Password string `json:"password"`
}

func (c *cli) usersCreate() *cobra.Command {
	var in newUser
	cmd := &cobra.Command{
		Use:   "create --email E --username U [--full-name N] [--role user|admin] --password-stdin",
		Short: "Make an account and print its id",
		Long: `Makes an account and prints its id. It works through the running server, or on
the store itself while the server is stopped. The password is the first line of
standard input, so that it stays out of the process list.`,
		Example: `  printf '%s\n' "$PASSWORD" |
    xteam users create --email ann@example.com --username ann --role admin --password-stdin`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&in.Email, "email", "", "e-mail address")
	f.StringVar(&in.Username, "username", "", "user name: 3 to 50 of A-Z a-z 0-9 . _ -")
	f.StringVar(&in.FullName, "full-name", "", "the person's name")
	f.StringVar(&in.Role, "role", "user", "user or admin")
	f.Bool("password-stdin", false, "read the password from standard input")
	for _, name := range []string{"email", "username", "password-stdin"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there alone
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		if in.Role != "user" && in.Role != "admin" {
			return c.misuse("--role takes user or admin")
		}
		var err error
		if in.Password, err = c.line("the password"); err != nil {
			return err
		}
		api, err := c.admin(cmd.Context(), true)
		if err != nil {
			return err
		}
		defer api.close()
		var made user
		if err := api.post(cmd.Context(), "/api/v1/admin/users", in, &made); err != nil {
			return err
		}
		return c.print(*asJSON, made, made.ID)
	})
	return cmd
}

// maxLine bounds a secret that is read from standard input, in bytes: an access token is the longest.
const maxLine = 16 << 10

// line reads a secret from standard input: all of it, less one line end.
func (c *cli) line(what string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(c.in, maxLine+1))
	if err != nil {
		return "", fmt.Errorf("read %s from standard input: %w", what, err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	switch {
	case text == "":
		return "", errors.New("standard input is empty: " + what + " was expected there")
	case len(b) > maxLine || strings.ContainsAny(text, "\r\n"):
		return "", errors.New("standard input holds more than one line: " + what + " alone was expected there")
	}
	return text, nil
}
