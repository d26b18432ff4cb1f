package clustertest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The load of these tests.
const (
	partitions = 4
	producers  = 4
	pace       = 2 * time.Millisecond // between two records of a producer
	topic      = "events"
)

// load is what producers write until they are told to stop, and what they were told of it.
type load struct {
	c    *cluster
	wg   sync.WaitGroup
	stop context.CancelFunc

	mu    sync.Mutex // guards what follows
	acked [partitions]map[int64]record
	last  [partitions]time.Time     // of the newest acknowledgement
	gap   [partitions]time.Duration // longest time without one since it was set to 0
	errs  []error
}

// record names a record; its bytes follow from it.
type record struct{ producer, seq int }

// text is a record's value: who wrote it, its number in the partition, and a tail whose length and bytes differ from one to
// the next.
func (r record) text() string {
	head := fmt.Sprintf("%d %d ", r.producer, r.seq)
	return head + strings.Repeat(head, r.seq*7%60)
}

func parseRecord(value []byte) (r record, err error) {
	f := strings.SplitN(string(value), " ", 3)
	if len(f) < 2 {
		return r, fmt.Errorf("no record of these producers: %.60q", value)
	}
	if r.producer, err = strconv.Atoi(f[0]); err == nil {
		r.seq, err = strconv.Atoi(f[1])
	}
	if err == nil && r.text() != string(value) {
		err = fmt.Errorf("record %v with other bytes: %.60q", r, value)
	}
	return r, err
}

// startLoad makes the topic and starts the producers. They are idempotent, never give up, and stop at the first sign that the
// broker forgot something.
func startLoad(c *cluster) *load {
	c.t.Helper()
	c.create(topic, partitions, int16(min(len(c.nodes), 5)), nil)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{c: c, stop: cancel}
	now := time.Now()
	for p := range partitions {
		l.acked[p], l.last[p] = map[int64]record{}, now
	}
	for i := range producers {
		cl := c.client(c.listen(fmt.Sprint("producer ", i)), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
			kgo.MaxBufferedRecords(256), kgo.ProduceRequestTimeout(time.Second), kgo.StopProducerOnDataLossDetected(), kgo.ProducerBatchCompression(kgo.NoCompression()))
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			defer cl.Close()
			l.produce(ctx, cl, i)
		}()
	}
	c.t.Cleanup(cancel)
	return l
}

// produce writes to all partitions in turn until ctx ends, and waits until everything is acknowledged.
func (l *load) produce(ctx context.Context, cl *kgo.Client, producer int) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	bounded, cancel := context.WithCancel(context.Background())
	defer cancel()
	for k := 0; ctx.Err() == nil; k++ {
		r := record{producer, k / partitions}
		cl.Produce(bounded, &kgo.Record{Topic: topic, Partition: int32(k % partitions), Value: []byte(r.text())},
			func(kr *kgo.Record, err error) { l.answer(r, kr, err) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	time.AfterFunc(patience, cancel)
	if err := cl.Flush(bounded); err != nil {
		l.fail(fmt.Errorf("producer %d: what it sent is not acknowledged after %v: %w", producer, patience, err))
	}
}

func (l *load) answer(r record, kr *kgo.Record, err error) {
	if err != nil {
		l.fail(fmt.Errorf("record %v in partition %d: %w", r, kr.Partition, err))
		return
	}
	l.ack(int(kr.Partition), kr.Offset, r)
}

// ack notes an acknowledgement.
func (l *load) ack(p int, offset int64, r record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, twice := l.acked[p][offset]; twice {
		l.errs = append(l.errs, fmt.Errorf("partition %d offset %d was acknowledged for %v and again for %v", p, offset, old, r))
	}
	l.acked[p][offset] = r
	now := time.Now()
	l.gap[p] = max(l.gap[p], now.Sub(l.last[p]))
	l.last[p] = now
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// failed ends the test if something was wrong.
func (l *load) failed() {
	l.c.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) > 0 {
		l.c.t.Fatalf("%d errors, the first: %v", len(l.errs), l.errs[0])
	}
}

// count is the number of acknowledgements in a partition.
func (l *load) count(p int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked[p])
}

// goesOn waits until many more records are acknowledged in every partition.
func (l *load) goesOn(records int) {
	l.c.t.Helper()
	var before [partitions]int
	for p := range partitions {
		before[p] = l.count(p)
	}
	until(l.c.t, fmt.Sprintf("%d more records in each partition", records), func() bool {
		l.failed()
		for p := range partitions {
			if l.count(p) < before[p]+records {
				return false
			}
		}
		return true
	})
}

// resetGaps begins to look for the longest gaps.
func (l *load) resetGaps() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.gap[:])
}

// gaps are the longest times without an acknowledgement in each of some partitions.
func (l *load) gaps(of ...int) (list []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range of {
		list = append(list, l.gap[p])
	}
	return list
}

// finish stops the producers and checks everything.
func (l *load) finish() {
	l.c.t.Helper()
	l.stop()
	l.wg.Wait()
	l.failed()
	total := 0
	for p := range partitions {
		total += l.count(p)
	}
	l.c.t.Logf("%d records acknowledged", total)
	l.check()
}

// check reads the topic and compares, while the load goes on: offsets without a hole; each producer's records in order, none
// missing between two and none twice; what was acknowledged before at its offset.
func (l *load) check() {
	l.c.t.Helper()
	l.failed()
	cl := l.c.client(kgo.FetchMaxWait(50 * time.Millisecond))
	defer cl.Close()
	l.mu.Lock()
	var acked [partitions]map[int64]record
	var want [partitions]int64
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		acked[p] = make(map[int64]record, len(l.acked[p]))
		for o, r := range l.acked[p] {
			acked[p][o] = r
			want[p] = max(want[p], o+1)
		}
		offsets[int32(p)] = kgo.NewOffset().At(0)
	}
	l.mu.Unlock()
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	var next [partitions]int64
	var order [partitions]map[int]int
	for behind(next, want) {
		ctx, cancel := context.WithTimeout(context.Background(), patience) // of one answer: how many it takes is up to how long the test ran
		fetches := cl.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			l.c.t.Fatalf("read %v of %v: %v", next, want, err)
		}
		fetches.EachRecord(func(kr *kgo.Record) {
			p := kr.Partition
			if kr.Offset != next[p] {
				l.c.t.Fatalf("partition %d: offset %d where %d is next", p, kr.Offset, next[p])
			}
			next[p]++
			r, err := parseRecord(kr.Value)
			if err != nil {
				l.c.t.Fatalf("partition %d offset %d: %v", p, kr.Offset, err)
			}
			if order[p] == nil {
				order[p] = map[int]int{}
			}
			if r.seq != order[p][r.producer] {
				l.c.t.Fatalf("partition %d offset %d: producer %d's record %d, where %d is next", p, kr.Offset, r.producer, r.seq, order[p][r.producer])
			}
			order[p][r.producer]++
			if a, ok := acked[p][kr.Offset]; ok && a != r {
				l.c.t.Fatalf("partition %d offset %d holds %v, %v was acknowledged there", p, kr.Offset, r, a)
			}
		})
	}
}

func behind(next, want [partitions]int64) bool {
	for p := range next {
		if next[p] < want[p] {
			return true
		}
	}
	return false
}
