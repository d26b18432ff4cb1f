package soak

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/loadgen/check"
	"ackline/loadgen/frame"
	"ackline/loadgen/place"
)

const (
	maxExamples = 10
	// maxKept bounds the records that were passed over and may yet turn up; those beyond stay lost whatever comes.
	maxKept = 1 << 16
	// maxStreams is how many streams are known at once. The oldest that are done with are forgotten beyond it.
	maxStreams = 1024
	// maxBefore is how many numbers before the first one that was read are remembered one by one.
	maxBefore = 64
)

// verifier compares what was acknowledged with what is read, one as it comes and the other as it comes.
type verifier struct {
	payloads *frame.Payloads
	topics   place.Topics // whose partitions are told by their places
	finding  func(string) // called with mu held
	unpack   kgo.Decompressor

	mu      sync.Mutex // guards everything below; held by the writer for each answer and by readers for each batch
	streams map[uint32]*stream
	at      map[int32]int64 // per partition, the offset to read next
	report  check.Report
	unread  int    // acknowledged records in all windows
	kept    int    // records in all Missing and Passed
	top     uint32 // one above the highest stream number in use
	retired uint32 // streams below it that are not in streams were forgotten
	issued  uint64 // operations of the present launch; its streams' numbers are below
	entries int    // rows and records that are kept, of all streams
	most    int    // the most that ever were
}

func newVerifier(p *frame.Payloads, topics place.Topics, finding func(string)) *verifier {
	return &verifier{payloads: p, topics: topics, finding: finding, unpack: kgo.DefaultDecompressor(), streams: map[uint32]*stream{}, at: map[int32]int64{}}
}

// begin opens the streams first, first+1, … of a launch; partitions[i] is where stream first+i writes.
func (v *verifier) begin(first uint32, partitions []int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if first < v.top {
		panic(fmt.Sprintf("soak: streams from %d on in use up to %d", first, v.top))
	}
	for i, p := range partitions {
		v.streams[first+uint32(i)] = newStream(p, true)
	}
	v.top, v.issued = first+uint32(len(partitions)), 0
	v.retire()
}

// retire forgets the oldest streams that are done with. Called with mu held.
func (v *verifier) retire() {
	if len(v.streams) <= maxStreams {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(v.streams)) {
		if s := v.streams[id]; len(v.streams) > maxStreams && s.settled() {
			v.kept -= len(s.Passed)
			v.entries -= s.entries()
			delete(v.streams, id)
			v.retired = max(v.retired, id+1)
		}
	}
}

// end closes the streams of the present launch: no acknowledgement will come for what was not answered.
func (v *verifier) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.streams {
		v.report.Unacked += int64(len(s.Early))
		v.entries -= len(s.Early)
		s.open, s.Early = false, nil
	}
}

// issue counts an operation before it is sent.
func (v *verifier) issue() {
	v.mu.Lock()
	v.issued++
	v.mu.Unlock()
}

// waiting is the number of acknowledged records that were not read back.
func (v *verifier) waiting() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unread
}

// acked enters records seq … seq+n-1 of a stream, acknowledged at offset and those after it.
func (v *verifier) acked(id uint32, seq uint64, n int32, offset int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.streams[id]
	defer v.measure(s, s.entries())
	v.report.Acked += int64(n)
	for ; n > 0 && seq < s.Next; n, seq, offset = n-1, seq+1, offset+1 {
		v.ackedLate(id, s, seq, offset)
	}
	if n > 0 {
		s.push(seq, uint64(n), offset)
		v.unread += int(n)
	}
}

// ackedLate handles the acknowledgement of a record that reading has reached or passed.
func (v *verifier) ackedLate(id uint32, s *stream, seq uint64, offset int64) {
	if at, ok := s.Early[seq]; ok {
		delete(s.Early, seq)
		v.compare(id, s, seq, s.Partition, at, offset)
		return
	}
	if at, ok := s.Missing[seq]; ok && at == unknown {
		s.Missing[seq] = offset
		return
	}
	if s.Passed[seq] {
		delete(s.Passed, seq)
		v.kept--
		v.lost(id, s, seq, offset)
	}
}

