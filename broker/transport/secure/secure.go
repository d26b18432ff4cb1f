// Package secure gives the links between nodes mutual TLS. The problem is less the cryptography than two mistakes around
// it: a certificate that any node of the cluster could use to pass for any other, and a certificate that expires because
// using a new one needs a restart.
//
// So a node's certificate carries the DNS name node-ID, which both sides compare with the node id that the handshake
// claims; and the files are read again at each handshake, which is rare, so that a replaced file counts from the next
// connection on.
package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"

	"ackline/broker/id"
)

// Files are the PEM files of a node's identity. All three are needed.
type Files struct {
	Cert string // the node's certificate, then those between it and the CA if there are any
	Key  string // its private key
	CA   string // who signs nodes' certificates
}

// Name is the DNS name that the certificate of a node carries.
func Name(n id.NodeID) string { return fmt.Sprintf("node-%d", n) }

// NameError says that a certificate is not that of the node that shows it.
type NameError struct {
	Node id.NodeID // who it says it is
	Has  []string  // the names in the certificate
	Err  error
}

func (e *NameError) Error() string {
	return fmt.Sprintf("the certificate of what claims to be node %d is for the DNS names %q: it must have %q among them", e.Node, e.Has, Name(e.Node))
}

func (e *NameError) Unwrap() error { return e.Err }

// Keys is a node's identity as the files last gave it. Safe for concurrent use.
type Keys struct {
	files Files

	mu      sync.Mutex // guards the rest
	content [3][]byte
	cert    tls.Certificate
	pool    *x509.CertPool
	err     error // of the last reload, nil if it worked
}

// Load reads the files and checks that they suit each other.
func Load(f Files) (*Keys, error) {
	k := &Keys{files: f}
	k.reload()
	return k, k.err
}

// Err is why the files as they are now cannot be used; what they were before is used meanwhile. Nil when they can be.
func (k *Keys) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *Keys) reload() {
	var content [3][]byte
	for i, name := range []string{k.files.Cert, k.files.Key, k.files.CA} {
		b, err := os.ReadFile(name)
		if err != nil {
			k.err = fmt.Errorf("secure: %w", err)
			return
		}
		content[i] = b
	}
	if bytes.Equal(content[0], k.content[0]) && bytes.Equal(content[1], k.content[1]) && bytes.Equal(content[2], k.content[2]) {
		k.err = nil
		return
	}
	cert, err := tls.X509KeyPair(content[0], content[1])
	if err != nil {
		k.err = fmt.Errorf("secure: %s and %s: %w", k.files.Cert, k.files.Key, err)
		return
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content[2]) {
		k.err = fmt.Errorf("secure: %s holds no certificate", k.files.CA)
		return
	}
	k.content, k.cert, k.pool, k.err = content, cert, pool, nil
}

// current returns what the files say now, or what they said when they last made sense.
func (k *Keys) current() (tls.Certificate, *x509.CertPool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reload()
	return k.cert, k.pool
}

// Server is the configuration for accepting: the other side needs a certificate of the CA. Whose it is, CheckPeer says.
func (k *Keys) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, pool := k.current()
			return &tls.Config{
				MinVersion:             tls.VersionTLS13,
				Certificates:           []tls.Certificate{cert},
				ClientAuth:             tls.RequireAndVerifyClientCert,
				ClientCAs:              pool,
				SessionTicketsDisabled: true, // one that is resumed would not look at the certificate again
			}, nil
		},
	}
}

// Client is the configuration for dialling a node: the other side needs a certificate of the CA and of that node.
func (k *Keys) Client(n id.NodeID) *tls.Config {
	cert, pool := k.current()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ServerName:   Name(n),
	}
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
