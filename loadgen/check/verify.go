package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/frame"
	"ackline/loadgen/place"
)

// Reader reads one partition.
type Reader interface {
	// Read returns record batches from the one that holds offset from on, perhaps none, and the high watermark. The last batch
	// may be cut short. The bytes are good until the next call.
	Read(ctx context.Context, partition int32, from int64) (batches []byte, highWatermark int64, err error)
}

// Report is what reading back found. All counts are of records.
type Report struct {
	Done         bool     `json:"done"` // false: it was not run, or not to its end, and nothing below is complete
	Error        string   `json:"error,omitempty"`
	Acked        int64    `json:"acked"`
	Read         int64    `json:"read"`
	Lost         int64    `json:"lost"`
	Duplicated   int64    `json:"duplicated"`
	Reordered    int64    `json:"reordered"`
	WrongOffset  int64    `json:"wrong_offset"`
	WrongBytes   int64    `json:"wrong_bytes"`
	Unacked      int64    `json:"unacknowledged_present"` // allowed: their fate was unknown to the client
	Foreign      int64    `json:"foreign"`                // allowed: of other runs
	Bytes        int64    `json:"bytes"`
	Seconds      float64  `json:"seconds"`
	Examples     []string `json:"examples,omitempty"` // the first few findings
	LedgerBytes  int64    `json:"ledger_bytes"`
	Partitions   int      `json:"partitions"`
	notMentioned int64
}

// Faults is the number of records with something wrong.
func (r *Report) Faults() int64 {
	return r.Lost + r.Duplicated + r.Reordered + r.WrongOffset + r.WrongBytes
}

// Passed reports whether everything was read back and is right.
func (r *Report) Passed() bool { return r.Done && r.Faults() == 0 }

// Add makes r the report of two ledgers of one topic. Each may have found records of the other; of others are those that neither wrote.
func (r *Report) Add(o *Report) {
	foreign := max(0, min(r.Foreign-(o.Read+o.Unacked), o.Foreign-(r.Read+r.Unacked)))
	if r.Error == "" {
		r.Error = o.Error
	}
	r.Done = r.Done && o.Done
	r.Acked, r.Read, r.Lost, r.Duplicated, r.Reordered = r.Acked+o.Acked, r.Read+o.Read, r.Lost+o.Lost, r.Duplicated+o.Duplicated, r.Reordered+o.Reordered
	r.WrongOffset, r.WrongBytes, r.Unacked = r.WrongOffset+o.WrongOffset, r.WrongBytes+o.WrongBytes, r.Unacked+o.Unacked
	r.Foreign, r.Bytes, r.Seconds, r.LedgerBytes = foreign, r.Bytes+o.Bytes, max(r.Seconds, o.Seconds), r.LedgerBytes+o.LedgerBytes
	r.Partitions = max(r.Partitions, o.Partitions)
	r.Examples = append(r.Examples, o.Examples...)
	r.Examples = r.Examples[:min(len(r.Examples), maxExamples)]
}

const (
	maxExamples = 10
	// maxMissing bounds the memory for records that were not where they should be and may yet turn up late.
	maxMissing = 1 << 20
)

// Options says where to begin and how long to be patient.
type Options struct {
	// Start is, per partition, the end offset from before the run. Absent means 0.
	Start map[int32]int64
	// Topics are the topics whose partitions the ledger tells by their places. None is one whose name need not be said.
	Topics place.Topics
	// Patience is how long a partition may stay without the records that are due. 0 means 5 s.
	Patience time.Duration
	// Progress, when not nil, is called about every second with the records read and acknowledged so far.
	Progress func(read, acked int64)
}

