package partition

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"

	"ackline/broker/id"
	"ackline/broker/kwire"
)

// remembered is how many applied batches of each producer are kept: a client has at most this many in flight, so an
// older one cannot be repeated.
const remembered = 5

// batchSeq is one batch of an idempotent producer.
type batchSeq struct {
	index id.Index
	base  id.Offset
	first int32
	last  int32
	epoch int16
}

// producers is what a partition knows of its idempotent producers: per producer its batches in index order, those that
// are decided and not applied included, and of the applied ones the last five.
type producers struct {
	max int
	m   map[int64]*producer
}

type producer struct {
	batches []batchSeq
}

// check compares a batch with what its producer wrote before. It returns the original when the batch is a repetition,
// and an error when it is out of order or of an old epoch. Of a producer that is not known the first batch must have
// sequence 0, unless the log has lost its start and with it, perhaps, the producer.
func (ps *producers) check(info kwire.BatchInfo, pruned bool) (dup *batchSeq, err error) {
	pr := ps.m[info.ProducerID]
	if pr == nil {
		if info.BaseSequence != 0 && !pruned {
			return nil, fmt.Errorf("%w: producer %d is not known here and starts at %d", ErrOutOfOrder, info.ProducerID, info.BaseSequence)
		}
		return nil, nil
	}
	newest := &pr.batches[len(pr.batches)-1]
	switch {
	case info.ProducerEpoch < newest.epoch:
		return nil, fmt.Errorf("%w: producer %d wrote with epoch %d, this batch has %d", ErrFenced, info.ProducerID, newest.epoch, info.ProducerEpoch)
	case info.ProducerEpoch > newest.epoch:
		if info.BaseSequence != 0 {
			return nil, fmt.Errorf("%w: producer %d starts epoch %d at %d", ErrOutOfOrder, info.ProducerID, info.ProducerEpoch, info.BaseSequence)
		}
		return nil, nil
	}
	last := addSequence(info.BaseSequence, info.LastDelta)
	for i := len(pr.batches) - 1; i >= 0; i-- {
		b := &pr.batches[i]
		if b.epoch == info.ProducerEpoch && b.first == info.BaseSequence && b.last == last {
			return b, nil
		}
	}
	if want := addSequence(newest.last, 1); info.BaseSequence != want {
		return nil, fmt.Errorf("%w: producer %d is at %d, this batch starts at %d", ErrOutOfOrder, info.ProducerID, want, info.BaseSequence)
	}
	return nil, nil
}

// addSequence adds to a sequence number, which goes from 2³¹−1 to 0.
func addSequence(seq, n int32) int32 { return int32((int64(seq) + int64(n)) & math.MaxInt32) }

// note remembers a batch, unless it is known. Of the batches up to applied the newest five stay.
func (ps *producers) note(info kwire.BatchInfo, index id.Index, base id.Offset, applied id.Index) {
	pr := ps.m[info.ProducerID]
	if pr == nil {
		if ps.m == nil {
			ps.m = make(map[int64]*producer)
		}
		if len(ps.m) >= ps.max {
			ps.forgetOldest()
		}
		pr = &producer{batches: make([]batchSeq, 0, remembered+1)}
		ps.m[info.ProducerID] = pr
	}
	if n := len(pr.batches); n == 0 || pr.batches[n-1].index < index {
		pr.batches = append(pr.batches, batchSeq{index, base, info.BaseSequence,
			addSequence(info.BaseSequence, info.LastDelta), info.ProducerEpoch})
	}
	old := 0
	for old < len(pr.batches) && pr.batches[old].index <= applied {
		old++
	}
	if old > remembered {
		pr.batches = pr.batches[:copy(pr.batches, pr.batches[old-remembered:])]
	}
}

func (ps *producers) forgetOldest() {
	var oldest int64
	at := id.Index(math.MaxUint64)
	for pid, pr := range ps.m {
		if i := pr.batches[len(pr.batches)-1].index; i < at || i == at && pid < oldest {
			oldest, at = pid, i
		}
	}
	delete(ps.m, oldest)
}

// truncate forgets batches from an index on: their entries are in the log no more, or no longer this node's to judge.
func (ps *producers) truncate(from id.Index) {
	for pid, pr := range ps.m {
		n := len(pr.batches)
		for n > 0 && pr.batches[n-1].index >= from {
			n--
		}
		if pr.batches = pr.batches[:n]; n == 0 {
			delete(ps.m, pid)
		}
	}
}

// Encoded, little-endian: u32 count of producers, then each, by id:
//
//	offset  size  field
//	0       8     producer id
//	8       1     number of batches n
//	9       26 n  batches: index 8, base offset 8, first sequence 4, last sequence 4, epoch 2
const (
	producerBytes = 9
	batchSeqBytes = 26
)

// encode appends what was applied, up to and including index applied.
func (ps *producers) encode(dst []byte, applied id.Index) []byte {
	le := binary.LittleEndian
	ids := make([]int64, 0, len(ps.m))
	for pid, pr := range ps.m {
		if pr.batches[0].index <= applied {
			ids = append(ids, pid)
		}
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	dst = le.AppendUint32(dst, uint32(len(ids)))
	for _, pid := range ids {
		bs := ps.m[pid].batches
		n := sort.Search(len(bs), func(i int) bool { return bs[i].index > applied })
		bs = bs[max(0, n-remembered):n]
		dst = append(le.AppendUint64(dst, uint64(pid)), byte(len(bs)))
		for _, b := range bs {
			dst = le.AppendUint64(dst, uint64(b.index))
			dst = le.AppendUint64(dst, uint64(b.base))
			dst = le.AppendUint32(dst, uint32(b.first))
			dst = le.AppendUint32(dst, uint32(b.last))
			dst = le.AppendUint16(dst, uint16(b.epoch))
		}
	}
	return dst
}

func (ps *producers) decode(b []byte) error {
	ps.m = make(map[int64]*producer)
	if len(b) == 0 {
		return nil
	}
	le := binary.LittleEndian
	if len(b) < 4 {
		return fmt.Errorf("partition: producer state of %d bytes", len(b))
	}
	count := int(le.Uint32(b))
	b = b[4:]
	for i := range count {
		if len(b) < producerBytes || len(b) < producerBytes+int(b[8])*batchSeqBytes || b[8] == 0 || b[8] > remembered {
			return fmt.Errorf("partition: producer %d of %d in the stored state is cut short or impossible", i, count)
		}
		pid, n := int64(le.Uint64(b)), int(b[8])
		b = b[producerBytes:]
		pr := &producer{batches: make([]batchSeq, 0, remembered+1)}
		for range n {
			pr.batches = append(pr.batches, batchSeq{
				index: id.Index(le.Uint64(b)), base: id.Offset(le.Uint64(b[8:])),
				first: int32(le.Uint32(b[16:])), last: int32(le.Uint32(b[20:])), epoch: int16(le.Uint16(b[24:])),
			})
			b = b[batchSeqBytes:]
		}
		ps.m[pid] = pr
	}
	if len(b) != 0 {
		return fmt.Errorf("partition: %d bytes behind the producers in the stored state", len(b))
	}
	return nil
}
