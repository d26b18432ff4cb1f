// Package netns emulates a network with a network namespace for each host, so that any program can be put into it unchanged: its own
// kernel's TCP runs between the hosts, windows, handshakes and retransmissions included. It needs the right to make namespaces.
//
// Each namespace has one interface, a TUN device whose other end this process holds. What a host sends is read from it as a packet, spends
// its time on the wire to the host that it is for, and is written to that host's device:
//
//	host A │ eth0 ── tun ──▶ read ═══ wire A to B ═══▶ write ──▶ tun ── eth0 │ host B
//
// Nothing has a name outside: namespaces and devices hang on descriptors of this process and on the programs inside, and the kernel
// removes them with the last of these, also when the process is killed. Named namespaces, bridges and a sweep of what a killed run leaves
// were the other way, and are not needed.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// space is the namespace of one host.
type space struct {
	ns  *os.File // the namespace
	tun *os.File // the other end of its interface
}

// device is the interface's name within a namespace. Each has its own, so all have the same.
const device = "eth0"

// mtu is Ethernet's, which is what crosses the distance between regions.
const mtu = 1500

// newSpace makes a namespace with an interface that has the address, in a network of 24 bits.
func newSpace(addr [4]byte) (*space, error) {
	s := &space{}
	err := elsewhere(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() (err error) {
		if s.ns, err = os.Open(threadNS); err != nil {
			return err
		}
		if err := up("lo", nil); err != nil {
			return err
		}
		if s.tun, err = openTUN(); err != nil {
			return err
		}
		return up(device, &addr)
	})
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: want root, or CAP_SYS_ADMIN and CAP_NET_ADMIN", err)
		}
		return nil, errors.Join(fmt.Errorf("netlab: a network namespace: %w", err), s.close())
	}
	return s, nil
}

const threadNS = "/proc/thread-self/ns/net"

// elsewhere runs do on a thread that move has taken to another namespace, and brings the thread back.
func elsewhere(move, do func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNS)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := move(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// enter runs f on a thread in the namespace: sockets that it makes and processes that it starts belong there.
func (s *space) enter(f func() error) error {
	return elsewhere(func() error { return unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET) }, f)
}

// openTUN makes the interface in this thread's namespace and returns its other end.
func openTUN() (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	req, err := unix.NewIfreq(device)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s: TUNSETIFF: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// up gives an interface of this thread's namespace its address, if there is one, and starts it.
func up(name string, addr *[4]byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	call := func(what string, number uint, set func() error) {
		if err == nil {
			err = set()
		}
		if err == nil {
			if err = unix.IoctlIfreq(fd, number, req); err != nil {
				err = fmt.Errorf("%s: %s: %w", name, what, err)
			}
		}
	}
	if addr != nil {
		call("address", unix.SIOCSIFADDR, func() error { return req.SetInet4Addr(addr[:]) })
		call("netmask", unix.SIOCSIFNETMASK, func() error { return req.SetInet4Addr([]byte{255, 255, 255, 0}) })
		call("MTU", unix.SIOCSIFMTU, func() error { req.SetUint32(mtu); return nil })
	}
	call("up", unix.SIOCSIFFLAGS, func() error { req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
	return err
}

func (s *space) close() error {
	var errs []error
	for _, f := range []*os.File{s.tun, s.ns} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
