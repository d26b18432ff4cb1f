package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
	"ackline/broker/transport/secure"
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
	var alert tls.AlertError
	switch {
	case errors.As(err, &alert):
		return &frame.RefusedError{Reason: frame.BadCertificate, Text: "this node's certificate: " + alert.Error(), By: n}
	case errors.Is(err, io.EOF) && t.cfg.TLS == nil:
		return fmt.Errorf("transport: the connection was closed without a welcome: is it node %d that listens there, and without TLS? %w", n, err)
	}
	return fmt.Errorf("transport: waiting for a welcome: %w", err)
}

// secureClient puts TLS over a connection to a node, if it is wanted.
func (t *Transport) secureClient(sock net.Conn, n id.NodeID) (net.Conn, error) {
	if t.cfg.TLS == nil {
		return sock, nil
	}
	nc := tls.Client(sock, t.cfg.TLS.Client(n))
	err := nc.HandshakeContext(t.ctx)
	t.noteKeys()
	if err == nil {
		return nc, nil
	}
	var bad *tls.CertificateVerificationError
	var name x509.HostnameError
	var alert tls.AlertError
	switch {
	case errors.As(err, &name):
		return nil, t.refusal(frame.BadCertificate, (&secure.NameError{Node: n, Has: name.Certificate.DNSNames, Err: err}).Error())
	case errors.As(err, &bad):
		return nil, t.refusal(frame.BadCertificate, fmt.Sprintf("the certificate of node %d: %v", n, bad.Err))
	case errors.As(err, &alert):
		return nil, t.noWelcome(n, err)
	}
	return nil, fmt.Errorf("transport: TLS with node %d: %w", n, err)
}

// secureServer puts TLS over a connection that was accepted, if it is wanted.
func (t *Transport) secureServer(sock net.Conn) (net.Conn, error) {
	if t.cfg.TLS == nil {
		return sock, nil
	}
	nc := tls.Server(sock, t.cfg.TLS.Server())
	err := nc.HandshakeContext(t.ctx)
	t.noteKeys()
	if err == nil {
		return nc, nil
	}
	var bad *tls.CertificateVerificationError
	var alert tls.AlertError
	if errors.As(err, &bad) || errors.As(err, &alert) {
		return nil, t.refusal(frame.BadCertificate, err.Error())
	}
	return nil, fmt.Errorf("transport: TLS: %w", err)
}

// checkName compares the certificate of a TLS connection with the node that the other side claims to be.
func checkName(nc net.Conn, n id.NodeID) error {
	if tc, ok := nc.(*tls.Conn); ok {
		return secure.CheckPeer(tc.ConnectionState(), n)
	}
	return nil
}

// noteKeys logs when the files of the keys cannot be used any more, and when they can again.
func (t *Transport) noteKeys() {
	said := ""
	err := t.cfg.TLS.Err()
	if err != nil {
		said = err.Error()
	}
	if last := t.keysSaid.Swap(&said); last != nil && *last == said || last == nil && said == "" {
		return
	}
	if err != nil {
		t.cfg.Log.Warn("the TLS files cannot be used, what they held before is", "why", err)
		return
	}
	t.cfg.Log.Info("the TLS files can be used again")
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
