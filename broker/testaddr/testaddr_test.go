package testaddr

import (
	"net"
	"testing"
)

// An address is not given twice, can be listened at again after a connection to it, and is not that of outgoing connections.
func TestNext(t *testing.T) {
	a, b := Next(t), Next(t)
	if a == b {
		t.Fatalf("%s twice", a)
	}
	for range 3 {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		out, err := net.Dial("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		in, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		from, _, _ := net.SplitHostPort(out.LocalAddr().String())
		to, _, _ := net.SplitHostPort(a)
		if from == to {
			t.Errorf("an outgoing connection leaves from %s, where servers listen", from)
		}
		in.Close()
		out.Close()
		ln.Close()
	}
}
