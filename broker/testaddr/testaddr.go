// Package testaddr hands out TCP addresses for tests whose servers come back to the address that they had.
package testaddr

import (
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Ports of a process: from above the well-known ones up to where the system's own choice begins on Linux.
const firstPort, lastPort = 20000, 32000

var mu, next = sync.Mutex{}, firstPort

// Next returns "host:port", free now and never returned before in this process. The host is a loopback address (all of
// 127.0.0.0/8 is) that no other process of this network uses: it is made of the process id. A port that the system chose
// on 127.0.0.1 may be given to somebody's outgoing connection as soon as its listener is closed; outgoing connections
// leave from 127.0.0.1, so here they are not in the way.
func Next(t testing.TB) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	pid := os.Getpid()
	host := net.IPv4(127, byte(64+pid>>16&63), byte(pid>>8), byte(pid)).String()
	for next < lastPort {
		next++
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next)))
		if err == nil {
			ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatalf("no free port on %s between %d and %d", host, firstPort, lastPort)
	return ""
}
