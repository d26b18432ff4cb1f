package secure_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/secure"
	"ackline/broker/transport/secure/securetest"
)

// shake connects two nodes over loopback, the second of which dials the node that it takes the first for. It returns who the
// first takes the second for, and what each side says.
func shake(t *testing.T, server, client *secure.Keys, dialled id.NodeID) (s tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ctx := t.Context()
	return meet(t, func(sock net.Conn) error {
		nc, err := server.Accept(ctx, sock)
		if err == nil {
			s = nc.(*tls.Conn).ConnectionState()
		}
		return err
	}, func(sock net.Conn) error {
		nc, err := client.Dial(ctx, sock, dialled)
		if err != nil {
			return err
		}
		_, err = nc.Read(make([]byte, 1)) // what the other says of this one's certificate
		return secure.Refused(err, dialled)
	}, &s)
}

// meet runs the two sides of a connection.
func meet(t *testing.T, server, client func(net.Conn) error, s *tls.ConnectionState) (_ tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err == nil {
			err = server(nc)
			nc.Close()
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	clientErr = client(nc)
	nc.Close()
	serverErr = <-done
	return *s, serverErr, clientErr
}

func load(t *testing.T, f secure.Files, n id.NodeID) *secure.Keys {
	t.Helper()
	k, err := secure.Load(f, n, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// says checks that an error is about a certificate of a node, refused here or there, and in which words.
func says(t *testing.T, err error, n id.NodeID, there bool, text string) {
	t.Helper()
	var bad *secure.CertificateError
	if !errors.As(err, &bad) || bad.Node != n || bad.There != there || !strings.Contains(bad.Text, text) {
		t.Errorf("%#v, want node %d, there %v, %q", err, n, there, text)
	}
}

func TestBothSidesKnowWhoTheOtherIs(t *testing.T) {
	ca := securetest.NewCA(t)
	one, two := load(t, ca.Node(t, 1), 1), load(t, ca.Node(t, 2), 2)
	s, serverErr, clientErr := shake(t, one, two, 1)
	if serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	if err := secure.CheckPeer(s, 2); err != nil {
		t.Error(err)
	}
	var name *secure.NameError
	if err := secure.CheckPeer(s, 3); !errors.As(err, &name) || !strings.Contains(err.Error(), `is for the DNS names ["node-2"]: it must have "node-3"`) {
		t.Errorf("node 2's certificate passes for node 3's: %v", err)
	}
	if err := secure.CheckPeer(tls.ConnectionState{}, 3); err == nil {
		t.Error("no certificate at all passes")
	}
	_, _, err := shake(t, one, two, 3)
	says(t, err, 3, false, `["node-1"]: it must have "node-3"`)
}

func TestStrangersAreRefused(t *testing.T) {
	ours, theirs := securetest.NewCA(t), securetest.NewCA(t)
	one, stranger := load(t, ours.Node(t, 1), 1), load(t, theirs.Node(t, 2), 2)
	_, _, err := shake(t, stranger, one, 2)
	says(t, err, 2, false, "the certificate of node 2: it is signed by none of the CAs in")
	// A stranger that believes everyone hears it too.
	mixed := ours.Node(t, 2)
	f := theirs.Node(t, 2)
	bundle(t, f, mixed)
	_, serverErr, clientErr := shake(t, one, load(t, f, 2), 1)
	says(t, serverErr, 2, false, `the certificate for the DNS names ["node-2"]: it is signed by none of the CAs in`)
	says(t, clientErr, 1, true, "TLS with this node's certificate: remote error: tls: unknown certificate authority")
	var s tls.ConnectionState
	_, serverErr, _ = meet(t, func(sock net.Conn) error { _, err := one.Accept(t.Context(), sock); return err }, func(sock net.Conn) error {
		return tls.Client(sock, &tls.Config{InsecureSkipVerify: true}).Handshake()
	}, &s)
	if serverErr == nil || !strings.Contains(serverErr.Error(), "didn't provide a certificate") {
		t.Errorf("a client without a certificate: %v", serverErr)
	}
}

// bundle adds a CA to those that a node believes.
func bundle(t *testing.T, f, other secure.Files) {
	t.Helper()
	a, err := os.ReadFile(f.CA)
	b, err2 := os.ReadFile(other.CA)
	if err = errors.Join(err, err2, os.WriteFile(f.CA, append(a, b...), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Time goes on: a certificate that was good when it was read is refused once it has expired, in words that do not change
// with the time, and before it is valid.
func TestExpiredIsRefused(t *testing.T) {
	ca, begin := securetest.NewCA(t), time.Now()
	long := ca.NodeBetween(t, 1, begin.AddDate(-1, 0, 0), begin.AddDate(1, 0, 0))
	two := load(t, ca.Node(t, 2), 2)
	for days, want := range map[int]string{2: "expired at ", -2: "is valid only from "} {
		one, err := secure.Load(long, 1, func() time.Time { return time.Now().AddDate(0, 0, days) })
		if err != nil {
			t.Fatal(err)
		}
		_, serverErr, clientErr := shake(t, one, two, 1)
		says(t, serverErr, 2, false, `the certificate for the DNS names ["node-2"]: "CN=node-2" `+want)
		says(t, clientErr, 1, true, "expired certificate")
		if _, again, _ := shake(t, one, two, 1); again == nil || again.Error() != serverErr.Error() {
			t.Errorf("said %v, then %v", serverErr, again)
		}
		_, dialled, clientErr := shake(t, two, one, 2)
		says(t, clientErr, 2, false, `the certificate of node 2: "CN=node-2" `+want)
		says(t, dialled, secure.Nobody, true, "bad certificate")
	}
	for days, want := range map[int]string{2: "expired at ", -2: "is a clock wrong"} {
		f := ca.Node(t, 1)
		_, err := secure.Load(f, 1, func() time.Time { return time.Now().AddDate(0, 0, days) })
		if err == nil || !strings.Contains(err.Error(), f.Cert) || !strings.Contains(err.Error(), want) {
			t.Errorf("loaded %d days off: %v", days, err)
		}
	}
	if left := two.State().Expires.Sub(begin); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("expires in %v", left)
	}
}

// One side without TLS is told from a node that refuses.
func TestOneSideWithoutTLS(t *testing.T) {
	one := load(t, securetest.NewCA(t).Node(t, 1), 1)
	var s tls.ConnectionState
	for _, plain := range []func(net.Conn) error{
		func(sock net.Conn) error { return nil },                                            // closes with something unread
		func(sock net.Conn) error { _, err := io.CopyN(io.Discard, sock, 100); return err }, // and with some of it read
		func(sock net.Conn) error { _, _, err := secure.Listen(sock); return err },          // as a node does
	} {
		_, _, err := meet(t, plain, func(sock net.Conn) error { _, err := one.Dial(t.Context(), sock, 2); return err }, &s)
		if err != secure.ErrNoTLS {
			t.Errorf("dialled: %v", err)
		}
	}
	for what, want := range map[string]bool{"ALTF and more": false, "\x16\x03\x01": true, "GET /": false} {
		_, serverErr, clientErr := meet(t, func(sock net.Conn) error {
			nc, isTLS, err := secure.Listen(sock)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(nc)
			if isTLS != want || string(got) != what {
				t.Errorf("%q: TLS is %v, then %q", what, isTLS, got)
			}
			return err
		}, func(sock net.Conn) error {
			_, err := sock.Write([]byte(what))
			return err
		}, &s)
		if serverErr != nil || clientErr != nil {
			t.Error(serverErr, clientErr)
		}
	}
}

// A replaced file counts from the next connection on, without a restart; a broken one, or one of three, changes nothing.
func TestFilesAreReadAgain(t *testing.T) {
	old, next := securetest.NewCA(t), securetest.NewCA(t)
	files := old.Node(t, 1)
	one := load(t, files, 1)
	peer := load(t, next.Node(t, 2), 2)
	was := load(t, old.Node(t, 2), 2)
	if _, _, err := shake(t, one, peer, 1); err == nil {
		t.Fatal("a peer of the next CA is accepted before it is known")
	}
	fresh := next.Node(t, 1)
	for _, step := range []struct{ from, to, want string }{
		{fresh.Cert, files.Cert, files.Cert}, {fresh.Key, files.Key, "signed by none of the CAs in " + files.CA},
	} {
		if err := os.Rename(step.from, step.to); err != nil {
			t.Fatal(err)
		}
		_, serverErr, clientErr := shake(t, one, was, 1)
		if serverErr != nil || clientErr != nil || one.State().Err == nil || !strings.Contains(one.State().Err.Error(), step.want) {
			t.Errorf("with %s replaced: server %v, client %v, files %v", step.to, serverErr, clientErr, one.State().Err)
		}
	}
	if err := os.Rename(fresh.CA, files.CA); err != nil {
		t.Fatal(err)
	}
	s, serverErr, clientErr := shake(t, one, peer, 1)
	if serverErr != nil || clientErr != nil || one.State().Err != nil {
		t.Fatalf("after the files were replaced: server %v, client %v, files %v", serverErr, clientErr, one.State().Err)
	}
	if err := secure.CheckPeer(s, 2); err != nil {
		t.Error(err)
	}
	securetest.Move(t, next.Node(t, 3), files)
	if _, serverErr, _ := shake(t, one, peer, 1); serverErr != nil || one.State().Err == nil || !strings.Contains(one.State().Err.Error(), `["node-3"], and node 1 needs "node-1"`) {
		t.Errorf("with another node's files: %v, %v", serverErr, one.State().Err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if _, serverErr, _ := shake(t, one, peer, 1); serverErr != nil || one.State().Err == nil {
		t.Errorf("without the key's file: %v, %v", serverErr, one.State().Err)
	}
}

func TestLoadSaysWhichFile(t *testing.T) {
	files := securetest.NewCA(t).Node(t, 1)
	for _, c := range []struct{ file, content, want string }{
		{files.CA, "nothing", "holds no certificate"}, {files.Key, "nothing", "and"}, {files.Cert, "", files.Cert},
	} {
		good, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		if c.content == "" {
			err = os.Remove(c.file)
		} else {
			err = os.WriteFile(c.file, []byte(c.content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := secure.Load(files, 1, time.Now); err == nil || !strings.Contains(err.Error(), c.file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.file, err)
		}
		if err := os.WriteFile(c.file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secure.Load(files, 1, time.Now); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		f    secure.Files
		want string
	}{
		{files, `["node-1"], and node 2 needs "node-2" among them`},
		{securetest.NewCA(t).ServerOnly(t, 2), "both serverAuth and clientAuth"},
	} {
		if _, err := secure.Load(c.f, 2, time.Now); err == nil || !strings.Contains(err.Error(), c.f.Cert+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
