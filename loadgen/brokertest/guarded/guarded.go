// Package guarded is a cluster for tests that does not let everybody in: franz-go's kfake, which shares no code with the broker
// that is measured, behind TLS, client certificates, SASL and access control, with everything that a client needs in files.
package guarded

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/secure"
)

// User may do everything and Guest only what Ask.Guest says; Password is both's, and a word that is nowhere else.
const (
	User     = "bench"
	Guest    = "guest"
	Password = "Sesame-7319-Open"
)

// Ask is what the cluster asks of its clients.
type Ask struct {
	TLS    bool
	Mutual bool   // a client certificate too; needs TLS
	SASL   string // a mechanism of package secure, "" for none
	// Guest is what the user Guest may do with any topic; nil switches access control off. Needs SASL.
	Guest []kmsg.ACLOperation
}

// Cluster is a cluster of one broker.
type Cluster struct {
	*kfake.Cluster
	Addr string
	// Files with the authority's certificate, a client's certificate and key, and the password.
	CA, Cert, Key, PasswordFile string

	ask Ask
}

// Start starts a cluster on loopback; the test's end stops it.
func Start(t testing.TB, ask Ask) *Cluster {
	t.Helper()
	c := &Cluster{ask: ask}
	opts := []kfake.Opt{kfake.NumBrokers(1)}
	if ask.TLS {
		opts = append(opts, kfake.TLS(c.certify(t)))
	}
	if ask.SASL != "" {
		mechanism := strings.ToUpper(ask.SASL)
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser(mechanism, User, Password))
		var acls []kfake.ACL
		for _, op := range ask.Guest {
			acls = append(acls, kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true})
		}
		if ask.Guest != nil {
			opts = append(opts, kfake.EnableACLs(), kfake.User(mechanism, Guest, Password, acls...))
		}
		c.PasswordFile = write(t, "password", []byte(Password+"\n"))
	}
	var err error
	if c.Cluster, err = kfake.NewCluster(opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Cluster.Close)
	c.Addr = c.ListenAddrs()[0]
	return c
}

// Config is what lets a client in.
func (c *Cluster) Config() secure.Config {
	out := secure.Config{TLS: c.ask.TLS, CAFile: c.CA, SASL: c.ask.SASL, PasswordFile: c.PasswordFile}
	if c.ask.SASL != "" {
		out.User = User
	}
	if c.ask.Mutual {
		out.CertFile, out.KeyFile = c.Cert, c.Key
	}
	return out
}

// Flags are loadgen's for the same, the address included.
func (c *Cluster) Flags() []string {
	out := []string{"--brokers", c.Addr}
	if c.ask.TLS {
		out = append(out, "--tls", "--tls-ca", c.CA)
	}
	if c.ask.Mutual {
		out = append(out, "--tls-cert", c.Cert, "--tls-key", c.Key)
	}
	if c.ask.SASL != "" {
		out = append(out, "--sasl", c.ask.SASL, "--sasl-user", User, "--sasl-password-file", c.PasswordFile)
	}
	return out
}

// Has reports whether the topic exists.
func (c *Cluster) Has(topic string) bool { return c.TopicInfo(topic) != nil }

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certify makes an authority, a broker's certificate for loopback and a client's, and returns the broker's configuration.
func (c *Cluster) certify(t testing.TB) *tls.Config {
	t.Helper()
	ca := issue(t, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	broker := issue(t, ca, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"broker.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	client := issue(t, ca, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	c.CA = write(t, "ca.pem", block("CERTIFICATE", ca.Certificate[0]))
	c.Cert = write(t, "cert.pem", block("CERTIFICATE", client.Certificate[0]))
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c.Key = write(t, "key.pem", block("PRIVATE KEY", key))
	out := &tls.Config{Certificates: []tls.Certificate{*broker}}
	if c.ask.Mutual {
		out.ClientAuth, out.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		out.ClientCAs.AddCert(ca.Leaf)
	}
	return out
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// issue makes a certificate like template, signed by an authority, or by itself without one.
func issue(t testing.TB, by *tls.Certificate, template *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "loadgen test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
