package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/frame"
)

// Refusal is a no that trying again does not change: a certificate or a password that is not accepted.
type Refusal struct {
	Err  error
	Hint string // what would help
	// Silent: nobody said no, the connection was closed where an answer was due. Brokers do that to whom they do not know, and when
	// they die.
	Silent bool
}

func (r *Refusal) Error() string {
	if r.Hint == "" {
		return r.Err.Error()
	}
	return fmt.Sprintf("%v: %s", r.Err, r.Hint)
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Refused reports whether err says that this client may not do what it tried, or that one of the two does not believe the
// other: nothing that passes by itself.
func Refused(err error) bool {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return !r.Silent
	}
	for _, code := range []error{kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.GroupAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// Secure takes a fresh TCP connection to addr through TLS and SASL and returns what to talk over: conn, or a *tls.Conn on it. How
// long it may take is conn's deadline, which the caller sets; on an error the caller closes conn.
func (s *Client) Secure(conn net.Conn, addr string) (net.Conn, error) {
	if s == nil {
		return conn, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if s.tls != nil {
		cfg := s.tls.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName = host
		}
		t := tls.Client(conn, cfg)
		// Without a context of its own: that would close conn from another goroutine, and conn may be a bare descriptor.
		if err := t.HandshakeContext(context.Background()); err != nil {
			if closed(err) || errors.Is(err, os.ErrDeadlineExceeded) {
				err = &Refusal{Err: fmt.Errorf("no answer to the handshake: %w", err), Hint: "does that listener speak TLS?", Silent: true}
			}
			return nil, fmt.Errorf("TLS with %s: %w", addr, s.explain(err))
		}
		conn = t
	}
	if s.mechanism != nil {
		if err := s.authenticate(conn, host); err != nil {
			return nil, fmt.Errorf("SASL with %s: %w", addr, s.Explain(conn, err))
		}
	}
	return conn, nil
}

// Options are franz-go's for the same.
func (s *Client) Options() (out []kgo.Opt) {
	if s == nil {
		return nil
	}
	if s.tls != nil {
		out = append(out, kgo.DialTLSConfig(s.tls.Clone()))
	}
	if s.mechanism != nil {
		out = append(out, kgo.SASL(s.mechanism))
	}
	return out
}

// String is the Config's.
func (s *Client) String() string {
	if s == nil {
		return ""
	}
	return s.config.String()
}

// Explain says of a failure on a connection that Secure made whether it is a Refusal. With TLS 1.3 a broker judges a
// client's certificate after the handshake is over for the client: the verdict is read with the first answer, or lies unread
// behind a write that failed, so conn is read once more then.
func (s *Client) Explain(conn net.Conn, err error) error {
	if s == nil || s.tls == nil || err == nil {
		return err
	}
	if _, lost := errors.AsType[syscall.Errno](err); lost {
		if _, last := conn.Read(make([]byte, 1)); alert(last) {
			err = last
		}
	}
	return s.explain(err)
}

// alert reports whether err is what the other side of TLS answered.
func alert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// explain makes a Refusal of what does not pass, and says what would help.
func (s *Client) explain(err error) error {
	if _, ok := errors.AsType[*Refusal](err); ok {
		return err
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &Refusal{Err: unknown, Hint: "give the authority that signed the broker's certificate with --tls-ca"}
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return &Refusal{Err: name, Hint: "connect by a name that the certificate bears, or say with --tls-server-name which one is right"}
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &Refusal{Err: bad}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &Refusal{Err: err, Hint: "what listens there does not speak TLS: leave --tls away, or use the cluster's TLS listener"}
	}
	switch {
	case alert(err) && s.config.CertFile == "" && strings.Contains(err.Error(), "certificate"):
		return &Refusal{Err: err, Hint: "the broker wants a client certificate: give --tls-cert and --tls-key"}
	case alert(err) && strings.Contains(err.Error(), "certificate"):
		return &Refusal{Err: err, Hint: "the broker does not accept the client certificate of --tls-cert"}
	case alert(err):
		return &Refusal{Err: err}
	}
	return err
}

// closed reports whether err is that the other side hung up.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// authenticate is SaslHandshake and then as many SaslAuthenticate as the mechanism takes. A broker that bounds how long a session
// lasts closes the connection then; the next one authenticates again.
func (s *Client) authenticate(conn net.Conn, host string) error {
	shake := kmsg.NewPtrSASLHandshakeRequest()
	shake.Version, shake.Mechanism = 1, s.mechanism.Name()
	resp, err := ask(conn, shake)
	if err != nil {
		return err
	}
	sh := resp.(*kmsg.SASLHandshakeResponse)
	if err := kerr.ErrorForCode(sh.ErrorCode); err != nil {
		return &Refusal{Err: fmt.Errorf("SASL %s: %w", shake.Mechanism, err), Hint: fmt.Sprintf("the broker offers %v", sh.SupportedMechanisms)}
	}
	session, say, err := s.mechanism.Authenticate(context.Background(), host)
	if err != nil {
		return fmt.Errorf("SASL %s: %w", shake.Mechanism, err)
	}
	for done := false; !done; {
		auth := kmsg.NewPtrSASLAuthenticateRequest()
		auth.Version, auth.SASLAuthBytes = 1, say
		resp, err := ask(conn, auth)
		if closed(err) {
			return &Refusal{Err: fmt.Errorf("the connection was closed in answer to the password of user %q", s.config.User), Hint: s.doubt(), Silent: true}
		}
		if err != nil {
			return err
		}
		sa := resp.(*kmsg.SASLAuthenticateResponse)
		if err := kerr.ErrorForCode(sa.ErrorCode); err != nil {
			return &Refusal{Err: fmt.Errorf("SASL %s as user %q: %w", shake.Mechanism, s.config.User, err), Hint: s.doubt()}
		}
		done, say, err = session.Challenge(sa.SASLAuthBytes)
		if err != nil && strings.Contains(err.Error(), "signature") { // the error's text holds the right one
			return &Refusal{Err: fmt.Errorf("SASL %s: the broker does not know the password that it asks for", shake.Mechanism), Hint: "is that your cluster?"}
		}
		if err != nil {
			return &Refusal{Err: fmt.Errorf("SASL %s as user %q: %w", shake.Mechanism, s.config.User, err)}
		}
	}
	return nil
}

// doubt asks about the password, and says where it came from.
func (s *Client) doubt() string {
	if f := s.config.PasswordFile; f != "" {
		return "is the user right, and the password in " + f + "?"
	}
	return "is the user right, and the password in the environment (" + PasswordEnv + ")?"
}

// maxReply bounds an answer of the SASL exchange that is believed.
const maxReply = 1 << 20

// ask sends a request that is not flexible and reads its answer.
func ask(conn net.Conn, req kmsg.Request) (kmsg.Response, error) {
	name := kmsg.NameForKey(req.Key())
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(frame.ClientID))
	if _, err := conn.Write(f.AppendRequest(nil, req, 1)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var head [8]byte // the length, and the correlation id as the first of the body
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n < 4 || n > maxReply {
		return nil, fmt.Errorf("%s: a reply of %d bytes, want 4 to %d; is this a Kafka-protocol listener, and does it speak TLS?", name, n, maxReply)
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s: an answer of %d bytes: %w", name, len(body), err)
	}
	return resp, nil
}
