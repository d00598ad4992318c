package vaultsecrets

import (
	"fmt"
	"strings"
)

// maxSecret is how long a secret may be, in bytes.
const maxSecret = 64 << 10

// check refuses what no one means as a secret.
func check(name, value string) error {
	if len(value) > maxSecret {
		return fmt.Errorf("%s is longer than %d bytes: give the secret alone", name, maxSecret)
	}
	switch i := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }); {
	case i < 0:
		return nil
	case strings.Trim(value[i:], "\r\n") == "":
		return fmt.Errorf("%s ends with a line end: give it without", name)
	default:
		return fmt.Errorf("%s holds a control character: give it without", name)
	}
}
