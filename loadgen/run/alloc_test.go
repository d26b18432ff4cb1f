//go:build !race

package run

import (
	"testing"

	"ackline/loadgen/client"
)

// What is counted of an operation, for the result and for whoever watches, allocates nothing, so that nothing is collected because of it.
func TestRecordingAllocatesNothing(t *testing.T) {
	r := newRecorder(1, 1e9)
	op := &client.Op{Intended: 0, Ready: 10, Sent: 20, Acked: 200_000, Records: 1, Bytes: 100}
	if n := testing.AllocsPerRun(1000, func() { r.op(op, true, true) }); n != 0 {
		t.Errorf("%g allocations for each operation", n)
	}
	if a := r.second.all; a.Acked != 1001 || a.Records != 1001 || a.ValueBytes != 100_100 {
		t.Errorf("%+v", a)
	}
}

func BenchmarkRecording(b *testing.B) {
	r := newRecorder(1, 1e9)
	op := &client.Op{Intended: 0, Ready: 10, Sent: 20, Acked: 200_000, Records: 1, Bytes: 100}
	for b.Loop() {
		r.op(op, true, true)
	}
}
