package partition_test

import (
	"errors"
	"fmt"
	"testing"

	"ackline/broker/id"
	"ackline/broker/partition"
)

// TestEndOfTerm asks for each term's end while its entries are in memory, in segments, and both; one of the terms has no records.
func TestEndOfTerm(t *testing.T) {
	f := newFixture(t, 0)
	end := func() id.Index { return id.Index(len(f.g.log)) }
	next := func() {
		f.g.follow()
		f.g.lead(end())
	}
	check := func(stage string, want ...string) {
		t.Helper()
		for term, w := range want {
			greatest, offset, known, err := f.p.EndOfTerm(id.Term(term))
			got := "unknown"
			if known {
				got = fmt.Sprintf("%d: %d", greatest, offset)
			}
			if err != nil || got != w {
				t.Errorf("%s: term %d: %s, %v; want %s", stage, term, got, err, w)
			}
		}
	}
	f.mustProduce(0, 5)
	f.g.commit(t, end())
	check("the first term", "unknown", "1: 5", "unknown")
	next()
	if _, _, _, err := f.p.EndOfTerm(1); !errors.Is(err, partition.ErrNotReady) {
		t.Errorf("asked before its first entry is committed: %v", err)
	}
	f.g.commit(t, end())
	check("a term without records", "unknown", "1: 5", "2: 5", "unknown")
	next()
	f.g.commit(t, end())
	f.mustProduce(0, 3)
	f.g.commit(t, end())
	f.mustProduce(0, 7) // not committed
	all := []string{"unknown", "1: 5", "2: 5", "3: 8", "unknown"}
	check("in memory", all...)
	if _, err := f.p.Flush(); err != nil {
		t.Fatal(err)
	}
	check("in segments", all...)
	f.g.commit(t, end())
	next()
	f.mustProduce(0, 1)
	f.g.commit(t, end())
	check("in both", "unknown", "1: 5", "2: 5", "3: 15", "4: 16", "unknown")
	f.g.follow()
	if _, _, _, err := f.p.EndOfTerm(1); !errors.Is(err, partition.ErrNotLeader) {
		t.Errorf("asked of who does not lead: %v", err)
	}
}