// Verify reads every partition of the ledger in full. The error says that reading was not possible; what it found until then
// is in the report all the same.
func Verify(ctx context.Context, r Reader, l *Ledger, p *frame.Payloads, o Options) (*Report, error) {
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	v := &verifier{reader: r, ledger: l, payloads: p, options: o, report: &Report{Acked: l.Count(), LedgerBytes: l.Bytes()},
		missing: map[recordID]int64{}, unacked: map[recordID]bool{}, unpack: kgo.DefaultDecompressor(), started: time.Now()}
	for i := range l.streams {
		v.streams = append(v.streams, streamState{cursor: l.streams[i].cursor()})
	}
	var err error
	seen := map[int32]bool{}
	for i := range l.streams {
		if id := l.streams[i].partition; err == nil && !seen[id] {
			seen[id] = true
			err = v.partition(ctx, id)
		}
	}
	v.report.Partitions = len(seen)
	v.report.Seconds = time.Since(v.started).Seconds()
	if err != nil {
		v.report.Error = err.Error()
		return v.report, err
	}
	v.close()
	v.report.Done = true
	return v.report, nil
}

// recordID names a record.
type recordID struct {
	stream uint32
	seq    uint64
}

type streamState struct {
	cursor *cursor
	next   uint64 // one above the highest sequence number seen
}

type verifier struct {
	reader   Reader
	ledger   *Ledger
	payloads *frame.Payloads
	options  Options
	report   *Report
	streams  []streamState
	missing  map[recordID]int64 // acknowledged at that offset and passed over; counted as lost unless it turns up
	unacked  map[recordID]bool  // not acknowledged and passed over; may turn up once
	unpack   kgo.Decompressor
	started  time.Time
	told     time.Time
}

// partition reads one partition up to its high watermark, and waits for that to pass every acknowledged offset.
func (v *verifier) partition(ctx context.Context, id int32) error {
	target := v.target(id)
	next, good := v.options.Start[id], time.Now()
	for {
		batches, hw, err := v.reader.Read(ctx, id, next)
		if err != nil {
			return fmt.Errorf("read %s back from offset %d: %w", v.name(id), next, err)
		}
		before := next
		for len(batches) > 0 {
			b, rest, err := frame.NextBatch(batches)
			if errors.Is(err, frame.ErrTruncated) {
				break
			}
			if err != nil {
				// A batch whose bytes are wrong says nothing about its records: they will count as lost. Its length and offsets may be
				// wrong too, so that there is no telling where the next one begins.
				v.report.WrongBytes++
				v.example("%s: %v", v.name(id), err)
				return nil
			}
			if last := b.Base + int64(b.LastDelta); last >= next {
				if err := v.batch(id, b); err != nil {
					return err
				}
				next = last + 1
			}
			batches = rest
		}
		switch {
		case next >= max(target, hw):
			return nil // before anything that would wait at the end: there may be thousands of partitions
		case next > before:
			good = time.Now()
		case time.Since(good) > v.options.Patience:
			v.example("%s: nothing at offset %d for %v, high watermark %d, acknowledged up to %d", v.name(id), next, v.options.Patience, hw, target-1)
			return nil
		}
		if v.options.Progress != nil && time.Since(v.told) > time.Second {
			v.told = time.Now()
			v.options.Progress(v.report.Read, v.report.Acked)
		}
	}
}

// target is one above the highest offset acknowledged in a partition.
func (v *verifier) target(id int32) (t int64) {
	for i := range v.ledger.streams {
		s := &v.ledger.streams[i]
		if s.partition != id {
			continue
		}
		for c := s.cursor(); c.more(); {
			t = max(t, c.cur.offset+int64(c.cur.n))
			c.load(c.cur)
		}
	}
	return t
}

func (v *verifier) batch(partition int32, b frame.Batch) error {
	if b.Control {
		return nil
	}
	b, err := b.Plain(v.unpack)
	if err != nil {
		return fmt.Errorf("%s: %w", v.name(partition), err)
	}
	v.report.Bytes += int64(len(b.Records))
	err = b.Each(func(r frame.Record) error {
		v.record(partition, r)
		return nil
	})
	if err != nil {
		v.report.WrongBytes++
		v.example("%s: %v", v.name(partition), err)
	}
	return nil
}

