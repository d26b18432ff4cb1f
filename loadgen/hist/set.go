package hist

// Set holds the four durations of an operation that has four times: intended (the schedule), ready (the generator got
// to it), sent, acked.
//
//	intended ──lag──▶ ready ──backlog──▶ sent ──service──▶ acked
//	└──────────────────────── response ────────────────────────┘
//
// Lag is the generator's fault, backlog the system's: its window was full.
type Set struct {
	Response *Hist `json:"response"`
	Service  *Hist `json:"service"`
	Lag      *Hist `json:"lag"`
	Backlog  *Hist `json:"backlog"`
}

// NewSet returns an empty set.
func NewSet() *Set {
	return &Set{Response: NewLatency(), Service: NewLatency(), Lag: NewDelay(), Backlog: NewDelay()}
}

// Record counts a success by its four times.
func (s *Set) Record(intended, ready, sent, acked int64) {
	s.Response.Record(acked - intended)
	s.Service.Record(acked - sent)
	s.Lag.Record(ready - intended)
	s.Backlog.Record(sent - ready)
}

// Fail counts an operation that was sent and did not succeed. Its lag and backlog are known all the same.
func (s *Set) Fail(intended, ready, sent int64) {
	s.Response.Fail()
	s.Service.Fail()
	s.Lag.Record(ready - intended)
	s.Backlog.Record(sent - ready)
}

// Unsent counts n operations that were due and never sent: there was never room for them, which is backlog without an end.
func (s *Set) Unsent(n int64) {
	s.Response.FailN(n)
	s.Service.FailN(n)
	s.Backlog.FailN(n)
}

// Merge adds o's samples to s.
func (s *Set) Merge(o *Set) {
	s.Response.Merge(o.Response)
	s.Service.Merge(o.Service)
	s.Lag.Merge(o.Lag)
	s.Backlog.Merge(o.Backlog)
}

// Reset empties s.
func (s *Set) Reset() {
	s.Response.Reset()
	s.Service.Reset()
	s.Lag.Reset()
	s.Backlog.Reset()
}

// Clone returns an independent copy.
func (s *Set) Clone() *Set {
	return &Set{Response: s.Response.Clone(), Service: s.Service.Clone(), Lag: s.Lag.Clone(), Backlog: s.Backlog.Clone()}
}

// OutOfRange is how many values of all four fell outside of the range.
func (s *Set) OutOfRange() int64 {
	return s.Response.OutOfRange() + s.Service.OutOfRange() + s.Lag.OutOfRange() + s.Backlog.OutOfRange()
}
