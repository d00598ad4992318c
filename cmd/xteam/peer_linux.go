package main

import (
	"net"
	"syscall"
)

// peersKnown says that this system tells who is at the other end of a socket.
const peersKnown = true

// peerUser is the user id of the process at the other end, as the kernel knows it (SO_PEERCRED, unix(7)).
func peerUser(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return -1, err
	}
	if credErr != nil {
		return -1, credErr
	}
	return int(cred.Uid), nil
}
