package secure_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/brokertest/guarded"
	"ackline/loadgen/secure"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// enter connects to addr with what config says.
func enter(t *testing.T, config secure.Config, addr string) error {
	t.Helper()
	client, err := config.Open()
	if err != nil {
		return err
	}
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := client.Secure(raw, addr)
	if err != nil {
		return err
	}
	f := kmsg.NewRequestFormatter()
	if _, err := conn.Write(f.AppendRequest(nil, kmsg.NewPtrMetadataRequest(), 1)); err != nil {
		return client.Explain(conn, err)
	}
	_, err = io.ReadFull(conn, make([]byte, 8))
	return client.Explain(conn, err)
}

func TestSecure(t *testing.T) {
	for _, ask := range []guarded.Ask{{}, {TLS: true}, {TLS: true, Mutual: true, SASL: secure.ScramSHA512}, {SASL: secure.Plain}, {SASL: secure.ScramSHA256}} {
		c := guarded.Start(t, ask)
		if err := enter(t, c.Config(), c.Addr); err != nil {
			t.Errorf("%+v: %v", ask, err)
		}
		named := c.Config()
		if named.ServerName = "broker.example"; ask.TLS {
			if err := enter(t, named, c.Addr); err != nil {
				t.Errorf("%+v by another of its names: %v", ask, err)
			}
		}
		blind := secure.Config{TLS: true, Insecure: true}
		if ask.TLS && !ask.Mutual {
			if err := enter(t, blind, c.Addr); err != nil {
				t.Errorf("%+v without verification: %v", ask, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	mutual := guarded.Start(t, guarded.Ask{TLS: true, Mutual: true})
	plain := guarded.Start(t, guarded.Ask{})
	for what, c := range map[string]struct {
		change func(*secure.Config)
		says   string
	}{
		"an unknown authority": {func(c *secure.Config) { c.CAFile = "" }, "--tls-ca"},
		"another name":         {func(c *secure.Config) { c.ServerName = "db.example" }, "--tls-server-name"},
		"no certificate":       {func(c *secure.Config) { c.CertFile, c.KeyFile = "", "" }, "--tls-cert"},
	} {
		config := mutual.Config()
		c.change(&config)
		err := enter(t, config, mutual.Addr)
		if err == nil || !secure.Refused(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := enter(t, plain.Config(), plain.Addr); err != nil {
		t.Error(err)
	}
	for _, err := range []error{kerr.TopicAuthorizationFailed, fmt.Errorf("x: %w", kerr.ClusterAuthorizationFailed)} {
		if !secure.Refused(err) {
			t.Errorf("%v is no refusal", err)
		}
	}
	for _, err := range []error{nil, io.EOF, kerr.NotLeaderForPartition, &secure.Refusal{Err: io.EOF, Silent: true}} {
		if secure.Refused(err) {
			t.Errorf("%v is a refusal", err)
		}
	}
}

// reset is a connection whose writes fail from some time on, as they do when the other side has hung up.
type reset struct {
	net.Conn
	from bool
}

func (r *reset) Write(p []byte) (int, error) {
	if r.from {
		return 0, syscall.EPIPE
	}
	return r.Conn.Write(p)
}

// With TLS 1.3 the client's side of a handshake is over before the broker has judged it: the next write may fail before the
// judgement is read.
func TestRefusalBehindAFailedWrite(t *testing.T) {
	c := guarded.Start(t, guarded.Ask{TLS: true, Mutual: true})
	config := c.Config()
	config.CertFile, config.KeyFile = "", ""
	client, err := config.Open()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := &reset{Conn: raw}
	conn, err := client.Secure(r, c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	r.from = true
	_, err = conn.Write([]byte("x"))
	if err = client.Explain(conn, err); !secure.Refused(err) || !strings.Contains(err.Error(), "--tls-cert") {
		t.Errorf("%v", err)
	}
}

// answers is a broker that answers one request after the other with what is given, and then hangs up.
func answers(t *testing.T, bodies ...kmsg.Response) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for _, b := range bodies {
			var size [4]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
				return
			}
			b.SetVersion(1)
			body := b.AppendTo([]byte{0, 0, 0, 1})
			conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
		}
	}()
	return l.Addr().String()
}

// What Kafka itself says to a wrong password, to a mechanism that it does not have, and to nothing at all.
func TestSASLAnswers(t *testing.T) {
	t.Setenv(secure.PasswordEnv, "Sesame")
	welcome := kmsg.NewPtrSASLHandshakeResponse()
	elsewhere := kmsg.NewPtrSASLHandshakeResponse()
	elsewhere.ErrorCode, elsewhere.SupportedMechanisms = kerr.UnsupportedSaslMechanism.Code, []string{"GSSAPI"}
	no := kmsg.NewPtrSASLAuthenticateResponse()
	no.ErrorCode = kerr.SaslAuthenticationFailed.Code
	forged := kmsg.NewPtrSASLAuthenticateResponse()
	forged.SASLAuthBytes = []byte("r=mine,s=c2FsdA==,i=4096")
	for what, c := range map[string]struct {
		mechanism string
		answers   []kmsg.Response
		refused   bool
		says      []string
	}{
		"a wrong password":       {secure.Plain, []kmsg.Response{welcome, no}, true, []string{"SASL_AUTHENTICATION_FAILED", `user "u"`, secure.PasswordEnv}},
		"no such mechanism":      {secure.Plain, []kmsg.Response{elsewhere}, true, []string{"UNSUPPORTED_SASL_MECHANISM", "GSSAPI"}},
		"silence":                {secure.Plain, []kmsg.Response{welcome}, false, []string{"closed in answer to the password"}},
		"a broker that pretends": {secure.ScramSHA256, []kmsg.Response{welcome, forged}, true, []string{"nonce"}},
	} {
		err := enter(t, secure.Config{SASL: c.mechanism, User: "u"}, answers(t, c.answers...))
		if err == nil || secure.Refused(err) != c.refused || strings.Contains(err.Error(), "Sesame") {
			t.Errorf("%s: refused %v, %v", what, secure.Refused(err), err)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v does not say %q", what, err, s)
			}
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	for what, c := range map[string]secure.Config{
		"an authority without TLS": {CAFile: "a"},
		"blind without TLS":        {Insecure: true},
		"half a certificate":       {TLS: true, CertFile: "a"},
		"blind and not":            {TLS: true, Insecure: true, CAFile: "a"},
		"a user for nothing":       {User: "u"},
		"a mechanism":              {SASL: "gssapi", User: "u"},
		"nobody":                   {SASL: secure.Plain},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

// Files that are missing, empty, or something else.
func TestFiles(t *testing.T) {
	t.Setenv(secure.PasswordEnv, "")
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		config secure.Config
		says   string
	}{
		"no password":       {secure.Config{SASL: secure.Plain, User: "u"}, secure.PasswordEnv},
		"an empty password": {secure.Config{SASL: secure.Plain, User: "u", PasswordFile: text}, "is empty"},
		"no such file":      {secure.Config{SASL: secure.Plain, User: "u", PasswordFile: text + "2"}, "--sasl-password-file"},
		"no authority":      {secure.Config{TLS: true, CAFile: text}, "PEM"},
		"no such authority": {secure.Config{TLS: true, CAFile: text + "2"}, "--tls-ca"},
		"no certificate":    {secure.Config{TLS: true, CertFile: text, KeyFile: text}, "--tls-cert"},
	} {
		if _, err := c.config.Open(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A configuration and a client that knows the password show it to nobody.
func TestNoSecretIsShown(t *testing.T) {
	c := guarded.Start(t, guarded.Ask{TLS: true, Mutual: true, SASL: secure.ScramSHA256})
	client, err := c.Config().Open()
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(c.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{c.Config(), client} {
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range []string{string(js), fmt.Sprint(v), fmt.Sprintf("%+v", v)} {
			if strings.Contains(shown, guarded.Password) || strings.Contains(shown, string(key)) {
				t.Errorf("%T: %s", v, shown)
			}
		}
	}
	if got, _ := json.Marshal(c.Config()); !strings.Contains(string(got), `"sasl_user":"`+guarded.User+`"`) {
		t.Errorf("the configuration is not there at all: %s", got)
	}
}
