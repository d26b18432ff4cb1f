package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

const testDir = "data/group"
const testGroup id.GroupID = 77

// newFS returns a file system with the durable directory above testDir.
func newFS(t testing.TB) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	must(t, vfs.MkdirAllDurable(m, "data"))
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fs vfs.FS, at Checkpoint) *Log {
	t.Helper()
	l, err := Open(testOptions(fs), at)
	must(t, err)
	return l
}

// testOptions are small enough that everything happens in a short test.
func testOptions(fs vfs.FS) Options {
	return Options{FS: fs, Dir: testDir, Group: testGroup, WriteBytes: 700, DirectBytes: 4096, WriteBackBytes: 4096, Files: NewFiles(2)}
}

// nightly multiplies the size of random tests when ACKLINE_NIGHTLY is set to a number.
func nightly() int {
	if n, err := strconv.Atoi(os.Getenv("ACKLINE_NIGHTLY")); err == nil && n > 0 {
		return 100 * n
	}
	return 1
}

// model is the log as it should be, in the plainest way.
type model struct {
	rng  *rand.Rand
	recs []Record // all that were ever appended and not cut; Roll is kept
	prev id.Term  // of the entry before recs
	low  id.Index // what is below was dropped
	next id.Index
	off  id.Offset
	term id.Term

	large bool // with records of several blocks, which take a while to check
}

func newModel(seed uint64) *model {
	return &model{rng: rand.New(rand.NewPCG(seed, 1)), low: 1, next: 1}
}

// newLargeModel is a model that goes around the page cache at times.
func newLargeModel(seed uint64) *model {
	m := newModel(seed)
	m.large = true
	return m
}

// at returns the record of an index that is in the model, dropped or not.
func (m *model) at(i id.Index) Record { return m.recs[i-m.recs[0].Index] }

// gen makes n records that go on where the model ends, without adding them.
func (m *model) gen(n int) []Record {
	rs := make([]Record, 0, n)
	next, off, term := m.next, m.off, m.term
	for range n {
		if m.rng.IntN(12) == 0 || term == 0 {
			term += 1 + id.Term(m.rng.IntN(2))
		}
		r := Record{Index: next, Term: term, Type: uint8(m.rng.IntN(4)), Base: off, LastDelta: Control, MaxTimestamp: NoTimestamp}
		size := m.rng.IntN(60)
		switch m.rng.IntN(10) {
		case 0, 1:
			if size%2 == 0 {
				size = 0
			}
		case 2:
			size = 500 + m.rng.IntN(1000)
			if m.large && m.rng.IntN(5) == 0 {
				size += m.rng.IntN(14_000) // around the page cache, and across several blocks
			}
			fallthrough
		default:
			size++
			r.LastDelta = int32(m.rng.IntN(5))
			r.MaxTimestamp = int64(next)*10 + m.rng.Int64N(100) - 50
		}
		if size > 0 {
			r.Data = payload(next, size)
		}
		if len(m.recs) == 0 && len(rs) == 0 || m.rng.IntN(15) == 0 {
			r.Roll = payload(next+1<<40, m.rng.IntN(150))
		}
		rs = append(rs, r)
		next++
		off += id.Offset(r.LastDelta) + 1
	}
	return rs
}

// payload is size bytes that no other index has.
func payload(i id.Index, size int) []byte {
	p := make([]byte, size+8)
	binary.LittleEndian.PutUint64(p, uint64(i)*0x9e3779b97f4a7c15)
	for k := 8; k < len(p); k++ {
		p[k] = p[k-8]*31 + byte(k)
	}
	return p[:size]
}

// add takes records into the model.
func (m *model) add(rs []Record) {
	for _, r := range rs {
		if len(m.recs) == 0 {
			m.low = r.Index
			r.Roll = append([]byte{}, r.Roll...) // the first record starts a segment in any case
		}
		m.recs = append(m.recs, r)
		m.next, m.off, m.term = r.Index+1, r.Base+id.Offset(r.LastDelta)+1, r.Term
	}
}

// cut forgets everything from a checkpoint on.
func (m *model) cut(at Checkpoint) {
	for len(m.recs) > 0 && m.recs[len(m.recs)-1].Index >= at.Next {
		m.recs = m.recs[:len(m.recs)-1]
	}
	m.next, m.off, m.term = at.Next, at.NextOffset, at.Term
}

// empty makes it a model of EmptyAt(at...).
func (m *model) empty(at Checkpoint) {
	m.recs, m.low, m.prev = nil, at.Next, at.Term
	m.next, m.off, m.term = at.Next, at.NextOffset, at.Term
}

