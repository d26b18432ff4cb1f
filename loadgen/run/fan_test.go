package run

import (
	"strings"
	"testing"
	"time"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/client"
)

// Consumers beside the load have every record once each, batched and compressed too, and slice after slice.
func TestConsumers(t *testing.T) {
	b := brokertest.Start(t, 1)
	s := open(t, Config{Brokers: []string{b.Addr()}, Partitions: 2, Shape: varied(t), Consumers: 3,
		Client: client.Config{RecordsPerRequest: 5, Compression: "gzip"}})
	for i := range int64(2) {
		out := slice(t, s, Spec{Arrivals: constant(500), For: 200 * time.Millisecond})
		if c := out.Consumers; c == nil || c.Count != 3 || c.Behind != 0 || c.Records != (i+1)*3*500 {
			t.Errorf("slice %d: %+v, want 3 consumers that had %d records each", i, c, (i+1)*500)
		}
	}
	if s.Target().Workload != "produce + consume" {
		t.Errorf("workload %q", s.Target().Workload)
	}
}

func TestConsumersAreValidated(t *testing.T) {
	for _, bad := range []Config{{Floor: "a:1", Consumers: 1}, {Brokers: []string{"a:1"}, Consumers: -1}, {Brokers: []string{"a:1"}, Consumers: 1, Workload: Fetch, Existing: true}} {
		bad.Topic = "t"
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "consumers") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
