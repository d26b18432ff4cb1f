package testline

import (
	"io"
	"net"
	"testing"
	"time"
)

// What is sent comes back unchanged and not before its time, and so does the end.
func TestLine(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.CopyN(c, c, 5)
	}()
	const delay = 20 * time.Millisecond
	l := New(t, ln.Addr().String(), delay)
	c, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	c.Write([]byte("hello"))
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back in %v", took)
	}
}