// failed enters records that were handed back as failed: they may be there or not.
func (v *verifier) failed(id uint32, seq uint64, n int32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.streams[id]
	defer v.measure(s, s.entries())
	for ; n > 0; n, seq = n-1, seq+1 {
		_, early := s.Early[seq]
		_, missing := s.Missing[seq]
		switch {
		case early:
			delete(s.Early, seq)
			v.report.Unacked++
		case missing:
			delete(s.Missing, seq)
			v.report.Lost--
			put(&s.Passed, seq, true)
		case seq >= s.Next:
			put(&s.Failed, seq, true)
		}
	}
}

// measure notes how much is kept, of which a stream's share was before. Called with mu held.
func (v *verifier) measure(s *stream, before int) {
	v.entries += s.entries() - before
	v.most = max(v.most, v.entries)
}

// mostKept is the most that was kept at once.
func (v *verifier) mostKept() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.most
}

// highest is one above the highest stream in use.
func (v *verifier) highest() uint32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.top
}

// position is the offset to read next.
func (v *verifier) position(partition int32) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at[partition]
}

// errDamaged says that a batch cannot be read, nor anything behind it.
var errDamaged = errors.New("the batch is damaged")

// batches takes what was read of a partition from its position on, and moves the position.
func (v *verifier) batches(partition int32, b []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(b) > 0 {
		batch, rest, err := frame.NextBatch(b)
		if errors.Is(err, frame.ErrTruncated) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %w", v.topics.Name(partition), errDamaged, err)
		}
		if last := batch.Base + int64(batch.LastDelta); last >= v.at[partition] {
			if err := v.batch(partition, batch); err != nil {
				return err
			}
			v.at[partition] = last + 1
		}
		b = rest
	}
	return nil
}

// damaged counts a batch that stays unreadable.
func (v *verifier) damaged(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.WrongBytes++
	v.example("%v", err)
}

func (v *verifier) batch(partition int32, b frame.Batch) error {
	if b.Control {
		return nil
	}
	if b.Codec != 0 {
		plain, err := v.unpack.Decompress(b.Records, kgo.CompressionCodecType(b.Codec))
		if err != nil {
			return fmt.Errorf("%s: %w: batch at offset %d: %w", v.topics.Name(partition), errDamaged, b.Base, err)
		}
		b.Records, b.Codec = plain, 0
	}
	v.report.Bytes += int64(len(b.Records))
	err := b.Each(func(r frame.Record) error {
		if r.Offset >= v.at[partition] { // the first batch may begin before it
			v.record(partition, r.Offset, r.Value)
		}
		return nil
	})
	if err != nil {
		v.report.WrongBytes++
		v.example("%s: %v", v.topics.Name(partition), err)
	}
	return nil
}

// record handles one record.
func (v *verifier) record(partition int32, offset int64, value []byte) {
	id, seq, ours := v.payloads.Peek(value)
	if !ours {
		v.report.Foreign++
		return
	}
	v.report.Read++
	bad := v.payloads.Verify(value, id, seq)
	s := v.streams[id]
	switch {
	case s == nil && id < v.retired:
		v.report.Duplicated++
		v.example("%s offset %d: stream %d record %d is of a launch that was read long ago", v.topics.Name(partition), offset, id, seq)
		return
	case bad == nil && s == nil:
		// Written after the state was saved that this process began with: nothing is known of it but what it says itself.
		s = newStream(partition, false)
		v.streams[id], v.top = s, max(v.top, id+1)
	case s == nil || s.open && seq >= v.issued:
		bad = errors.Join(bad, errors.New("no such record was sent"))
	}
	if bad != nil {
		v.report.WrongBytes++
		v.example("%s offset %d (stream %d record %d): %v", v.topics.Name(partition), offset, id, seq, bad)
		if s == nil || seq != s.Next {
			return // who knows which one it was
		}
	}
	defer v.measure(s, s.entries())
	if seq < s.Next {
		v.late(id, s, seq, partition, offset)
		return
	}
	v.skip(id, s, seq)
	s.Next, s.Seen = seq+1, true
	delete(s.Failed, seq)
	v.found(id, s, seq, partition, offset)
}

// found handles a record that is the next of its stream.
func (v *verifier) found(id uint32, s *stream, seq uint64, partition int32, offset int64) {
	want := s.pop(seq)
	if want != unknown {
		v.unread--
		v.compare(id, s, seq, partition, offset, want)
		return
	}
	v.unacknowledged(s, seq, offset)
}

