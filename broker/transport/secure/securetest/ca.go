// Package securetest makes the certificates that tests of links need: real ones, since what is tested is who accepts which,
// and fresh ones, since a stored certificate expires on the day when nobody remembers it.
package securetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/secure"
)

// CA signs nodes' certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// NewCA returns a CA that no other knows.
func NewCA(t testing.TB) *CA {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
		NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca := &CA{}
	ca.cert, ca.key, ca.pem = sign(t, tmpl, nil, nil)
	return ca
}

// Node writes the files of a node into a new folder. They are valid for a day.
func (ca *CA) Node(t testing.TB, n id.NodeID) secure.Files {
	t.Helper()
	return ca.NodeBetween(t, n, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
}

// NodeBetween writes the files of a node, valid from one time to another, into a new folder.
func (ca *CA) NodeBetween(t testing.TB, n id.NodeID, from, to time.Time) secure.Files {
	t.Helper()
	return ca.issue(t, &x509.Certificate{SerialNumber: big.NewInt(int64(n) + 2), Subject: pkix.Name{CommonName: secure.Name(n)},
		NotBefore: from, NotAfter: to,
		DNSNames: []string{secure.Name(n)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
}

// ServerOnly writes the files of a node whose certificate is not for dialling.
func (ca *CA) ServerOnly(t testing.TB, n id.NodeID) secure.Files {
	t.Helper()
	return ca.issue(t, &x509.Certificate{SerialNumber: big.NewInt(int64(n) + 2), DNSNames: []string{secure.Name(n)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// Move puts the content of some files in the place of others.
func Move(t testing.TB, from, to secure.Files) {
	t.Helper()
	for _, names := range [][2]string{{from.CA, to.CA}, {from.Cert, to.Cert}, {from.Key, to.Key}} {
		if err := os.Rename(names[0], names[1]); err != nil {
			t.Fatal(err)
		}
	}
}

func (ca *CA) issue(t testing.TB, tmpl *x509.Certificate) secure.Files {
	t.Helper()
	_, key, cert := sign(t, tmpl, ca.cert, ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := secure.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: filepath.Join(dir, "ca.pem")}
	for name, content := range map[string][]byte{f.Cert: cert, f.CA: ca.pem,
		f.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// sign makes a key and a certificate for it; without a parent it signs itself.
func sign(t testing.TB, tmpl, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, by = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
