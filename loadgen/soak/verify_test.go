package soak

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"ackline/loadgen/check"
	"ackline/loadgen/frame"
)

// entry is a record of a log.
type entry struct {
	id  uint32
	seq uint64
	bad bool
}

// world is a partition, those who write to it, and a verifier, all driven by one random walk.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	p     *frame.Payloads
	v     *verifier
	log   []entry
	value []byte

	id      uint32
	next    uint64 // of the stream that is open
	flying  []flight
	saved   []byte // a state
	crashes int
	acks    int
}

// flight is an operation without an answer; it is stored at offset, or will be acknowledged so.
type flight struct {
	seq    uint64
	offset int64
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), p: frame.NewPayloads(9, 64), value: make([]byte, 64)}
	w.v = newVerifier(w.p, nil, nil)
	w.v.at[0] = 0
	w.launch()
	return w
}

func (w *world) launch() {
	w.id, w.next, w.flying = w.v.highest()+uint32(w.rng.IntN(3)), 0, nil
	w.v.begin(w.id, []int32{0})
	w.save()
}

func (w *world) save() {
	b, err := w.v.encode(State{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.saved = b
}

// write sends a record, which is stored as the fault has it.
func (w *world) write(fault string) {
	w.v.issue()
	at := int64(len(w.log))
	e := entry{w.id, w.next, false}
	switch fault {
	case "lost":
	case "twice":
		w.log = append(w.log, e, e)
	case "changed":
		e.bad = true
		w.log = append(w.log, e)
	case "moved":
		w.log = append(w.log, e)
		at += 3
	case "swapped": // with the one that follows
		w.log = append(w.log, entry{w.id, w.next + 1, false}, e)
		w.v.issue()
		w.flying = append(w.flying, flight{w.next, at + 1}, flight{w.next + 1, at})
		w.next += 2
		return
	default:
		w.log = append(w.log, e)
	}
	w.flying = append(w.flying, flight{w.next, at})
	w.next++
}

func (w *world) ack() {
	if len(w.flying) > 0 {
		f := w.flying[0]
		w.flying = w.flying[1:]
		w.v.acked(w.id, f.seq, 1, f.offset)
		w.acks++
	}
}

// read reads one record.
func (w *world) read() {
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	at := w.v.at[0]
	if at >= int64(len(w.log)) {
		return
	}
	e := w.log[at]
	w.p.Put(w.value, e.id, e.seq)
	if e.bad {
		w.value[40] ^= 1
	}
	w.v.record(0, at, w.value)
	w.v.at[0] = at + 1
}

// crash kills the process and begins again with the state that was saved last.
func (w *world) crash() {
	st, err := decode(w.saved)
	if err != nil {
		w.t.Fatal(err)
	}
	w.v = newVerifier(w.p, nil, nil)
	w.v.restore(st)
	w.crashes++
	w.launch()
}

// fail ends a launch: what has no answer failed, and some of it is stored.
func (w *world) fail() {
	for _, f := range w.flying {
		w.v.failed(w.id, f.seq, 1)
	}
	w.v.end()
	w.launch()
}

func (w *world) step() {
	switch n := w.rng.IntN(1000); {
	case n < 300:
		if len(w.flying) < 5 {
			w.write("")
		}
	case n < 600:
		w.ack()
	case n < 950:
		w.read()
	case n < 980:
		w.save()
	case n < 990:
		w.fail()
	default:
		w.crash()
	}
	w.bounded()
}

// bounded checks what is kept, counted again from scratch.
func (w *world) bounded() {
	entries, unread := 0, 0
	for _, s := range w.v.streams {
		entries += s.entries()
		unread += s.unread()
	}
	if w.v.entries != entries || w.v.unread != unread || entries > unread+64 {
		w.t.Fatalf("%d entries and %d unread records are counted, there are %d and %d", w.v.entries, w.v.unread, entries, unread)
	}
}

func (w *world) finish() check.Report {
	for len(w.flying) > 0 {
		w.ack()
	}
	w.v.end()
	for w.v.at[0] < int64(len(w.log)) {
		w.read()
	}
	w.v.close()
	return w.v.look()
}

// Whatever the order of writing, answers, reading, failures, saves and kills: nothing is found in an honest log, and every record of it
// was read.
func TestHonestLogsPass(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(t, seed)
		for range 2000 {
			w.step()
		}
		r := w.finish()
		if r.Faults() != 0 || r.Foreign != 0 || r.Read != int64(len(w.log)) || w.v.unread != 0 || r.Acked+r.Unacked != r.Read {
			t.Fatalf("seed %d, %d crashes: %+v of %d records", seed, w.crashes, r, len(w.log))
		}
	}
}

// Whatever the order, a fault is found under its own name and nothing else is.
func TestFaultsAreFoundInAnyOrder(t *testing.T) {
	want := map[string]check.Report{"lost": {Lost: 1}, "twice": {Duplicated: 1}, "changed": {WrongBytes: 1}, "moved": {WrongOffset: 1}, "swapped": {Reordered: 1}}
	for fault, want := range want {
		for seed := range uint64(200) {
			w := newWorld(t, seed)
			for range 500 {
				w.step()
			}
			for len(w.flying) > 0 {
				w.ack()
			}
			w.write(fault)
			for n := w.rng.IntN(4); n > 0; n-- { // the answer comes before, between or after reading
				w.read()
			}
			for len(w.flying) > 0 {
				w.ack()
			}
			w.save() // what was acknowledged is known from here on, whatever comes
			for range 500 {
				w.step()
			}
			r := w.finish()
			if r.Lost != want.Lost || r.Duplicated != want.Duplicated || r.Reordered != want.Reordered || r.WrongOffset != want.WrongOffset || r.WrongBytes != want.WrongBytes {
				t.Fatalf("%s, seed %d: %+v", fault, seed, r)
			}
		}
	}
}

// Records that the kill made us forget the acknowledgements of are missed all the same when later ones are there.
func TestPassedOverAfterACrash(t *testing.T) {
	w := newWorld(t, 1)
	w.write("")
	w.ack()
	w.write("lost")
	w.ack()
	w.write("")
	w.ack()
	w.crash() // the state knows nothing of any of them
	if r := w.finish(); r.Lost != 1 || r.Faults() != 1 {
		t.Errorf("%+v", r)
	}
}

// A stream that only an older state lacks is known from its first record on: its number is not used again, and it can be saved.
func TestUnknownStreamIsTaken(t *testing.T) {
	w := newWorld(t, 1)
	w.log = []entry{{w.id + 70, 0, false}, {w.id + 70, 1, false}}
	w.read()
	w.save()
	if _, err := decode(w.saved); err != nil {
		t.Fatal(err)
	}
	w.read()
	if top := w.v.highest(); top != w.id+71 {
		t.Errorf("streams up to %d are in use, one is %d", top, w.id+70)
	}
	if r := w.finish(); r.Faults() != 0 || r.Unacked != 2 {
		t.Errorf("%+v", r)
	}
}

// An operation that failed may be missing, and one before the first that was read; an acknowledgement of it makes it lost.
func TestWhatMayBePassedOver(t *testing.T) {
	w := newWorld(t, 1)
	w.write("")
	w.ack()
	w.read()
	w.write("lost")
	w.v.failed(w.id, 1, 1)
	w.flying = nil
	w.write("")
	w.ack()
	if r := w.finish(); r.Faults() != 0 {
		t.Errorf("failed: %+v", r)
	}
	w = newWorld(t, 2)
	w.write("lost")
	w.write("")
	w.read()
	if r := w.v.look(); r.Faults() != 0 {
		t.Errorf("before the first: %+v", r)
	}
	w.ack()
	if r := w.v.look(); r.Lost != 1 {
		t.Errorf("before the first, acknowledged: %+v", r)
	}
}

// A soak of a million records takes no more memory than one of a thousand, nor does one with a thousand launches.
func TestMemoryIsFlat(t *testing.T) {
	w := newWorld(t, 1)
	lap := func(n int) {
		for range n {
			w.write("")
			w.ack()
			w.read()
			w.log = append(w.log[:0], make([]entry, 0)...) // the log is not what is measured
			w.v.at[0] = 0
		}
	}
	lap(1000)
	before := heap()
	lap(1_000_000)
	if grown := heap() - before; grown > 1<<20 || w.v.most > 2 || len(w.v.report.Examples) > 0 {
		t.Errorf("%d bytes more after a million records; at most %d entries were kept: %v", grown, w.v.most, w.v.report.Examples)
	}
	for range 2 * maxStreams {
		w.fail()
		lap(1)
	}
	if n := len(w.v.streams); n > maxStreams+1 {
		t.Errorf("%d streams are known", n)
	}
	w.save()
	if len(w.saved) > 200_000 {
		t.Errorf("a state of %d bytes", len(w.saved))
	}
	w.v.mu.Lock()
	w.p.Put(w.value, 0, 0)
	w.v.record(0, 0, w.value)
	w.v.mu.Unlock()
	if r := w.v.look(); r.Duplicated != 1 {
		t.Errorf("a record of a launch that is forgotten: %+v", r)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// However much is wrong, what is kept of it is bounded.
func TestFindingsAreBounded(t *testing.T) {
	w := newWorld(t, 1)
	w.write("")
	w.ack()
	w.read()
	for range maxKept + 1000 {
		w.write("lost")
		w.ack()
	}
	w.write("")
	w.ack()
	w.v.at[0] = int64(len(w.log)) - 1
	r := w.finish()
	if r.Lost != maxKept+1000 || w.v.kept != maxKept || len(r.Examples) != maxExamples {
		t.Errorf("%d lost, %d kept, %d examples", r.Lost, w.v.kept, len(r.Examples))
	}
}

func BenchmarkRecord(b *testing.B) {
	p := frame.NewPayloads(9, 1024)
	v := newVerifier(p, nil, nil)
	v.begin(0, []int32{0})
	value := make([]byte, 1024)
	for i := uint64(0); b.Loop(); i++ {
		v.issue()
		v.acked(0, i, 1, int64(i))
		p.Put(value, 0, i)
		v.record(0, int64(i), value)
	}
	if f := v.report.Faults(); f != 0 {
		b.Fatal(fmt.Sprint(v.report))
	}
}
