package porttest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// neighbours are the listeners beside the ports that Free has answered, by their ports.
var neighbours sync.Map

// Free is a port of the loopback interface for a server that listens on it soon, that may be killed, and then listens on it again. Whoever asks Free gets another one for as long as this process
// lives, in this process and in those of other packages: the port above it is held instead. It lies below those that the system gives to clients and to who asks for any, and so does the one 10,000 above
// it, which a Redis Cluster takes too.
func Free(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + 2*rand.IntN(5_000)
		beside, err := net.Listen("tcp", loopback(port+1))
		if err != nil {
			continue
		}
		if itself, err := net.Listen("tcp", loopback(port)); err == nil {
			_ = itself.Close()
			neighbours.Store(port, beside)
			return port
		}
		_ = beside.Close()
	}
	t.Fatal("no port is free")
	return 0
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
