// Package address checks the addresses that nodes are registered with: others have to be able to dial them.
package address

import (
	"fmt"
	"net"
	"strconv"
)

// Split splits host:port. It wants a host, and a port that is a number from 1 on.
func Split(addr string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("address %q: port %q is not between 1 and 65535", addr, p)
	}
	if host == "" {
		return "", 0, fmt.Errorf("address %q has no host that others could dial", addr)
	}
	return host, uint16(n), nil
}
