package secure_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"ackline/broker/transport/secure"
	"ackline/broker/transport/secure/securetest"
)

// shake does a handshake over a loopback connection and returns both sides' states and errors.
func shake(t *testing.T, server, client *tls.Config) (s, c tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer nc.Close()
		tc := tls.Server(nc, server)
		err = tc.Handshake()
		s = tc.ConnectionState()
		done <- err
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	tc := tls.Client(nc, client)
	clientErr = tc.Handshake()
	if clientErr == nil { // a client hears of a refused certificate with its first read
		var b [1]byte
		if _, err := tc.Read(b[:]); err != nil && strings.Contains(err.Error(), "remote error") {
			clientErr = err
		}
	} else {
		nc.Close()
	}
	c = tc.ConnectionState()
	return s, c, <-done, clientErr
}

func load(t *testing.T, f secure.Files) *secure.Keys {
	t.Helper()
	k, err := secure.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBothSidesKnowWhoTheOtherIs(t *testing.T) {
	ca := securetest.NewCA(t)
	one, two := load(t, ca.Node(t, 1)), load(t, ca.Node(t, 2))
	s, _, serverErr, clientErr := shake(t, one.Server(), two.Client(1))
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
	if _, _, _, err := shake(t, one.Server(), two.Client(3)); err == nil || !strings.Contains(err.Error(), "node-3") {
		t.Errorf("dialling node 3 and meeting node 1: %v", err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	ours, theirs := securetest.NewCA(t), securetest.NewCA(t)
	one, stranger := load(t, ours.Node(t, 1)), load(t, theirs.Node(t, 2))
	client := stranger.Client(1)
	client.InsecureSkipVerify = true
	if _, _, serverErr, clientErr := shake(t, one.Server(), client); serverErr == nil || clientErr == nil {
		t.Errorf("a certificate of another CA: server %v, client %v", serverErr, clientErr)
	}
	if _, _, _, err := shake(t, stranger.Server(), one.Client(1)); err == nil {
		t.Error("dialled a server of another CA")
	}
	if _, _, serverErr, _ := shake(t, one.Server(), &tls.Config{InsecureSkipVerify: true}); serverErr == nil {
		t.Error("a client without a certificate was accepted")
	}
}

// A replaced file counts from the next connection on, without a restart; a broken one changes nothing.
func TestFilesAreReadAgain(t *testing.T) {
	old, next := securetest.NewCA(t), securetest.NewCA(t)
	files := old.Node(t, 1)
	one := load(t, files)
	peer := load(t, next.Node(t, 2))
	if _, _, serverErr, _ := shake(t, one.Server(), peer.Client(1)); serverErr == nil {
		t.Fatal("a peer of the next CA is accepted before it is known")
	}
	server := one.Server() // made before the files change
	move := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fresh := next.Node(t, 1)
	move(fresh.Cert, files.Cert)
	_, _, serverErr, _ := shake(t, server, peer.Client(1))
	if serverErr == nil || one.Err() == nil || !strings.Contains(one.Err().Error(), files.Cert) {
		t.Errorf("a certificate without its key: %v, %v", serverErr, one.Err())
	}
	move(fresh.Key, files.Key)
	move(fresh.CA, files.CA)
	s, _, serverErr, clientErr := shake(t, server, peer.Client(1))
	if serverErr != nil || clientErr != nil || one.Err() != nil {
		t.Fatalf("after the files were replaced: server %v, client %v, files %v", serverErr, clientErr, one.Err())
	}
	if err := secure.CheckPeer(s, 2); err != nil {
		t.Error(err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if _, _, serverErr, _ := shake(t, server, peer.Client(1)); serverErr != nil || one.Err() == nil {
		t.Errorf("without the key's file: %v, %v", serverErr, one.Err())
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
		if _, err := secure.Load(files); err == nil || !strings.Contains(err.Error(), c.file) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.file, err)
		}
		if err := os.WriteFile(c.file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secure.Load(files); err != nil {
		t.Error(err)
	}
}
