package sock

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Description is what a connection's socket says of itself.
type Description struct {
	Local   string `json:"local"`
	Remote  string `json:"remote"`
	NoDelay bool   `json:"tcp_nodelay"`
	SendBuf int    `json:"so_sndbuf"`
	RecvBuf int    `json:"so_rcvbuf"`
	MSS     int    `json:"tcp_maxseg"`
}

// Describe reads a connection's addresses and options back from its socket.
func Describe(fd int) Description {
	var c Description
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