func (m *model) live() []Record {
	for i, r := range m.recs {
		if r.Index >= m.low {
			return m.recs[i:]
		}
	}
	return nil
}

// drop applies DropBefore(o).
func (m *model) drop(o id.Offset) {
	for _, r := range m.live() {
		if r.Roll != nil && r.Base <= o {
			m.low = r.Index
		}
	}
}

// same compares two records, Roll aside.
func same(a, b Record) bool {
	return bytes.Equal(a.Data, b.Data) && a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.Base == b.Base &&
		a.LastDelta == b.LastDelta && a.MaxTimestamp == b.MaxTimestamp
}

// check compares everything that can be asked of the log with the model.
func (m *model) check(t testing.TB, l *Log) {
	t.Helper()
	live := m.live()
	first, start := m.next, m.off
	size := int64(0)
	if len(live) > 0 {
		first, start = live[0].Index, live[0].Base
	}
	for _, r := range live {
		if r.LastDelta >= 0 {
			size += int64(len(r.Data))
		}
	}
	got := fmt.Sprint(l.FirstIndex(), l.LastIndex(), l.StartOffset(), l.NextOffset(), l.Size())
	if want := fmt.Sprint(first, m.next-1, start, m.off, size); got != want {
		t.Fatalf("first and last index, start and next offset, size: got %s, want %s", got, want)
	}
	m.checkEntries(t, l, live)
	m.checkReads(t, l, live, start)
	m.checkFinds(t, l, live)
	m.checkSegments(t, l, live)
}

func (m *model) checkEntries(t testing.TB, l *Log, live []Record) {
	t.Helper()
	if len(live) == 0 {
		return
	}
	first := live[0].Index
	for n := 0; n < 4; n++ {
		lo, hi, limit := first, m.next, 1<<30
		if n > 0 {
			lo += id.Index(m.rng.IntN(len(live)))
			hi = lo + 1 + id.Index(m.rng.IntN(int(m.next-lo)))
			limit = m.rng.IntN(3000)
		}
		var want []Record
		sum := 0
		for i := lo; i < hi; i++ {
			r := live[i-first]
			if sum += len(r.Data); sum > limit && len(want) > 0 {
				break
			}
			want = append(want, r)
		}
		got, err := l.Entries(lo, hi, limit)
		if err != nil {
			t.Fatalf("entries [%d,%d): %v", lo, hi, err)
		}
		if !slices.EqualFunc(got, want, same) {
			t.Fatalf("entries [%d,%d) within %d bytes: got %d, want %d, or they differ", lo, hi, limit, len(got), len(want))
		}
		if term, err := l.Term(lo - 1); err != nil || term != m.termBefore(lo) {
			t.Fatalf("term of %d: got %d, %v, want %d", lo-1, term, err, m.termBefore(lo))
		}
	}
	if _, err := l.Entries(first-1, m.next, 1); !errors.Is(err, ErrCompacted) {
		t.Fatalf("entries from below the first: %v", err)
	}
	if _, err := l.Entries(first, m.next+1, 1); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("entries to above the last: %v", err)
	}
}

func (m *model) termBefore(i id.Index) id.Term {
	if i == m.recs[0].Index {
		return m.prev
	}
	return m.at(i - 1).Term
}

// read is ReadBelow by the model.
func (m *model) read(live []Record, from, end id.Offset, limit int) []byte {
	out := []byte{}
	for _, r := range live {
		next := r.Base + id.Offset(r.LastDelta) + 1
		if r.LastDelta < 0 || next <= from {
			continue
		}
		if next > end || len(out) > 0 && len(out)+len(r.Data) > limit {
			break
		}
		out = append(out, r.Data...)
	}
	return out
}

func (m *model) checkReads(t testing.TB, l *Log, live []Record, start id.Offset) {
	t.Helper()
	prefix := []byte("before")
	for n := 0; n < 5; n++ {
		from, end, limit := start, id.Offset(1)<<60, 1<<30
		if n > 0 {
			from += id.Offset(m.rng.Int64N(int64(m.off-start) + 1))
			limit = m.rng.IntN(4000)
		}
		if n > 3 {
			end = from + id.Offset(m.rng.IntN(50))
		}
		want := m.read(live, from, end, limit)
		got, err := l.ReadBelow(from, end, limit, slices.Clone(prefix))
		if err != nil {
			t.Fatalf("read from %d below %d: %v", from, end, err)
		}
		if !bytes.Equal(got[len(prefix):], want) || !bytes.HasPrefix(got, prefix) {
			t.Fatalf("read from %d below %d within %d bytes of [%d,%d): got %d bytes, want %d, or they differ", from, end, limit,
				start, m.off, len(got)-len(prefix), len(want))
		}
	}
	if _, err := l.Read(start-1, 1, nil); !errors.Is(err, ErrCompacted) {
		t.Fatalf("read below the start: %v", err)
	}
	if _, err := l.Read(m.off+1, 1, nil); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("read above the end: %v", err)
	}
}

