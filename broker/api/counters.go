package api

import (
	"strconv"
	"sync/atomic"

	"ackline/broker/metric/histogram"
)

// Counters are read by metrics. They count since the start, and any goroutine may read them.
type Counters struct {
	Requests [80]atomic.Uint64 // by request key

	ProduceRecords, ProduceBytes atomic.Uint64        // accepted
	ProduceErrors                ByCode               // partitions in responses
	ProduceThrottle              *histogram.Histogram // ns, of the responses that told their clients to wait
	ProduceHeld                  atomic.Uint64        // batches that waited for a leader to be known
	ProduceForwarded             atomic.Uint64        // batches that were to go to another node

	MetadataHeld atomic.Uint64 // requests that waited for an election

	FetchRequests, FetchBytes atomic.Uint64
	FetchErrors               ByCode
	FetchDuration             *histogram.Histogram // ns, waits included
}

// ByCode counts errors by Kafka's code.
type ByCode struct {
	counts [128]atomic.Uint64 // by code + 1; what is above shares the last
}

// Add counts one error.
func (b *ByCode) Add(code int16) {
	b.counts[min(max(int(code)+1, 0), len(b.counts)-1)].Add(1)
}

// Each calls emit for every code that was counted, with the code as its label.
func (b *ByCode) Each(emit func(count uint64, labels ...string)) {
	for i := range b.counts {
		if n := b.counts[i].Load(); n > 0 {
			emit(n, strconv.Itoa(i-1))
		}
	}
}
