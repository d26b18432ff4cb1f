package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
	"ackline/loadgen/workload"
)

// varied is a shape with all that a shape can have.
func varied(t *testing.T) workload.Shape {
	t.Helper()
	s := workload.Shape{Headers: workload.Headers{Count: 1, Bytes: 20}, Ratio: 2}
	if err := errors.Join(s.Size.UnmarshalText([]byte("p50=100,p99=3000")), s.Key.UnmarshalText([]byte("uniform:10"))); err != nil {
		t.Fatal(err)
	}
	return s
}

// Records of every size are compressed, consumed at the tail, counted by their own bytes and checked.
func TestShapedRecordsFromEndToEnd(t *testing.T) {
	for _, driver := range []string{DriverWire, DriverKgo} {
		b := brokertest.Start(t, 1)
		s := open(t, Config{Brokers: []string{b.Addr()}, Driver: driver, Shape: varied(t), EndToEnd: true,
			Client: client.Config{Compression: "zstd", InFlight: 2}})
		out := slice(t, s, Spec{Arrivals: constant(500), For: 400 * time.Millisecond})
		c := out.Counts
		if c.Acked != 200 || out.EndToEnd.Count() != 200 || out.Unread != 0 {
			t.Errorf("%s: %+v, %d consumed, %d not", driver, c, out.EndToEnd.Count(), out.Unread)
		}
		want := int64(0)
		for seq := range uint64(200) {
			want += int64(s.payloads.Bytes(0, seq))
		}
		if c.ValueBytes != want || driver == DriverWire && c.WireBytes <= c.Acked*50 {
			t.Errorf("%s: %d bytes of values, want %d; %d on the wire", driver, c.ValueBytes, want, c.WireBytes)
		}
		if rep, err := s.Check(context.Background(), nil); err != nil || !rep.Passed() || rep.Read != 200 {
			t.Errorf("%s: %+v, %v", driver, rep, err)
		}
	}
}
