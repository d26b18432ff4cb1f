package raftlog_test

import (
	"fmt"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
	"ackline/broker/replica/raftlog"
	"ackline/broker/replica/raftlog/logtest"
	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/broker/wal"
)

func TestMemoryLog(t *testing.T) {
	logtest.Test(t, func(*testing.T) raftlog.LogStorage { return raftlog.New(nil, raftlog.NewBudget(1<<20), 0, 0) }, nil)
}

func TestEvictedEntriesAreReadBackFromTheWAL(t *testing.T) {
	fs := vfs.NewMem()
	w, _, err := wal.Open(wal.Options{Path: "/ring", RingBytes: 16 << 20, BatchBytes: 16 << 10, Method: syncmethod.All()[0], Inline: true, FS: fs}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &walLog{w: w, group: 9}
	logtest.Test(t, func(*testing.T) raftlog.LogStorage {
		l.group++
		return l.open()
	}, func(raftlog.LogStorage) { l.settle() })
}

// walLog is a log on the WAL: what settle has written and evicted is read back from the ring.
type walLog struct {
	w     *wal.WAL
	group id.GroupID
	*raftlog.Log
}

func (l *walLog) open() raftlog.LogStorage {
	l.Log = raftlog.New(raftlog.NewDisk(l.w, l.group, nil, 0, 0), raftlog.NewBudget(0), 0, 0)
	return l
}

// settle writes every cached entry to the WAL and evicts the older half.
func (l *walLog) settle() {
	last := l.LastIndex()
	first := l.FirstIndex()
	var es []wal.Entry
	for i := first; i <= last; i++ {
		e, err := l.Get(i)
		if err != nil {
			panic(err)
		}
		es = append(es, wal.Entry{Index: i, Term: id.Term(e.Term), Data: e.Data})
	}
	if len(es) == 0 {
		return
	}
	l.w.Signal(&once{group: l.group, es: es})
	l.w.Drive()
	l.Evict(first + (last-first)/2)
}

type once struct {
	group id.GroupID
	es    []wal.Entry
}

func (o *once) Collect(b *wal.Batch) { b.Entries(o.group, 1, o.es) }
func (o *once) Durable(id.LSN)       {}

// TestWhatIsSpareGoesFirst: entries that are in a file of the machine's are given up for those that would have to be read back to get
// there.
func TestWhatIsSpareGoesFirst(t *testing.T) {
	b := raftlog.NewBudget(100)
	l, other := raftlog.New(nil, b, 0, 0), raftlog.New(nil, b, 0, 0)
	add := func(l *raftlog.Log, n int) {
		for range n {
			if err := l.Append([]pb.Entry{{Index: uint64(l.LastIndex() + 1), Term: 1, Data: make([]byte, 10)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cached := func(l *raftlog.Log) int { return len(l.Cached(l.FirstIndex(), l.LastIndex()+1)) }
	add(l, 4)
	l.Spare(3)
	if got := cached(l); got != 4 {
		t.Errorf("%d entries left of 4, with less than half of the budget used", got)
	}
	add(l, 5) // 90 of 100 bytes
	l.Halve(9)
	if got := cached(l); got != 9 {
		t.Errorf("%d entries left of 9 that are within the budget", got)
	}
	add(other, 2) // 110
	l.Halve(9)
	if got := cached(l); got != 6 {
		t.Errorf("%d entries left, want the 6 that are nowhere else", got)
	}
	l.Spare(5) // 80, more than half
	if got := cached(l); got != 4 {
		t.Errorf("%d entries left, want the 4 that are nowhere else", got)
	}
	add(other, 8)
	l.Halve(9)
	if got := cached(l); got != 2 {
		t.Errorf("%d entries left, want half of the 4: the budget is used up and none is spare", got)
	}
}

func ExampleBudget() {
	b := raftlog.NewBudget(10)
	fmt.Println(b.Used(), b.Over())
	// Output: 0 false
}
