// Package secure gives the links between nodes mutual TLS. The problem is less the cryptography than two mistakes around
// it: a certificate that any node of the cluster could use to pass for any other, and a certificate that expires because
// using a new one needs a restart.
//
// So a node's certificate carries the DNS name node-ID, which both sides compare with the node id that the handshake
// claims; and the files are read again at each handshake, which is rare, so that a replaced file counts from the next
// connection on. Files that the other nodes would refuse are not taken: at start that is an error, later what was there
// before is used on, so that three files that are replaced one after the other count once they suit each other.
package secure

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"ackline/broker/id"
)

// Files are the PEM files of a node's identity. All three are needed.
type Files struct {
	Cert string // the node's certificate, then those between it and the CA if there are any
	Key  string // its private key
	CA   string // who signs nodes' certificates; several while one takes the place of another
}

// Name is the DNS name that the certificate of a node carries.
func Name(n id.NodeID) string { return fmt.Sprint(prefix, int32(n)) }

const prefix = "node-"

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
	node  id.NodeID
	clock func() time.Time

	mu      sync.Mutex // guards the rest
	loads   int        // that were taken
	content [3][]byte
	cert    tls.Certificate
	pool    *x509.CertPool
	err     error // of the last reload, nil if it worked
}

// Load reads the files of a node and checks that they suit each other and the node, now. clock tells the time, for this and
// for the other nodes' certificates.
func Load(f Files, n id.NodeID, clock func() time.Time) (*Keys, error) {
	k := &Keys{files: f, node: n, clock: clock}
	k.reload()
	return k, k.err
}

// State is what became of the files.
type State struct {
	Changes int       // how often others than before were taken since Load
	Expires time.Time // when the certificate that is used ends, or the first of those between it and the CA
	Err     error     // why the files as they are now cannot be used, and what they were before is; nil when they can be
}

// State returns what the last handshake found.
func (k *Keys) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{Changes: k.loads - 1, Err: k.err}
	for i, der := range k.cert.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil && (i == 0 || c.NotAfter.Before(s.Expires)) {
			s.Expires = c.NotAfter
		}
	}
	return s
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
	if k.loads > 0 && bytes.Equal(content[0], k.content[0]) && bytes.Equal(content[1], k.content[1]) && bytes.Equal(content[2], k.content[2]) {
		k.err = nil // not checked again: what has expired since then says the node that refuses it
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
	if err := k.suits(cert, pool); err != nil {
		k.err = fmt.Errorf("secure: %s: %w", k.files.Cert, err)
		return
	}
	k.content, k.cert, k.pool, k.err = content, cert, pool, nil
	k.loads++
}

// suits tells whether other nodes with the same CA would take the certificate from this node, on either side of a connection.
func (k *Keys) suits(cert tls.Certificate, pool *x509.CertPool) error {
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, c)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: k.clock(), KeyUsages: []x509.ExtKeyUsage{use}})
		var unsuited x509.CertificateInvalidError
		switch {
		case err == nil:
		case errors.As(err, &unsuited) && unsuited.Reason == x509.IncompatibleUsage:
			return errors.New("its extended key usage must have both serverAuth and clientAuth, or be left out: nodes dial each other")
		default:
			return k.why(err)
		}
	}
	if err := chain[0].VerifyHostname(Name(k.node)); err != nil {
		return fmt.Errorf("it is for the DNS names %q, and node %d needs %q among them", chain[0].DNSNames, k.node, Name(k.node))
	}
	return nil
}

// why says what is wrong with a certificate, in words that do not change from one attempt to the next: x509's name the time.
func (k *Keys) why(err error) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		if k.clock().After(c.NotAfter) {
			return fmt.Errorf("%q expired at %s: renew it", c.Subject, c.NotAfter.UTC().Format(time.RFC3339))
		}
		return fmt.Errorf("%q is valid only from %s on: is a clock wrong?", c.Subject, c.NotBefore.UTC().Format(time.RFC3339))
	case errors.As(err, &unknown):
		return fmt.Errorf("it is signed by none of the CAs in %s", k.files.CA)
	}
	return err
}

// current returns what the files say now, or what they said when they last made sense.
func (k *Keys) current() (tls.Certificate, *x509.CertPool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reload()
	return k.cert, k.pool
}
