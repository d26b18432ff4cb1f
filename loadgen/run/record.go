package run

import (
	"slices"

	"ackline/loadgen/client"
	"ackline/loadgen/hist"
	"ackline/loadgen/result"
	"ackline/loadgen/stages"
)

// recorder is where a worker's thread writes down what happened. Only that thread uses it while a slice runs; full and free
// are how seconds change hands with the collector.
type recorder struct {
	set    *hist.Set // operations of the measured window
	delays *hist.Hist
	slow   result.Slowest
	stages *stages.Table // nil when they are not asked for
	second *second       // of the answers that come now
	full   chan *second
	free   chan *second

	acked, records, bytes int64 // measured
	wire                  int64
	failed                int64
	unsent                int64
	arrivals              int64
	allAcked, allRecords  int64
	allFailed             int64
	errors                []string         // the first few distinct ones
	codes                 map[string]int64 // of measured operations, by client.ErrorCode
	streams               []stream         // by client.Op.Stream
	gapNS                 int64            // what is longer than this is a gap
	gaps                  []gap
}

// stream is what a recorder keeps of a client.Stream. Times are CLOCK_MONOTONIC, ns.
type stream struct {
	measured int64 // acknowledged
	acked    int64 // when the last acknowledgement was in hand
	failing  int64 // when the first operation was due that failed since then; 0: none has
}

// gap is a stretch in which operations of a stream were due and none was acknowledged.
type gap struct {
	stream   uint32
	from, to int64
}

// maxGaps bounds the gaps that a recorder remembers. A run has more if they are short and many: then they are its latency.
const maxGaps = 1 << 16

// due notes an operation's end for its stream. What was due first waited longest, but not since before the last acknowledgement.
func (r *recorder) due(op *client.Op) {
	s := &r.streams[op.Stream]
	from := op.Intended
	if s.failing != 0 {
		from = min(from, s.failing)
	}
	if op.Err != nil {
		s.failing = from
		return
	}
	if from = max(from, s.acked); op.Acked-from > r.gapNS && len(r.gaps) < maxGaps {
		r.gaps = append(r.gaps, gap{op.Stream, from, op.Acked})
	}
	s.acked, s.failing = max(s.acked, op.Acked), 0
}

// second is one worker's share of one second.
type second struct {
	number  int64 // from the slice's start
	set     *hist.Set
	acked   int64
	failed  int64
	records int64
	all     result.Portion // shown or not
}

const (
	unsentCode  = "unsent" // in Counts.ByCode
	maxErrors   = 5
	secondDepth = 8 // seconds that a worker may be ahead of the collector before it allocates a new one
)

func newRecorder(streams int, gapNS int64) *recorder {
	return &recorder{set: hist.NewSet(), delays: hist.NewDelay(), slow: result.NewSlowest(maxSlow), second: &second{set: hist.NewSet()},
		full: make(chan *second, secondDepth), free: make(chan *second, secondDepth),
		codes: map[string]int64{}, streams: make([]stream, streams), gapNS: gapNS}
}

// turn makes number the current second, unless a later one already is, and hands the one before over. It neither blocks nor wakes anybody: the collector looks
// into the channel by itself.
func (r *recorder) turn(number int64) {
	if number <= r.second.number {
		return
	}
	select {
	case r.full <- r.second:
	default:
		// The collector is far behind. What this second holds stays in the next one.
		r.second.number = number
		return
	}
	select {
	case r.second = <-r.free:
	default:
		r.second = &second{set: hist.NewSet()}
	}
	r.second.number = number
}

// op enters an operation that was answered or failed. measured: it belongs to the window; shown: it belongs into its second.
func (r *recorder) op(op *client.Op, measured, shown bool) {
	r.due(op)
	if op.Err != nil {
		r.allFailed++
		r.note(op.Err)
		code := client.ErrorCode(op.Err)
		if r.second.all.Failed == nil {
			r.second.all.Failed = map[string]int64{}
		}
		r.second.all.Failed[code]++
		if measured {
			r.codes[code]++
			r.failed++
			r.set.Fail(op.Intended, op.Ready, op.Sent)
		}
		if shown {
			r.second.failed++
			r.second.set.Fail(op.Intended, op.Ready, op.Sent)
		}
		return
	}
	r.allAcked++
	r.allRecords += int64(op.Records)
	all := &r.second.all
	all.Acked, all.Records, all.ValueBytes = all.Acked+1, all.Records+int64(op.Records), all.ValueBytes+op.Bytes
	if measured {
		r.acked++
		r.streams[op.Stream].measured++
		r.records += int64(op.Records)
		r.bytes += op.Bytes
		r.wire += op.Wire
		r.set.Record(op.Intended, op.Ready, op.Sent, op.Acked)
		if r.stages != nil && op.Told {
			r.stages.Record(stages.Request{Stream: op.Stream, Base: op.Base, Intended: op.Intended, Response: op.Acked - op.Intended}, op.Sent, op.Stages)
		}
	}
	if shown {
		r.second.acked++
		r.second.records += int64(op.Records)
		r.second.set.Record(op.Intended, op.Ready, op.Sent, op.Acked)
	}
}

func (r *recorder) note(err error) {
	if len(r.errors) < maxErrors {
		if s := err.Error(); !slices.Contains(r.errors, s) {
			r.errors = append(r.errors, s)
		}
	}
}

// maxSlow is how many of its slowest operations each worker remembers: the slowest 1% of six million.
const maxSlow = 1 << 16