func (m *model) checkFinds(t testing.TB, l *Log, live []Record) {
	t.Helper()
	top := NoTimestamp
	for _, r := range live {
		top = max(top, r.MaxTimestamp)
	}
	if got := l.MaxTimestamp(); got != top {
		t.Fatalf("max timestamp %d, want %d", got, top)
	}
	for n := 0; n < 4 && len(live) > 0; n++ {
		pick := live[m.rng.IntN(len(live))]
		ms, from := pick.MaxTimestamp+m.rng.Int64N(3)-1, id.Offset(0)
		if n > 1 {
			from = live[m.rng.IntN(len(live))].Base + 1
		}
		want := "none"
		for _, r := range live {
			if r.LastDelta >= 0 && r.MaxTimestamp >= ms && r.Base+id.Offset(r.LastDelta)+1 > from {
				want = fmt.Sprint(r.Base, r.MaxTimestamp)
				break
			}
		}
		o, ts, ok, err := l.OffsetForTimeFrom(from, ms)
		got := fmt.Sprint(o, ts)
		if !ok {
			got = "none"
		}
		if err != nil || got != want {
			t.Fatalf("offset for time %d from %d: got %s, %v, want %s", ms, from, got, err, want)
		}
		m.checkTerm(t, l, live, pick.Term-id.Term(m.rng.IntN(2)))
	}
}

func (m *model) checkTerm(t testing.TB, l *Log, live []Record, term id.Term) {
	t.Helper()
	found, end := id.Term(0), m.off
	if before := m.termBefore(live[0].Index); before <= term {
		found = before
	}
	for _, r := range live {
		if r.Term > term {
			end = r.Base
			break
		}
		found = r.Term
	}
	got, at, ok, err := l.OffsetForTerm(term)
	if err != nil || ok != (found > 0) || ok && (got != found || at != end) {
		t.Fatalf("offset for term %d: got %d ending at %d, %v, %v, want %d ending at %d", term, got, at, ok, err, found, end)
	}
}

func (m *model) checkSegments(t testing.TB, l *Log, live []Record) {
	t.Helper()
	var want []SegmentInfo
	for _, r := range live {
		if r.Roll != nil {
			want = append(want, SegmentInfo{First: r.Index, Base: r.Base, MaxTimestamp: NoTimestamp})
		}
		s := &want[len(want)-1]
		s.Next, s.NextOffset, s.Term = r.Index+1, r.Base+id.Offset(r.LastDelta)+1, r.Term
		s.MaxTimestamp = max(s.MaxTimestamp, r.MaxTimestamp)
		if r.LastDelta >= 0 {
			s.DataBytes += int64(len(r.Data))
		}
	}
	got := l.Segments()
	for i := range got {
		if got[i].OtherBytes < int64(got[i].Rows())*64 {
			t.Fatalf("segment %+v has too few other bytes", got[i])
		}
		got[i].OtherBytes = 0
	}
	for i := range want {
		want[i].Active = i == len(want)-1
	}
	if !slices.Equal(got, want) {
		t.Fatalf("segments: got %+v\nwant %+v", got, want)
	}
	for i, s := range want {
		from := s.First
		if i > 0 {
			from = want[i-1].First + 1
		}
		info, state, err := l.BaseState(from)
		if err != nil || info.First != s.First || !bytes.Equal(state, m.at(s.First).Roll) {
			t.Fatalf("base state from %d: %v, segment %d with %d bytes, want %d with %d", from, err, info.First, len(state),
				s.First, len(m.at(s.First).Roll))
		}
	}
	if _, _, err := l.BaseState(m.next); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("base state above the last segment: %v", err)
	}
	verifyAll(t, l)
}

func verifyAll(t testing.TB, l *Log) {
	t.Helper()
	if err := scrub(l, 1000); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

// scrub reads the whole log in steps.
func scrub(l *Log, step int64) error {
	for from := l.FirstIndex(); from <= l.LastIndex(); {
		next, n, err := l.Verify(from, step)
		if err != nil {
			return err
		}
		if next <= from || n == 0 {
			return fmt.Errorf("verify from %d ended at %d after %d bytes", from, next, n)
		}
		from = next
	}
	return nil
}
