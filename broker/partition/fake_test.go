package partition_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"testing"

	"ackline/broker/id"
	"ackline/broker/kwire"
	"ackline/broker/partition"
	"ackline/broker/seglog"
	"ackline/broker/vfs"
)

// fakeGroup is a raft group reduced to its log: proposals are appended, and the test says what is committed.
type fakeGroup struct {
	sync.Mutex
	p    *partition.Partition
	log  []partition.Entry
	term id.Term
	busy error
	// evicted is how many entries memory no longer holds; Entries reads those.
	evicted id.Index
	// compacted is how many entries the WAL no longer has either.
	compacted id.Index
	// spare is up to where memory was told that the segments have the entries.
	spare id.Index
	// configured is the last entry whose configuration the partition has heard of. Here a configuration is its entry's data.
	configured id.Index
}

var errGone = errors.New("the WAL does not have the entry any more")

func (g *fakeGroup) Unlock() {
	c := g.p.Take()
	g.Mutex.Unlock()
	if c != nil {
		c.Complete()
	}
}

func (g *fakeGroup) ProposeLocked(data []byte) (id.Index, id.Term, error) {
	if g.busy != nil {
		return 0, 0, g.busy
	}
	g.log = append(g.log, partition.Entry{Index: id.Index(len(g.log) + 1), Term: g.term, Data: data})
	return id.Index(len(g.log)), g.term, nil
}

func (g *fakeGroup) CachedLocked(dst []partition.Entry, lo, hi id.Index) []partition.Entry {
	if lo <= g.evicted {
		return dst
	}
	return append(dst, g.log[lo-1:min(hi-1, id.Index(len(g.log)))]...)
}

func (g *fakeGroup) SpareLocked(i id.Index) { g.spare = max(g.spare, i) }

func (g *fakeGroup) Entries(lo, hi id.Index, maxBytes int) (es []partition.Entry, err error) {
	if lo <= g.compacted {
		return nil, errGone
	}
	size := 0
	for i := lo; i < hi; i++ {
		if size += len(g.log[i-1].Data); size > maxBytes && len(es) > 0 {
			break
		}
		es = append(es, g.log[i-1])
	}
	return es, nil
}

// lead makes the replica leader of the next term, as raft does: the tail with a no-op behind it.
func (g *fakeGroup) lead(applied id.Index) {
	g.Lock()
	g.term++
	g.log = append(g.log, partition.Entry{Index: id.Index(len(g.log) + 1), Term: g.term})
	g.p.Lead(g.term, append([]partition.Entry(nil), g.log[applied:]...))
	g.Unlock()
}

func (g *fakeGroup) follow() {
	g.Lock()
	g.p.Follow(g.term+1, 9)
	g.Unlock()
}

// commit says that a quorum has everything up to i, and applies it.
func (g *fakeGroup) commit(t *testing.T, i id.Index) {
	t.Helper()
	g.Lock()
	g.p.Committed(i, 1, 2)
	for ; g.configured < i; g.configured++ { // all of them before anything is applied, as a group does
		if e := g.log[g.configured]; e.Type != 0 {
			g.p.Configured(e.Index, e.Data)
		}
	}
	err := g.p.Apply(g.log[:i])
	g.Unlock()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture is a partition that leads, with what was delivered.
type fixture struct {
	t   *testing.T
	fs  *vfs.Mem
	g   *fakeGroup
	p   *partition.Partition
	log *seglog.Log
	out []partition.Ack
	now int64

	segmentBytes int64 // the topic's segment.bytes, 0 for no wish
	large        int   // times that it was said there is enough for a flush
}

// flushBytes is what makes a flush worth its while here.
const flushBytes = 2000

func newFixture(t *testing.T, segmentBytes int64) *fixture {
	f := &fixture{t: t, fs: vfs.NewMem(), g: &fakeGroup{}}
	f.open(seglog.Checkpoint{}, nil, segmentBytes)
	f.g.lead(0)
	f.g.commit(t, 1)
	return f
}

// open opens a partition on the fixture's disk, from a checkpoint's payload.
func (f *fixture) open(at seglog.Checkpoint, payload []byte, segmentBytes int64) {
	f.t.Helper()
	f.segmentBytes = segmentBytes
	f.p = partition.New(partition.Config{Deliver: f.deliver, Now: func() int64 { f.now++; return f.now },
		FlushBytes: flushBytes, Large: func() { f.large++ }})
	if payload != nil {
		if err := f.p.RecoverCheckpoint(payload); err != nil {
			f.t.Fatal(err)
		}
		at, _, _ = f.p.Recovered()
	}
	log, err := seglog.Open(seglog.Options{FS: f.fs, Dir: "/g", Group: 5}, at)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.p.Open(log); err != nil {
		f.t.Fatal(err)
	}
	f.log, f.g.p = log, f.p
	f.p.Join(f.g)
}

func (f *fixture) deliver(a *partition.Ack) {
	for ; a != nil; a = a.Next {
		f.out = append(f.out, *a)
	}
}

// produce appends a batch of n records; part tells its ack apart.
func (f *fixture) produce(part, n int, mod ...func([]byte)) error {
	b := batch(n, mod...)
	info, err := kwire.ParseBatch(b)
	if err != nil {
		f.t.Fatalf("the test's batch is refused: %v", err)
	}
	return f.p.Append(b, info, f.segmentBytes, &partition.Ack{Part: part})
}

func (f *fixture) mustProduce(part, n int, mod ...func([]byte)) {
	f.t.Helper()
	if err := f.produce(part, n, mod...); err != nil {
		f.t.Fatal(err)
	}
}

// acked returns "part@offset" of every delivered ack, or its error.
func (f *fixture) acked() (out []string) {
	for _, a := range f.out {
		if a.Err != nil {
			out = append(out, fmt.Sprintf("%d!%v", a.Part, errors.Is(a.Err, partition.ErrUnknown)))
			continue
		}
		out = append(out, fmt.Sprintf("%d@%d", a.Part, a.Base))
	}
	f.out = nil
	return out
}

func producer(pid int64, epoch int16, seq int32) func([]byte) {
	return func(b []byte) {
		binary.BigEndian.PutUint64(b[43:], uint64(pid))
		binary.BigEndian.PutUint16(b[51:], uint16(epoch))
		binary.BigEndian.PutUint32(b[53:], uint32(seq))
	}
}

func stamped(ms int64) func([]byte) {
	return func(b []byte) {
		binary.BigEndian.PutUint64(b[27:], uint64(ms))
		binary.BigEndian.PutUint64(b[35:], uint64(ms))
	}
}

// batch builds a record batch by the format's description: 61 bytes of header, then records with varints.
func batch(n int, mod ...func([]byte)) []byte {
	b := make([]byte, 61)
	for i := range n {
		value := fmt.Sprintf("value %d of %d", i, n)
		r := binary.AppendVarint([]byte{0}, 0)
		r = binary.AppendVarint(r, int64(i))
		r = binary.AppendVarint(r, -1)
		r = append(binary.AppendVarint(r, int64(len(value))), value...)
		r = binary.AppendVarint(r, 0)
		b = append(binary.AppendVarint(b, int64(len(r))), r...)
	}
	be := binary.BigEndian
	be.PutUint32(b[8:], uint32(len(b)-12))
	b[16] = 2
	be.PutUint32(b[23:], uint32(n-1))
	producer(-1, -1, -1)(b)
	be.PutUint32(b[57:], uint32(n))
	for _, m := range mod {
		m(b)
	}
	be.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
