//go:build !race

package quorum

import (
	"testing"

	"golang.org/x/sys/unix"

	"ackline/tools/floor/echo"
)

// A request costs no garbage on any node, nor do many at a time.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	discard := appendFunc(func([]byte) error { return nil })
	_, a := follow(t, "127.0.0.1:0", 1<<20, discard, nil)
	_, b := follow(t, "127.0.0.1:0", 1<<20, discard, nil)
	l, err := Listen(t.Context(), testConfig([]string{a, b}), discard)
	if err != nil {
		t.Fatal(err)
	}
	run(t, l.Serve)
	c := call(t, l.Addr())
	one := func() {
		unix.Write(c.fd, c.request)
		for got := 0; got < echo.DefaultReplyBytes; {
			n, _ := unix.Read(c.fd, c.answer)
			got += n
		}
	}
	c.many(t, 64, 2000) // buffers have grown
	if n := testing.AllocsPerRun(500, one); n != 0 {
		t.Errorf("%v allocations per request, want 0", n)
	}
	if n := testing.AllocsPerRun(5, func() { c.many(t, 64, 2000) }); n > 20 {
		t.Errorf("%v allocations per 2,000 requests, want next to none", n)
	}
}