// unacknowledged handles a record of which no acknowledgement is known.
func (v *verifier) unacknowledged(s *stream, seq uint64, offset int64) {
	if s.open && !s.Failed[seq] {
		put(&s.Early, seq, offset) // it may be on its way
		return
	}
	v.report.Unacked++
}

func (v *verifier) compare(id uint32, s *stream, seq uint64, partition int32, offset, want int64) {
	if s.Partition != partition || offset != want {
		v.report.WrongOffset++
		v.example("stream %d record %d: acknowledged at %s offset %d, found at %s offset %d", id, seq, v.topics.Name(s.Partition), want, v.topics.Name(partition), offset)
	}
}

// skip handles the records between the last one read of a stream and seq.
func (v *verifier) skip(id uint32, s *stream, seq uint64) {
	from := s.Next
	if !s.Seen && len(s.Acked) > 0 {
		from = min(s.Acked[0].seq, seq)
	} else if !s.Seen {
		from = seq - min(seq, maxBefore)
	}
	for n := from; n < seq; n++ {
		offset := s.pop(n)
		if offset != unknown {
			v.unread--
		}
		if offset == unknown && (!s.Seen || s.Failed[n]) {
			delete(s.Failed, n)
			if v.kept < maxKept {
				put(&s.Passed, n, true)
				v.kept++
			}
			continue
		}
		v.lost(id, s, n, offset)
	}
}

// lost counts a record as lost until it turns up.
func (v *verifier) lost(id uint32, s *stream, seq uint64, offset int64) {
	v.report.Lost++
	if offset == unknown {
		v.example("stream %d record %d, %s: not there, and later ones of its producer are", id, seq, v.topics.Name(s.Partition))
	} else {
		v.example("stream %d record %d: acknowledged at %s offset %d, not there", id, seq, v.topics.Name(s.Partition), offset)
	}
	if v.kept < maxKept {
		put(&s.Missing, seq, offset)
		v.kept++
	}
}

// late handles a record that comes after a later one of its stream.
func (v *verifier) late(id uint32, s *stream, seq uint64, partition int32, offset int64) {
	if s.Passed[seq] {
		delete(s.Passed, seq)
		v.kept--
		v.unacknowledged(s, seq, offset)
		return
	}
	want, missing := s.Missing[seq]
	if !missing {
		v.report.Duplicated++
		v.example("%s offset %d: stream %d record %d is there again", v.topics.Name(partition), offset, id, seq)
		return
	}
	delete(s.Missing, seq)
	v.kept--
	v.report.Lost--
	v.report.Reordered++
	v.example("%s offset %d: stream %d record %d comes after a later one", v.topics.Name(partition), offset, id, seq)
	if want != unknown {
		v.compare(id, s, seq, partition, offset, want)
	} else {
		v.unacknowledged(s, seq, offset)
	}
}

// owed is the number of acknowledged records that were not read of a partition.
func (v *verifier) owed(partition int32) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.streams {
		if s.Partition == partition {
			n += s.unread()
		}
	}
	return n
}

// close counts what was acknowledged and did not come although everything was read.
func (v *verifier) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(v.streams)) {
		s := v.streams[id]
		for _, r := range s.Acked {
			for i := range r.n {
				v.lost(id, s, r.seq+i, r.offset+int64(i))
			}
		}
		v.unread -= s.unread()
		v.entries -= len(s.Acked)
		if n := len(s.Acked); n > 0 {
			s.Next = s.Acked[n-1].seq + s.Acked[n-1].n
		}
		s.Acked = nil
	}
}

// cut counts what lies between the end of a log and the offset up to which it was read.
func (v *verifier) cut(partition int32, end int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Lost += v.at[partition] - end
	v.example("%s ends at offset %d and was read up to %d before: records are lost, or the topic was made anew", v.topics.Name(partition), end, v.at[partition])
	v.at[partition] = end
}

// look returns the counts so far.
func (v *verifier) look() check.Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.report
	r.Examples = slices.Clone(r.Examples)
	return r
}

func (v *verifier) example(format string, args ...any) {
	if len(v.report.Examples) >= maxExamples {
		return
	}
	text := fmt.Sprintf(format, args...)
	v.report.Examples = append(v.report.Examples, text)
	if v.finding != nil {
		v.finding(text)
	}
}
