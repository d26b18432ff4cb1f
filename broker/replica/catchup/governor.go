// Package catchup paces how a leader sends old entries to replicas that were away. The problem: the leader reads them from the disk on
// which it makes users' records durable, the network they cross is the users', and sent as fast as it goes they took users' p99
// from one millisecond to forty. Nobody waits for a replica that is far behind, as long as the others are a quorum; so it is
// sent more only when what users wait for, the WAL's writes, takes hardly longer than it does otherwise.
//
// raft sends a replica more when it answers. A group's Gate keeps the answers of one that is far behind, and gives them back, oldest
// first, as the node's Governor lets it. Nothing else about raft changes: a late answer is one that was long on its way.
package catchup

import "sync"

// Config says what a Governor goes by.
type Config struct {
	// LeastBytesPerSecond are sent whatever users feel, and one and a half times what the WAL takes in, if that is more: at less, what
	// a replica lacks would grow. 0 or less: there is no pace.
	LeastBytesPerSecond int64
	// FarBytes is how much a replica must lack to be paced: less is sent in a moment, and may be what users wait for. 0 means 8 MiB.
	FarBytes int
	// WAL returns how many writes the log of this node has done, the nanoseconds that these took together, and their bytes.
	WAL func() (writes, ns, bytes uint64)
	// Now reads a monotonic clock in nanoseconds.
	Now func() int64
}

// The law: every interval the mean duration of the WAL's writes is compared with the usual one, that of all writes since anybody was
// last caught up. Up to slower times as long the rate grows, beyond that it shrinks, faster than it grows.
const (
	intervalNS = 50e6
	restNS     = 2e9 // without anything to send for so long, writes are usual ones again
	slower     = 1.5
	grow       = 1.1
	shrink     = 0.7
	burstNS    = 10e6 // unused allowance is kept for so long: a tick
	fewWrites  = 20   // fewer say nothing about a mean
)

type reading struct{ writes, ns, bytes uint64 }

func (r reading) mean() float64 { return float64(r.ns) / float64(max(r.writes, 1)) }

func (r reading) sub(o reading) reading {
	return reading{r.writes - o.writes, r.ns - o.ns, r.bytes - o.bytes}
}

// Governor is the pace of a node. All groups share it.
type Governor struct {
	cfg Config

	mu      sync.Mutex // guards all that follows; taken with a group's lock held, and takes none
	rate    float64    // bytes per second
	left    float64    // bytes that may be sent; below 0 after a message of any size
	at      int64      // when left was as it is
	looked  int64      // when the rate was last decided
	before  reading    // at that time
	usual   float64    // ns
	resting reading    // at the last look while somebody was caught up
	tail    uint64     // writes of the interval before that
	pressed bool       // somebody had to wait since looked
}

// New returns a governor at rest; nil, which lets everybody send, if there is no pace.
func New(cfg Config) *Governor {
	if cfg.LeastBytesPerSecond <= 0 {
		return nil
	}
	if cfg.FarBytes == 0 {
		cfg.FarBytes = 8 << 20
	}
	return &Governor{cfg: cfg}
}

// Spend notes that so many bytes were sent to somebody far behind.
func (v *Governor) Spend(bytes int) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.look()
	v.left -= float64(bytes)
}

// May tells whether more may be sent now.
func (v *Governor) May() bool {
	if v == nil {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.look()
	v.pressed = v.pressed || v.left < 0
	return v.left >= 0
}

// look moves the clock. It needs mu.
func (v *Governor) look() {
	now := v.cfg.Now()
	if v.at == 0 || now-v.at > restNS {
		v.begin(now)
	}
	v.left = min(v.left+v.rate*float64(now-v.at)/1e9, v.rate*burstNS/1e9)
	v.at = now
	if now-v.looked >= intervalNS {
		v.decide(now)
	}
}

func (v *Governor) read() (r reading) {
	r.writes, r.ns, r.bytes = v.cfg.WAL()
	return r
}

// begin is the first look after a rest.
func (v *Governor) begin(now int64) {
	v.before = v.read()
	// What the last interval of the catching up left is among them, and may not count for much.
	if rest := v.before.sub(v.resting); rest.writes >= max(fewWrites, 10*v.tail) {
		v.usual = rest.mean()
	}
	v.rate, v.left, v.at, v.looked = float64(v.cfg.LeastBytesPerSecond), 0, now, now
}

// decide sets the rate by what the last interval was like.
func (v *Governor) decide(now int64) {
	r := v.read()
	last := r.sub(v.before)
	least := max(float64(v.cfg.LeastBytesPerSecond), 1.5*float64(last.bytes)*1e9/float64(now-v.looked))
	enough := last.writes >= fewWrites // otherwise nobody to speak of waits for the log
	if enough && v.usual == 0 {
		v.usual = last.mean()
	}
	switch {
	case enough && last.mean() > slower*v.usual:
		v.rate *= shrink
	case v.pressed:
		v.rate *= grow
	}
	v.rate = max(v.rate, least)
	v.before, v.resting, v.tail, v.looked, v.pressed = r, r, last.writes, now, false
}
