package soak

import (
	"encoding/json"
	"fmt"
)

// row is a row of acknowledged records that lie one behind the other.
type row struct {
	seq    uint64
	n      uint64
	offset int64
}

// MarshalJSON writes a row as [sequence number, records, offset].
func (r row) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%d,%d,%d]", r.seq, r.n, r.offset), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *row) UnmarshalJSON(b []byte) error {
	var v [3]int64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if v[0] < 0 || v[1] < 1 || v[2] < 0 {
		return fmt.Errorf("a row of %d records from number %d at offset %d", v[1], v[0], v[2])
	}
	*r = row{uint64(v[0]), uint64(v[1]), v[2]}
	return nil
}

// unknown is the offset of a record that was not acknowledged, as far as is known.
const unknown = -1

// stream is one producer's records in one partition: numbered from 0, sent in order.
type stream struct {
	Partition int32  `json:"partition"`
	Next      uint64 `json:"next"` // one above the highest number that was read
	Seen      bool   `json:"seen"` // at least one record was read
	// Acked are rows that were acknowledged and not read, in order: the window.
	Acked []row `json:"acked,omitempty"`
	// Early were read before their acknowledgement came: number → offset. At most as many as are in flight.
	Early map[uint64]int64 `json:"early,omitempty"`
	// Missing were passed over and are counted as lost: number → offset of the acknowledgement, or unknown.
	Missing map[uint64]int64 `json:"missing,omitempty"`
	// Passed were passed over and need not be there: they failed, or came before the first that was read. An acknowledgement makes
	// them missing.
	Passed map[uint64]bool `json:"passed,omitempty"`
	// Failed were handed back as failed. At most as many as are in flight, because a launch ends with the first.
	Failed map[uint64]bool `json:"failed,omitempty"`

	open bool // its launch goes on: acknowledgements may come
}

func newStream(partition int32, open bool) *stream { return &stream{Partition: partition, open: open} }

// entries is how much of the window, and of everything else that is kept, this stream takes.
func (s *stream) entries() int {
	return len(s.Acked) + len(s.Early) + len(s.Missing) + len(s.Passed) + len(s.Failed)
}

// settled tells that nothing is known of the stream that could matter again, but how far it was read.
func (s *stream) settled() bool { return !s.open && len(s.Acked)+len(s.Missing) == 0 }

// unread is the number of acknowledged records that were not read.
func (s *stream) unread() (n int) {
	for _, r := range s.Acked {
		n += int(r.n)
	}
	return n
}

// push enters n acknowledged records. They come in order.
func (s *stream) push(seq uint64, n uint64, offset int64) {
	if k := len(s.Acked); k > 0 {
		last := &s.Acked[k-1]
		end := last.seq + last.n
		if seq < end {
			panic(fmt.Sprintf("soak: record %d acknowledged after record %d", seq, end-1))
		}
		if seq == end && offset == last.offset+int64(last.n) {
			last.n += n
			return
		}
	}
	s.Acked = append(s.Acked, row{seq, n, offset})
}

// pop returns the offset with which record seq was acknowledged and forgets it; unknown if it was not. It is asked in order:
// nothing below seq is in the window any more.
func (s *stream) pop(seq uint64) int64 {
	if len(s.Acked) == 0 || s.Acked[0].seq > seq {
		return unknown
	}
	r := &s.Acked[0]
	if r.seq != seq {
		panic(fmt.Sprintf("soak: record %d asked for with record %d in the window", seq, r.seq))
	}
	offset := r.offset
	r.seq, r.n, r.offset = r.seq+1, r.n-1, r.offset+1
	if r.n == 0 {
		s.Acked = s.Acked[1:] // append copies to a fresh array when this one is used up: twice the window at most
	}
	return offset
}

func put[V any](m *map[uint64]V, k uint64, v V) {
	if *m == nil {
		*m = map[uint64]V{}
	}
	(*m)[k] = v
}
