package raftlog_test

import (
	"fmt"
	"testing"

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

func ExampleBudget() {
	b := raftlog.NewBudget(10)
	fmt.Println(b.Used(), b.Over())
	// Output: 0 false
}
