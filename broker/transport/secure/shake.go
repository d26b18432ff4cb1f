package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"

	"ackline/broker/id"
)

// Nobody is the node of a CertificateError that names none.
const Nobody id.NodeID = -1

// CertificateError says that a certificate was not taken, by this node or by the other. Its text stays the same while nothing
// changes.
type CertificateError struct {
	Node  id.NodeID // the other side, as far as it is known: who was dialled, or who the refused certificate is for
	There bool      // the other side has refused this node's certificate
	Text  string
}

func (e *CertificateError) Error() string { return e.Text }

// server is the configuration for accepting: the other side needs a certificate of the CA. Whose it is, CheckPeer says.
func (k *Keys) server() *tls.Config {
	cert, pool := k.current()
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{cert},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              pool,
		SessionTicketsDisabled: true, // one that is resumed would not look at the certificate again
		Time:                   k.clock,
	}
}

// client is the configuration for dialling a node: the other side needs a certificate of the CA and of that node.
func (k *Keys) client(n id.NodeID) *tls.Config {
	cert, pool := k.current()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   Name(n),
		Time:         k.clock,
	}
}

// Dial does the handshake with a node from the side that dialled. That the node refuses this one's certificate comes later,
// with the first read: see Refused.
func (k *Keys) Dial(ctx context.Context, sock net.Conn, n id.NodeID) (net.Conn, error) {
	nc := tls.Client(sock, k.client(n))
	err := nc.HandshakeContext(ctx)
	if err == nil {
		return nc, nil
	}
	var bad *tls.CertificateVerificationError
	var name x509.HostnameError
	switch {
	case errors.As(err, &name):
		return nil, &CertificateError{Node: n, Text: (&NameError{Node: n, Has: name.Certificate.DNSNames}).Error()}
	case errors.As(err, &bad):
		return nil, &CertificateError{Node: n, Text: fmt.Sprintf("the certificate of node %d: %v", n, k.why(bad.Err))}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return nil, ErrNoTLS // which of the three it is depends on when it is noticed
	}
	if refused := Refused(err, n); refused != nil {
		return nil, refused
	}
	return nil, fmt.Errorf("secure: with node %d: %w", n, err)
}

// ErrNoTLS is what a node says that was dialled with TLS and has none.
var ErrNoTLS = errors.New("secure: the connection ended where TLS begins: what listens there has no TLS (all nodes need it, or none), or has just stopped")

// Refused is the error of a read that tells of the other side's refusal of this node's certificate, nil for any other.
func Refused(err error, n id.NodeID) error {
	var alert *net.OpError // its Err is no tls.AlertError: that is for QUIC
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		return nil
	}
	return &CertificateError{Node: n, There: true, Text: "TLS with this node's certificate: " + alert.Error()}
}

// Accept does the handshake from the side that accepted.
func (k *Keys) Accept(ctx context.Context, sock net.Conn) (net.Conn, error) {
	nc := tls.Server(sock, k.server())
	err := nc.HandshakeContext(ctx)
	if err == nil {
		return nc, nil
	}
	var bad *tls.CertificateVerificationError
	if errors.As(err, &bad) && len(bad.UnverifiedCertificates) > 0 {
		names := bad.UnverifiedCertificates[0].DNSNames
		return nil, &CertificateError{Node: claimed(names), Text: fmt.Sprintf("the certificate for the DNS names %q: %v", names, k.why(bad.Err))}
	}
	if refused := Refused(err, Nobody); refused != nil {
		return nil, refused
	}
	return nil, fmt.Errorf("secure: %w", err)
}

// claimed is the node that a certificate is for, by its names.
func claimed(names []string) id.NodeID {
	for _, name := range names {
		if digits, ok := strings.CutPrefix(name, prefix); ok {
			if n, err := strconv.ParseInt(digits, 10, 32); err == nil && n > 0 {
				return id.NodeID(n)
			}
		}
	}
	return Nobody
}

// CheckPeer compares the certificate that the other side has shown with the node that it claims to be.
func CheckPeer(s tls.ConnectionState, n id.NodeID) error {
	if len(s.PeerCertificates) == 0 {
		return &NameError{Node: n}
	}
	cert := s.PeerCertificates[0]
	if err := cert.VerifyHostname(Name(n)); err != nil {
		return &NameError{n, cert.DNSNames, err}
	}
	return nil
}

// recordHandshake is the first byte of everyone who begins with TLS.
const recordHandshake = 0x16

// Listen reads the first byte of a connection that was accepted, and tells whether TLS begins there. What is to be read then
// is read from the connection that it returns.
func Listen(sock net.Conn) (nc net.Conn, isTLS bool, err error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(sock, first); err != nil {
		return nil, false, err
	}
	return &begun{Conn: sock, first: first}, first[0] == recordHandshake, nil
}

// begun is a connection of which something was read already.
type begun struct {
	net.Conn
	first []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}
