//go:build !linux

package main

import (
	"errors"
	"net"
)

// peersKnown says that this system does not tell us who is at the other end of a socket, so that there is no operator's socket here: commands work while the
// server is stopped.
const peersKnown = false

func peerUser(*net.UnixConn) (int, error) {
	return -1, errors.ErrUnsupported
}
