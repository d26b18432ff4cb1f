package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/secure"
)

// TLS makes the links between nodes mutual TLS: all nodes have it, or none. The files are PEM and are read again for each new
// connection, so that replaced ones count without a restart. All three, or none of them: plain TCP, and nobody authenticated.
type TLS struct {
	// CertFile is the node's certificate, which has the DNS name node-ID (node-1, node-2, …), then those between it and the CA if
	// there are any.
	CertFile string `toml:"cert_file"`
	// KeyFile is its private key.
	KeyFile string `toml:"key_file"`
	// CAFile holds who signs the nodes' certificates; two of them while one takes the place of the other.
	CAFile string `toml:"ca_file"`
}

// On tells whether the links are TLS.
func (t TLS) On() bool { return t != TLS{} }

// Keys reads the files of this node, nil without any. What other nodes would refuse is an error.
func (c Config) Keys() (*secure.Keys, error) {
	t := c.Cluster.TLS
	if !t.On() {
		return nil, nil
	}
	k, err := secure.Load(secure.Files{Cert: t.CertFile, Key: t.KeyFile, CA: t.CAFile}, id.NodeID(c.Node.ID), time.Now)
	if err != nil {
		return nil, fmt.Errorf("cluster.tls (--tls-cert, --tls-key, --tls-ca): %w", err)
	}
	return k, nil
}

// check refuses what would leave links open that somebody believes to be secured.
func (t TLS) check(peers int) error {
	if !t.On() {
		return nil
	}
	if peers == 0 {
		return errors.New("cluster.tls (--tls-cert, --tls-key, --tls-ca) is for the links between nodes, and there are no others: " +
			"clients' connections cannot be TLS yet")
	}
	var missing []string
	for _, f := range []struct{ name, v string }{
		{"cluster.tls.cert_file (--tls-cert)", t.CertFile}, {"cluster.tls.key_file (--tls-key)", t.KeyFile}, {"cluster.tls.ca_file (--tls-ca)", t.CAFile},
	} {
		if f.v == "" {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s: not set; TLS between nodes needs the certificate, its key and the CA", strings.Join(missing, ", "))
	}
	return nil
}
