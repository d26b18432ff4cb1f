package record

// MaxSteps bounds a timeline, of which every launch of a failover, recovery or catch-up has one: all that a run records has to fit into a page.
const MaxSteps = 600

// Timeline is what a client that writes at an even rate felt while nodes went away and came back. Its clock starts with its first step,
// a little before the first record was due.
type Timeline struct {
	StepMs  float64   `json:"step_ms"`
	P50Us   []float64 `json:"us_p50"`   // of the records that were due in a step, from then until they were acknowledged; 0: there are none
	WorstUs []float64 `json:"us_worst"` // and the slowest of them; those that never were acknowledged are in neither
	Spans   []Span    `json:"spans"`    // in the order in which they began
}

// Span is a stretch of a timeline in which something was not as usual.
type Span struct {
	What   string  `json:"what"` // for people: "kill of node 2"
	FromMs float64 `json:"from_ms"`
	ToMs   float64 `json:"to_ms"`
	// WorstUs is the slowest of the records that were due in it; 0: there are none that were acknowledged.
	WorstUs float64 `json:"us_worst,omitempty"`
}

// LengthMs is how long the timeline is.
func (t *Timeline) LengthMs() float64 { return t.StepMs * float64(len(t.P50Us)) }
