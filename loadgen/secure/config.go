// Package secure makes connections that a guarded cluster accepts: with TLS, a client certificate, SASL.
//
// The problem: the generator reaches a cluster in several ways (questions, raw sockets, a client library), and each has to show
// the same papers; and a secret that passes through a configuration ends up in a result, a log or a shell's history. So a
// Config says where the secrets lie and never holds one, and its JSON may stand in a result that is published. Only a Client,
// which has no exported field, knows the password.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// PasswordEnv is the environment variable that holds the SASL password when no file does.
const PasswordEnv = "LOADGEN_SASL_PASSWORD"

// The SASL mechanisms, as they are asked for.
const (
	Plain       = "plain"
	ScramSHA256 = "scram-sha-256"
	ScramSHA512 = "scram-sha-512"
)

// Config is what a cluster asks of its clients. The zero value is plain TCP, and no field holds a secret.
type Config struct {
	// TLS encrypts, and verifies the broker's certificate. The other TLS fields need it.
	TLS bool `json:"tls,omitempty" toml:"tls"`
	// CAFile is a PEM file with the authorities to believe; "" means those of the system.
	CAFile string `json:"tls_ca,omitempty" toml:"tls_ca"`
	// CertFile and KeyFile are PEM files of a client certificate, for clusters that ask for one. "" means none.
	CertFile string `json:"tls_cert,omitempty" toml:"tls_cert"`
	KeyFile  string `json:"tls_key,omitempty" toml:"tls_key"`
	// ServerName is the name that the brokers' certificates must bear; "" means the host of the address that is dialled.
	ServerName string `json:"tls_server_name,omitempty" toml:"tls_server_name"`
	// Insecure believes every certificate. Whoever sits between can then read and change everything.
	Insecure bool `json:"tls_insecure,omitempty" toml:"tls_insecure"`

	// SASL is one of the mechanisms above; "" means none. User needs it.
	SASL string `json:"sasl,omitempty" toml:"sasl"`
	User string `json:"sasl_user,omitempty" toml:"sasl_user"`
	// PasswordFile holds the password, and perhaps a line's end behind it; "" means that PasswordEnv does.
	PasswordFile string `json:"sasl_password_file,omitempty" toml:"sasl_password_file"`
}

// Validate says what is wrong with c, without looking into a file.
func (c Config) Validate() error {
	if !c.TLS {
		for _, f := range []struct {
			name string
			set  bool
		}{{"tls-ca", c.CAFile != ""}, {"tls-cert", c.CertFile != ""}, {"tls-key", c.KeyFile != ""},
			{"tls-server-name", c.ServerName != ""}, {"tls-insecure", c.Insecure}} {
			if f.set {
				return fmt.Errorf("--%s without --tls: give that too, or nothing is encrypted", f.name)
			}
		}
	}
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("a client certificate needs both --tls-cert and --tls-key")
	case c.Insecure && (c.CAFile != "" || c.ServerName != ""):
		return errors.New("--tls-insecure believes every certificate: leave --tls-ca and --tls-server-name away, or better --tls-insecure")
	case c.SASL == "" && (c.User != "" || c.PasswordFile != ""):
		return fmt.Errorf("--sasl-user and --sasl-password-file need --sasl %s, %s or %s", Plain, ScramSHA256, ScramSHA512)
	case c.SASL != "" && c.SASL != Plain && c.SASL != ScramSHA256 && c.SASL != ScramSHA512:
		return fmt.Errorf("sasl %q: want %s, %s or %s", c.SASL, Plain, ScramSHA256, ScramSHA512)
	case c.SASL != "" && c.User == "":
		return fmt.Errorf("--sasl %s needs --sasl-user, and the password in a file (--sasl-password-file) or in the environment (%s)", c.SASL, PasswordEnv)
	}
	return nil
}

// String is what protects the connections, in words; "" for plain TCP.
func (c Config) String() string {
	var out []string
	switch {
	case c.Insecure:
		out = append(out, "TLS WITHOUT VERIFICATION of who answers")
	case c.TLS:
		out = append(out, "TLS")
	}
	if c.CertFile != "" {
		out = append(out, "a client certificate")
	}
	if c.SASL != "" {
		out = append(out, "SASL "+strings.ToUpper(c.SASL))
	}
	return strings.Join(out, ", ")
}

// Warnings are what a person should know before connecting like this.
func (c Config) Warnings() (out []string) {
	if c.Insecure {
		out = append(out, "--tls-insecure believes every certificate: whoever sits between here and the brokers can read and change everything, a SASL PLAIN password included")
	}
	if c.SASL == Plain && !c.TLS {
		out = append(out, "--sasl plain without --tls sends the password in clear text")
	}
	return out
}

// Client shows the papers. A nil Client has none to show: its connections are plain TCP. Safe for concurrent use.
type Client struct {
	tls       *tls.Config // nil: not encrypted
	mechanism sasl.Mechanism
	config    Config
}

// Open reads the files and the environment that c names. nil without an error: nothing is asked for.
func (c Config) Open() (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.TLS && c.SASL == "" {
		return nil, nil
	}
	s := &Client{config: c}
	var err error
	if c.TLS {
		if s.tls, err = c.openTLS(); err != nil {
			return nil, err
		}
	}
	if c.SASL == "" {
		return s, nil
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	switch c.SASL {
	case Plain:
		s.mechanism = plain.Auth{User: c.User, Pass: password}.AsMechanism()
	case ScramSHA256:
		s.mechanism = scram.Auth{User: c.User, Pass: password}.AsSha256Mechanism()
	case ScramSHA512:
		s.mechanism = scram.Auth{User: c.User, Pass: password}.AsSha512Mechanism()
	}
	return s, nil
}

func (c Config) openTLS() (*tls.Config, error) {
	out := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.Insecure, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-ca %s: no certificate in PEM form (-----BEGIN CERTIFICATE-----) is in it", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s with --tls-key %s: %w", c.CertFile, c.KeyFile, err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		if p := os.Getenv(PasswordEnv); p != "" {
			return p, nil
		}
		return "", fmt.Errorf("no SASL password: put it in a file (--sasl-password-file) or in the environment (%s); no flag takes it, because others can see a command line", PasswordEnv)
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("--sasl-password-file: %w", err)
	}
	p := strings.TrimRight(string(b), "\r\n")
	if p == "" {
		return "", fmt.Errorf("--sasl-password-file %s is empty", c.PasswordFile)
	}
	return p, nil
}
