// Package line is one direction of a wire of some length: what goes in comes out later, in order, some of it perhaps never.
//
// It reads no clock and does no I/O. Whoever owns a line says what time it is, asks when the next item is due, and sleeps until
// then. A deadline is absolute, counted from when the item came: however late the owner wakes, the next item is not later for
// it, and an item's delay does not hold up those behind it.
//
//	in at t ─▶ waits for the link to be free ─▶ sent at the link's rate ─▶ delay + jitter ─▶ not before the one ahead ─▶ out
//
// Since order holds, the head's deadline is the earliest there is, and nothing that comes in can be due sooner: a sleeping owner need
// not be woken by an arrival.
package line

import "math/rand/v2"

// Quality is what a line does to what goes through it.
type Quality struct {
	DelayNS  int64
	JitterNS int64 // up to so much is added, evenly drawn; order is kept
	// Loss is the probability, 0 to 1, that an item is lost. RetransmitNS says what that means: 0 = it is gone, as a packet is; more = it
	// comes that much later and holds up those behind it, as what TCP sends once more does.
	Loss         float64
	RetransmitNS int64
	// BytesPerSecond is the link's rate; 0 = no limit. QueueBytes is how much may wait for the link to be free before what comes is
	// lost; 0 = no limit.
	BytesPerSecond float64
	QueueBytes     int
}

// Line holds items of any kind on their way. Not safe for concurrent use.
type Line[T any] struct {
	quality Quality
	random  *rand.Rand
	items   []item[T] // in flight; the first `head` are gone
	head    int
	bytes   int
	freeNS  int64 // when the link has sent everything that came
	lastNS  int64 // the deadline of the last item
	held    bool
	lost    uint64
}

type item[T any] struct {
	deadlineNS int64
	bytes      int
	value      T
}

// New returns an empty line. The seed decides about jitter and loss: the n-th item that comes meets the same luck in every run.
func New[T any](q Quality, seed uint64) *Line[T] {
	return &Line[T]{quality: q, random: rand.New(rand.NewPCG(seed, 0x6c696e65))}
}

// Set changes what happens to items that come from now on. What is under way keeps its deadlines, and stays ahead.
func (l *Line[T]) Set(q Quality) { l.quality = q }

// Quality is what was last set.
func (l *Line[T]) Quality() Quality { return l.quality }

// In puts an item of so many bytes in at nowNS. False: it is lost, and will not come out.
func (l *Line[T]) In(nowNS int64, bytes int, value T) bool {
	luck, jitter := l.random.Float64(), l.random.Float64()
	late := int64(0)
	if luck < l.quality.Loss {
		if l.quality.RetransmitNS == 0 {
			l.lost++
			return false
		}
		late = l.quality.RetransmitNS
	}
	if q := l.quality.QueueBytes; q > 0 && l.waiting(nowNS) > float64(q) {
		l.lost++
		return false
	}
	l.add(nowNS, late+int64(jitter*float64(l.quality.JitterNS)), bytes, value)
	return true
}

// waiting is how many bytes the link has yet to send.
func (l *Line[T]) waiting(nowNS int64) float64 {
	return float64(l.freeNS-nowNS) / 1e9 * l.quality.BytesPerSecond
}

func (l *Line[T]) add(nowNS, extraNS int64, bytes int, value T) {
	l.freeNS = max(l.freeNS, nowNS)
	if l.quality.BytesPerSecond > 0 {
		l.freeNS += int64(float64(bytes) / l.quality.BytesPerSecond * 1e9)
	}
	l.lastNS = max(l.lastNS, l.freeNS+l.quality.DelayNS+extraNS)
	if len(l.items) == cap(l.items) && 2*l.head >= len(l.items) { // at least as many are gone as are moved
		n := copy(l.items, l.items[l.head:])
		clear(l.items[n:])
		l.items, l.head = l.items[:n], 0
	}
	l.items = append(l.items, item[T]{l.lastNS, bytes, value})
	l.bytes += bytes
}

// Next says when the next item is due. False: there is none, or the line is held.
func (l *Line[T]) Next() (deadlineNS int64, ok bool) {
	if l.held || l.head == len(l.items) {
		return 0, false
	}
	return l.items[l.head].deadlineNS, true
}

// Out takes the next item out if it is due at nowNS.
func (l *Line[T]) Out(nowNS int64) (value T, ok bool) {
	deadline, ok := l.Next()
	if !ok || deadline > nowNS {
		return value, false
	}
	it := l.items[l.head]
	l.items[l.head] = item[T]{} // the value is the caller's now
	l.head++
	if l.head == len(l.items) {
		l.items, l.head = l.items[:0], 0
	}
	l.bytes -= it.bytes
	return it.value, true
}

// Hold stops the line: what is under way and what comes stays in it until Release. It is how a cut looks to TCP, which keeps what it
// could not deliver.
func (l *Line[T]) Hold() { l.held = true }

// Held tells whether the line is stopped.
func (l *Line[T]) Held() bool { return l.held }

// Release ends a Hold at nowNS. What was held is sent then, all of it from the beginning of the line.
func (l *Line[T]) Release(nowNS int64) {
	if !l.held {
		return
	}
	l.held = false
	held := l.items[l.head:]
	l.items, l.head, l.bytes, l.freeNS, l.lastNS = nil, 0, 0, 0, 0
	for _, it := range held {
		l.add(nowNS, 0, it.bytes, it.value)
	}
}

// Len is how many items are on their way, Bytes how many bytes they have.
func (l *Line[T]) Len() int { return len(l.items) - l.head }

// Bytes is how many bytes are on their way.
func (l *Line[T]) Bytes() int { return l.bytes }

// Lost is how many items will never come out.
func (l *Line[T]) Lost() uint64 { return l.lost }
