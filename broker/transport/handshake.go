package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure"
	"ackline/broker/transport/wide"
)

// introduce goes through the handshake from the side that dialled.
func (t *Transport) introduce(sock net.Conn, p *peer, c frame.Class) (nc net.Conn, w frame.Welcome, err error) {
	sock.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
	if nc, err = t.secureClient(sock, p.id); err != nil {
		return nil, w, err
	}
	hello := frame.Hello{Version: frame.Version, Class: c, Features: t.cfg.Features, From: t.cfg.Node, To: p.id,
		Identity: t.cfg.Identity, Cluster: t.cfg.Cluster}
	if _, err = nc.Write(hello.Frame()); err != nil {
		return nil, w, fmt.Errorf("transport: sending a hello: %w", err)
	}
	h, body, err := frame.Receive(nc, nil, frame.MaxHandshakeBody)
	if err != nil {
		return nil, w, t.noWelcome(p.id, err)
	}
	if h.Kind != frame.KindWelcome {
		return nil, w, fmt.Errorf("%w: %v where a welcome belongs", frame.ErrFormat, h.Kind)
	}
	if w, err = frame.DecodeWelcome(body); err == nil {
		err = w.Err()
	}
	switch {
	case err != nil:
	case w.Version != frame.Version:
		err = t.refusal(frame.OtherVersion, fmt.Sprintf("node %d speaks format %d, this node %d", w.Node, w.Version, frame.Version))
	case w.Node != p.id:
		err = t.refusal(frame.OtherNode, fmt.Sprintf("node %d listens where node %d is said to: correct its address", w.Node, p.id))
	case w.Features < t.cfg.MinFeatures:
		err = t.refusal(frame.OtherFeatures, fmt.Sprintf("node %d has feature level %d, the cluster needs %d: update it",
			w.Node, w.Features, t.cfg.MinFeatures))
	}
	sock.SetDeadline(time.Time{})
	return nc, w, err
}

// noWelcome says what the end of a connection means on which a welcome was expected.
func (t *Transport) noWelcome(n id.NodeID, err error) error {
	if refused := secure.Refused(err, n); refused != nil {
		return t.insecure(refused)
	}
	return fmt.Errorf("transport: waiting for a welcome: %w", err)
}

// secureClient puts TLS over a connection to a node, if it is wanted.
func (t *Transport) secureClient(sock net.Conn, n id.NodeID) (net.Conn, error) {
	if t.cfg.TLS == nil {
		return sock, nil
	}
	nc, err := t.cfg.TLS.Dial(t.ctx, sock, n)
	t.noteKeys()
	return nc, t.insecure(err)
}

// secureServer puts TLS over a connection that was accepted, if it is wanted: nc is for what comes after the handshake, in is
// what the hello is to be read from. A hello without TLS where it is wanted passes, for judge to answer.
func (t *Transport) secureServer(sock net.Conn) (nc, in net.Conn, err error) {
	in, isTLS, err := secure.Listen(sock)
	switch {
	case err != nil:
		return nil, nil, err
	case !isTLS:
		return sock, in, nil
	case t.cfg.TLS == nil:
		return nil, nil, t.refusal(frame.OtherTLS, "the other side begins with TLS, and this node has none: give it to all nodes or to none")
	}
	nc, err = t.cfg.TLS.Accept(t.ctx, in)
	t.noteKeys()
	return nc, nc, err
}

// insecure makes a refusal of the error of a certificate.
func (t *Transport) insecure(err error) error {
	var bad *secure.CertificateError
	if !errors.As(err, &bad) {
		return err
	}
	by := t.cfg.Node
	if bad.There {
		by = max(bad.Node, 0)
	}
	return &frame.RefusedError{Reason: frame.BadCertificate, Text: bad.Text, By: by}
}

// checkSecured wants TLS if this node has it, and compares the certificate with the node that the other side claims to be.
func (t *Transport) checkSecured(nc net.Conn, n id.NodeID) *frame.RefusedError {
	if t.cfg.TLS == nil {
		return nil
	}
	tc, ok := nc.(*tls.Conn)
	if !ok {
		return t.refusal(frame.OtherTLS, fmt.Sprintf("node %d has no TLS, and node %d takes nothing else: give it to all nodes or to none", n, t.cfg.Node))
	}
	if err := secure.CheckPeer(tc.ConnectionState(), n); err != nil {
		return t.refusal(frame.BadCertificate, err.Error())
	}
	return nil
}

// noteKeys logs when the files of the keys cannot be used any more, and when others are.
func (t *Transport) noteKeys() {
	t.keysMu.Lock()
	s, last := t.cfg.TLS.State(), t.keysSaid
	t.keysSaid = s
	t.keysMu.Unlock()
	switch {
	case s.Changes == last.Changes && fmt.Sprint(s.Err) == fmt.Sprint(last.Err):
	case s.Err != nil:
		t.cfg.Log.Warn("the TLS files cannot be used, what they held before is", "why", s.Err)
	default:
		t.cfg.Log.Info("the TLS files are used", "certificate_expires", s.Expires)
	}
}

// widen gives a bulk connection the buffers that its line needs.
func (t *Transport) widen(sock net.Conn, p *peer, c frame.Class) {
	if c == frame.Bulk && t.cfg.LineRate > 0 {
		if err := wide.Tune(sock, wide.Read(wide.Proc), t.cfg.LineRate, p.rtt.Estimate().Smoothed); err != nil {
			t.cfg.Log.Warn("the line to a node is wider than the buffers", "node", p.id, "why", err)
		}
	}
}

// setOptions configures the socket of a connection; other than TCP has nothing to configure. Errors are not looked at: a
// connection that is broken says so soon enough.
func (t *Transport) setOptions(nc net.Conn) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	tc.SetNoDelay(true)
	tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: t.cfg.KeepAlive, Interval: t.cfg.KeepAlive, Count: 3})
	if n := t.cfg.SocketSendBytes; n > 0 {
		tc.SetWriteBuffer(n)
	}
	if n := t.cfg.SocketReceiveBytes; n > 0 {
		tc.SetReadBuffer(n)
	}
	if raw, err := tc.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.cfg.UserTimeout.Milliseconds()))
		})
	}
}
