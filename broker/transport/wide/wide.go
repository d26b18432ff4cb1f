// Package wide gives connections to far nodes the socket buffers that their path needs. The problem is that a connection has no more
// on its way than fits into its buffers, so that it carries a buffer in each round trip whatever the line could do; and that asking for
// a size is not harmless: the kernel grows buffers by itself up to tcp_wmem and tcp_rmem, stops to once a size is asked for, and gives
// no more than wmem_max and rmem_max, which are twenty times smaller by default.
//
// So nothing is asked for where the kernel grows far enough by itself, nor where it would not give as much. That the path is wider than
// what is allowed is an error then, which names the setting. Receive windows have a scale that is agreed on when a connection begins, from the
// system's settings: those are what counts for paths far beyond them, on both machines.
package wide

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are the system's for one direction, in bytes of what may be on its way. The kernel's own figures are twice as large: half of a
// buffer is taken to be overhead.
type Limits struct {
	Auto int // up to which buffers grow by themselves
	Most int // that may be asked for
}

// System are the limits of both directions.
type System struct{ Send, Receive Limits }

// Proc is where Read finds the system's limits.
const Proc = "/proc/sys/net"

// Read returns the limits that stand below a directory. What cannot be read is 0.
func Read(dir string) System {
	field := func(file string, n int) int {
		text, err := os.ReadFile(filepath.Join(dir, file))
		fields := strings.Fields(string(text))
		if err != nil || len(fields) <= n {
			return 0
		}
		v, err := strconv.Atoi(fields[n])
		if err != nil {
			return 0
		}
		return v
	}
	return System{Send: Limits{field("ipv4/tcp_wmem", 2) / 2, field("core/wmem_max", 0)},
		Receive: Limits{field("ipv4/tcp_rmem", 2) / 2, field("core/rmem_max", 0)}}
}

// Wanted is what is on its way if a line is kept full: a round trip's worth, and as much again, since what was lost is sent once more
// while what follows it waits.
func Wanted(bytesPerSecond int64, trip time.Duration) int {
	return int(min(2*float64(bytesPerSecond)*trip.Seconds(), 1<<30))
}

// Decide returns what to ask for, 0 for nothing, and whether the connection then has what is wanted.
func (l Limits) Decide(wanted int) (ask int, enough bool) {
	switch {
	case wanted <= l.Auto:
		return 0, true
	case wanted <= l.Most:
		return wanted, true
	case l.Most > l.Auto:
		return l.Most, false
	}
	return 0, false
}

// NarrowError says that the system's settings allow less than a path needs.
type NarrowError struct {
	Wanted  int
	Setting string // of both machines
	Allowed int
}

func (e *NarrowError) Error() string {
	return fmt.Sprintf("a full line has %d bytes on their way and the system's buffers hold %d: raise the last number of net.ipv4.%s to %d "+
		"(sysctl), on both machines", e.Wanted, e.Allowed, e.Setting, 2*e.Wanted)
}

// Tune gives a TCP connection buffers for a line of so many bytes per second. trip is its round trip; 0: what the kernel measured when
// it was made. Anything but TCP is left alone. The error is a *NarrowError: the connection is of use all the same.
func Tune(nc net.Conn, s System, bytesPerSecond int64, trip time.Duration) error {
	tc, ok := nc.(*net.TCPConn)
	if !ok || bytesPerSecond <= 0 {
		return nil
	}
	if trip == 0 {
		trip = measured(tc)
	}
	wanted := Wanted(bytesPerSecond, trip)
	var narrow error
	for _, d := range []struct {
		Limits
		set     func(int) error
		setting string
	}{{s.Send, tc.SetWriteBuffer, "tcp_wmem"}, {s.Receive, tc.SetReadBuffer, "tcp_rmem"}} {
		ask, enough := d.Decide(wanted)
		if ask > 0 {
			d.set(ask) // a connection that is broken says so soon enough
		}
		if !enough && narrow == nil {
			narrow = &NarrowError{wanted, d.setting, max(d.Auto, d.Most)}
		}
	}
	return narrow
}

// measured is the kernel's round trip, 0 if it does not say. On a connection that was just made it is that of the handshake.
func measured(tc *net.TCPConn) (trip time.Duration) {
	raw, err := tc.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			trip = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return trip
}
