package record

// Names of the figures of a recovery that a point keeps.
const (
	RecoveredBytes = "recovered_bytes"        // of the WAL, that were live when the broker was killed
	RestBytes      = "resident_bytes_at_rest" // of a broker that serves as many groups and holds no record
	PeakBytes      = "resident_bytes_peak"    // of the broker that came back, from its start until its latencies were what they had been
)

// Point is one recovery of a curve. Times are from the start of the process.
type Point struct {
	WrittenBytes int64   `json:"written_bytes"` // of records, as the profile asks for
	Groups       int     `json:"groups"`        // that they were written to
	LiveBytes    float64 `json:"live_bytes"`    // of the WAL, that a recovery reads
	FloorMs      float64 `json:"floor_ms"`      // to read those once, past the page cache
	OpenMs       float64 `json:"open_ms"`
	FirstAckMs   float64 `json:"first_ack_ms"`
	CaughtUpMs   float64 `json:"caught_up_ms"`
	RestoredMs   float64 `json:"p99_restored_ms,omitempty"` // 0: not watched, or not within the limit
	RestBytes    float64 `json:"rest_bytes"`
	PeakBytes    float64 `json:"peak_bytes"`
}

// Ratio is what the first acknowledgement took, in reads of the live WAL.
func (p *Point) Ratio() float64 { return p.FirstAckMs / p.FloorMs }

// Beyond is how much memory the recovery took beyond rest.
func (p *Point) Beyond() float64 { return p.PeakBytes - p.RestBytes }

// PointOf makes a point of what a recovery recorded.
func PointOf(l *Launch, written int64, groups int) Point {
	p := Point{WrittenBytes: written, Groups: groups}
	for name, into := range map[string]*float64{RecoveredBytes: &p.LiveBytes, RestBytes: &p.RestBytes, PeakBytes: &p.PeakBytes} {
		*into, _ = l.Get(System, name)
	}
	for name, into := range map[string]*float64{"open": &p.OpenMs, "first-ack": &p.FirstAckMs, "caught-up": &p.CaughtUpMs, "p99-restored": &p.RestoredMs} {
		pair, _ := l.Pair(name)
		*into, p.FloorMs = pair.System, max(p.FloorMs, pair.Floor)
	}
	return p
}

// WorstPoint is the largest that any of a launch's points says; false without points.
func WorstPoint(l *Launch, says func(*Point) float64) (worst float64, ok bool) {
	for i := range l.Points {
		if v := says(&l.Points[i]); !ok || v > worst {
			worst, ok = v, true
		}
	}
	return worst, ok
}