func (v *verifier) record(partition int32, r frame.Record) {
	offset := r.Offset
	stream, seq, ours := v.payloads.Peek(r.Value)
	if !ours {
		v.report.Foreign++
		return
	}
	v.report.Read++
	if int(stream) >= len(v.streams) {
		v.report.WrongBytes++
		v.example("%s offset %d: stream %d, there are %d", v.name(partition), offset, stream, len(v.streams))
		return
	}
	if err := v.payloads.VerifyRecord(r, stream, seq); err != nil {
		v.report.WrongBytes++
		v.example("%s offset %d (stream %d record %d): %v", v.name(partition), offset, stream, seq, err)
	}
	s := &v.streams[stream]
	if seq < s.next {
		v.late(recordID{stream, seq}, partition, offset)
		return
	}
	v.skip(stream, s, seq)
	s.next = seq + 1
	if !s.cursor.more() || s.cursor.cur.seq != seq {
		v.report.Unacked++
		return
	}
	_, want := s.cursor.next()
	v.found(recordID{stream, seq}, partition, offset, want)
}

// skip notes the records between the last one seen of a stream and seq: the acknowledged ones are missing unless they
// turn up late; the others were not acknowledged and may do as they like, once.
func (v *verifier) skip(stream uint32, s *streamState, seq uint64) {
	for n := s.next; n < seq; n++ {
		p := recordID{stream, n}
		if s.cursor.more() && s.cursor.cur.seq == n {
			_, o := s.cursor.next()
			if len(v.missing) == maxMissing {
				v.report.Lost++
				continue
			}
			v.missing[p] = o
		} else if len(v.unacked) < maxMissing {
			v.unacked[p] = true
		}
	}
}

// late handles a record that comes after a later one of its stream.
func (v *verifier) late(p recordID, partition int32, offset int64) {
	want, missing := v.missing[p]
	if v.unacked[p] {
		delete(v.unacked, p)
		v.report.Unacked++
		return
	}
	if !missing {
		v.report.Duplicated++
		v.example("%s offset %d: stream %d record %d is there again", v.name(partition), offset, p.stream, p.seq)
		return
	}
	delete(v.missing, p)
	v.report.Reordered++
	v.example("%s offset %d: stream %d record %d comes after a later one", v.name(partition), offset, p.stream, p.seq)
	v.found(p, partition, offset, want)
}

func (v *verifier) found(p recordID, partition int32, offset, want int64) {
	if home := v.ledger.streams[p.stream].partition; home != partition || offset != want {
		v.report.WrongOffset++
		v.example("stream %d record %d: acknowledged at %s offset %d, found at %s offset %d", p.stream, p.seq, v.name(home), want, v.name(partition), offset)
	}
}

// close counts what never came.
func (v *verifier) close() {
	for p, o := range v.missing {
		v.lost(p, o)
	}
	for i := range v.streams {
		for c := v.streams[i].cursor; c.more(); {
			seq, o := c.next()
			v.lost(recordID{uint32(i), seq}, o)
		}
	}
	if n := v.report.notMentioned; n > 0 {
		v.report.Examples = append(v.report.Examples, fmt.Sprintf("and %d more", n))
	}
}

func (v *verifier) lost(p recordID, offset int64) {
	v.report.Lost++
	v.example("stream %d record %d: acknowledged at %s offset %d, not there", p.stream, p.seq, v.name(v.ledger.streams[p.stream].partition), offset)
}

// name is what a place is called.
func (v *verifier) name(at int32) string { return v.options.Topics.Name(at) }

func (v *verifier) example(format string, args ...any) {
	if len(v.report.Examples) >= maxExamples {
		v.report.notMentioned++
		return
	}
	v.report.Examples = append(v.report.Examples, fmt.Sprintf(format, args...))
}
