package client

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// describe reads a connection's addresses and options back from its socket.
func describe(fd int) Connection {
	var c Connection
	if sa, err := unix.Getsockname(fd); err == nil {
		c.Local = printAddr(sa)
	}
	if sa, err := unix.Getpeername(fd); err == nil {
		c.Remote = printAddr(sa)
	}
	// An option that cannot be read stays 0, which no open socket has.
	v, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	c.NoDelay = v != 0
	c.SendBuf, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	c.RecvBuf, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	c.MSS, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
	return c
}

func printAddr(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
	}
	return fmt.Sprintf("%T", sa)
}
