package api

import (
	"sync/atomic"

	"ackline/broker/api/bycode"
	"ackline/broker/metric/histogram"
)

// Counters are read by metrics. They count since the start, and any goroutine may read them.
type Counters struct {
	Requests [80]atomic.Uint64 // by request key

	ProduceRecords, ProduceBytes atomic.Uint64        // accepted
	ProduceErrors                bycode.Counter       // partitions in responses
	ProduceThrottle              *histogram.Histogram // ns, of the responses that told their clients to wait
	ProduceHeld                  atomic.Uint64        // batches that waited for a leader to be known
	ProduceForwarded             atomic.Uint64        // batches that were to go to another node

	MetadataHeld atomic.Uint64 // requests that waited for an election

	FetchRequests, FetchBytes atomic.Uint64
	FetchErrors               bycode.Counter
	FetchDuration             *histogram.Histogram // ns, waits included
}
