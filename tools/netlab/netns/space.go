// Package netns emulates a network with a network namespace for each host, so that any program can be put into it unchanged: its own
// kernel's TCP runs between the hosts, windows, handshakes and retransmissions included. It needs the right to make namespaces.
//
// Each namespace has an interface eth0, a TUN device whose other end this process holds. What a host sends is read from it as a packet, spends
// its time on the wire to the host that it is for, and is written to that host's device:
//
//	host A │ eth0 ── tun ──▶ read ═══ wire A to B ═══▶ write ──▶ tun ── eth0 │ host B
//
// Over a tenth of a millisecond a router in user space is a good part of the distance, and of the CPU. Hosts that are no farther apart have a
// pair of interfaces between them as well (veth), and routes that prefer it, so that what they send one another does not come here. What
// a fault makes worse does: its route is taken away, one direction at a time.
//
//	host A │ near-2 ◀── veth ──▶ near-1 │ host B
//
// Nothing has a name outside: namespaces and devices hang on descriptors of this process and on the programs inside, and the kernel
// removes them with the last of these, also when the process is killed. Named namespaces, bridges and a sweep of what a killed run leaves
// were the other way, and are not needed.
package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// space is the namespace of one host.
type space struct {
	addr [4]byte         // of all its interfaces
	ns   *os.File        // the namespace
	tun  *os.File        // the other end of its interface
	nl   *netlink.Handle // to change its interfaces and routes
}

// device is the interface's name within a namespace. Each has its own, so all have the same.
const device = "eth0"

// mtu is Ethernet's, which is what crosses the distance between regions.
const mtu = 1500

// newSpace makes a namespace whose TCP has the congestion control, with an interface that has the address, in a network of 24 bits.
func newSpace(addr [4]byte, congestion string) (*space, error) {
	s := &space{addr: addr}
	err := elsewhere(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() (err error) {
		if s.ns, err = os.Open(threadNS); err != nil {
			return err
		}
		if err := setCongestion(congestion); err != nil {
			return err
		}
		if s.tun, err = openTUN(); err != nil {
			return err
		}
		if s.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		if err := s.up("lo"); err != nil {
			return err
		}
		return s.up(device, func(l netlink.Link) error { return s.nl.LinkSetMTU(l, mtu) }, func(l netlink.Link) error {
			return s.nl.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: addr[:], Mask: net.CIDRMask(24, 32)}})
		})
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

// setCongestion says what new connections of this thread's namespace have for congestion control.
func setCongestion(name string) error {
	const dir = "/proc/sys/net/ipv4/"
	setting := dir + "tcp_congestion_control"
	is, err := os.ReadFile(setting)
	if err != nil || strings.TrimSpace(string(is)) == name {
		return err
	}
	if err := os.WriteFile(setting, []byte(name), 0o644); err != nil {
		known, _ := os.ReadFile(dir + "tcp_available_congestion_control")
		return fmt.Errorf("congestion control %s, instead of %s: %w (this kernel has loaded: %s)", name, strings.TrimSpace(string(is)), err,
			strings.TrimSpace(string(known)))
	}
	return nil
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

// up starts an interface, when it has been set as the functions say.
func (s *space) up(name string, set ...func(netlink.Link) error) error {
	l, err := s.nl.LinkByName(name)
	for _, f := range append(set, s.nl.LinkSetUp) {
		if err == nil {
			err = f(l)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// near is the interface's name that leads to a neighbour alone.
func near(addr [4]byte) string { return fmt.Sprintf("near-%d", addr[3]) }

// join connects two hosts with a pair of interfaces, over which nothing goes before prefer.
func join(a, b *space) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = near(b.addr), mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: near(a.addr), PeerMTU: mtu, PeerNamespace: netlink.NsFd(int(b.ns.Fd()))}
	if err := a.nl.LinkAdd(pair); err != nil {
		return fmt.Errorf("a pair of interfaces: %w", err)
	}
	return errors.Join(a.up(near(b.addr)), b.up(near(a.addr)))
}

// prefer has what the host sends to a neighbour go there directly from now on, or over the router.
func (s *space) prefer(neighbour [4]byte, directly bool) error {
	l, err := s.nl.LinkByName(near(neighbour))
	if err != nil {
		return fmt.Errorf("%s: %w", near(neighbour), err)
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK, Src: s.addr[:],
		Dst: &net.IPNet{IP: neighbour[:], Mask: net.CIDRMask(32, 32)}}
	change := s.nl.RouteDel
	if directly {
		change = s.nl.RouteReplace
	}
	if err := change(r); err != nil && (directly || !errors.Is(err, unix.ESRCH)) {
		return fmt.Errorf("route %s: %w", r, err)
	}
	return nil
}

func (s *space) close() error {
	if s.nl != nil {
		s.nl.Close()
	}
	var errs []error
	for _, f := range []*os.File{s.tun, s.ns} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
