package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

// TestBoundedGarbage: a large live heap may grow by so many bytes and not by a percentage, a small one by the percentage again.
func TestBoundedGarbage(t *testing.T) {
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	until := func(what string, ok func(p uint64) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !ok(percent()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: still %d%%", what, percent())
			}
			runtime.GC() // each says how much lives; the finalizer that listens runs some time after it
		}
	}
	boundGarbage(300, 16<<20)
	until("a small heap", func(p uint64) bool { return p == 300 })
	held := make([]byte, 64<<20)
	until("64 MiB that live", func(p uint64) bool { return p > 0 && p <= 25 })
	runtime.KeepAlive(held)
	until("a small heap again", func(p uint64) bool { return p == 300 })
}
