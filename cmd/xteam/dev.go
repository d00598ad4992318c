package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/id"
)

func (c *cli) dev() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the server for a first look, and show what it does",
		Long: `Runs the server for a first look, on this machine alone. It makes an
administrator with a random password, signs in, uses the token, revokes it and
shows how it is refused; then it prints the same as five lines of curl and stays
up. Its store is in data/dev, and with --once in a folder that is removed at the
end, unless DATA_DIR or DATABASE_URL names one; a store with accounts that dev
did not make is refused. The log goes to dev.log in the folder unless LOG_FILE
names another file. It speaks plain HTTP and answers to any host, whatever
SSL_CERTFILE and TRUSTED_HOSTS say.`,
		Example: "  xteam dev\n  xteam dev --once",
		Args:    cobra.NoArgs,
	}
	once := cmd.Flags().Bool("once", false, "end after the tour; exit code 1 when a step of it went wrong")
	cmd.RunE = c.does(func(cmd *cobra.Command) error { return c.look(cmd.Context(), *once) })
	return cmd
}

func (c *cli) look(ctx context.Context, once bool) error {
	s, get, err := c.settings()
	switch {
	case err != nil:
		return err
	case s.Environment != development:
		return fmt.Errorf("dev is for a first look, and ENVIRONMENT is %s: use `xteam serve`", s.Environment)
	case s.shared():
		return errors.New("dev is a first look on a store of its own, and DATABASE_URL, REDIS_URL, REVOCATION_URL or RATE_LIMIT_URL names one that servers share: use `xteam serve`")
	case !loopback(s.Addr):
		return fmt.Errorf("dev listens on this machine alone, and HTTP_ADDR is %s: use `xteam serve`, or HTTP_ADDR=127.0.0.1:8000", s.Addr)
	}
	s.CertFile, s.KeyFile, s.HTTP.Hosts = "", "", httpapi.Hosts{} // the tour asks an address, which is in no certificate that it trusts
	own := given(get, "DATA_DIR") == "" && given(get, "DATABASE_URL") == ""
	switch {
	case own && once:
		passing, err := os.MkdirTemp("", "xteam-dev-")
		if err != nil {
			return fmt.Errorf("make a folder for the store: %w", err)
		}
		defer func() { _ = os.RemoveAll(passing) }()
		s.Folder, s.Store = passing, passing
	case own:
		s.Folder = filepath.Join(s.Folder, "dev")
		s.Store = s.Folder
	}
	if s.LogFile == "" {
		s.LogFile = filepath.Join(s.Folder, "dev.log")
	}
	srv, err := start(ctx, s, get, c.err, func(sys *system) error {
		if own {
			return nil // whoever registered there did so for a look
		}
		return playground(ctx, s.Store, sys)
	})
	if err != nil {
		return err
	}
	defer srv.stop()
	who, note, err := administrator(ctx, &admin{http: &http.Client{Transport: inProcess{srv.sys.Operator}}})
	if err != nil {
		return err
	}
	t := tour{base: srv.base, who: who}
	went := t.play(ctx)
	if _, err := fmt.Fprintf(c.out, "XTeam is ready at %s\n\n  %s\n  e-mail    %s\n  password  %s\n\n%s", srv.base, note, who.Email, who.Password, t.String()); err != nil {
		return fmt.Errorf("write the tour: %w", err)
	}
	if went != nil || once {
		return went
	}
	if _, err := fmt.Fprintf(c.out, "\nThe same by hand, ready to paste:\n\n%s\nThe API is described at %s/docs. The log is in %s.\nCommands reach this server with DATA_DIR=%s, such as: DATA_DIR=%[4]s %s users list. Ctrl-C ends it.\n", t.curl(), t.base, s.LogFile, s.Folder, os.Args[0]); err != nil {
		return fmt.Errorf("write the tour: %w", err)
	}
	return srv.wait(ctx, nil)
}

const (
	devEmail = "admin@example.com" // of the administrator that dev makes in a new store
	devName  = "Made by xteam dev" // the full name of each, by which dev knows them again
)

// playground refuses a store with accounts that dev did not make: the administrators of dev stay, and their passwords were shown on a screen.
func playground(ctx context.Context, folder string, sys *system) error {
	const page = 500
	for from := (id.User{}); ; {
		accounts, err := sys.accounts.List(ctx, from, page)
		if err != nil {
			return fmt.Errorf("look for accounts in the store: %w", err)
		}
		for i := range accounts {
			if accounts[i].FullName.String() != devName {
				return fmt.Errorf("the store in %s holds accounts that dev did not make: it adds administrators, so give it a folder of its own with DATA_DIR", absolute(folder))
			}
		}
		if len(accounts) < page {
			return nil
		}
		from = accounts[len(accounts)-1].ID
	}
}

// administrator makes one to look around with. Nobody but its reader keeps the password, so a later run on the same store makes another administrator.
func administrator(ctx context.Context, api *admin) (who newUser, note string, err error) {
	who = newUser{Email: devEmail, Username: "admin", FullName: devName, Role: "admin", Password: randomText(12)}
	note = "An administrator was made; this password is shown only now:"
	err = api.post(ctx, usersPath, who, &user{})
	if no := (*refusal)(nil); errors.As(err, &no) && no.Status == http.StatusConflict {
		suffix := strings.ToLower(strings.NewReplacer("-", "0", "_", "1").Replace(randomText(6)))
		who.Email, who.Username = "dev-"+suffix+"@example.com", "dev-"+suffix
		note = devEmail + " is from an earlier run, which showed its password. For this run there is\n  another administrator; this password is shown only now:"
		err = api.post(ctx, usersPath, who, &user{})
	}
	if err != nil {
		return who, "", fmt.Errorf("make an administrator: %w", err)
	}
	return who, note, nil
}
