package result

import (
	"fmt"
	"strings"

	"ackline/loadgen/hist"
	"ackline/loadgen/stages"
)

// Stages is where the time of the window's requests went, as far as the system told (see package stages). A request that was
// acknowledged and whose stages were told is joined; one that failed is slower than all of these, and in none of them.
type Stages struct {
	Acked       int64   `json:"acked"`
	Joined      int64   `json:"joined"`
	JoinedShare float64 `json:"joined_share"`
	NotAddingUp int64   `json:"not_adding_up"` // joined requests whose stages are further from the response time than stages.Tolerance
	// Usable: enough requests are joined and what is below adds up. Why says what is wrong otherwise.
	Usable bool   `json:"usable"`
	Why    string `json:"why,omitempty"`

	Median  *StageMeans `json:"p40_to_p60,omitempty"` // of the joined requests, those around the median response
	Slowest *StageMeans `json:"slowest_1_percent,omitempty"`
	All     *StageMeans `json:"all,omitempty"`
	// ByStage is each stage by itself, over the whole window. These do not add up.
	ByStage []StageSpread  `json:"by_stage,omitempty"`
	Worst   []StageRequest `json:"worst,omitempty"` // the slowest first
}

// StageMeans is where the time of some of the requests went, on average.
type StageMeans struct {
	Requests   float64     `json:"requests"`
	FromUS     float64     `json:"response_from_us"`
	ToUS       float64     `json:"response_to_us"`
	ResponseUS float64     `json:"response_us"`
	SumUS      float64     `json:"sum_us"`
	Stages     []StageTime `json:"stages"`
}

// StageTime is one stage's part of a response time.
type StageTime struct {
	Stage string  `json:"stage"`
	US    float64 `json:"us"`
}

// StageSpread is the distribution of one stage. Percentiles without enough samples are 0.
type StageSpread struct {
	Stage string  `json:"stage"`
	P50US float64 `json:"p50_us,omitempty"`
	P99US float64 `json:"p99_us,omitempty"`
	MaxUS float64 `json:"max_us"`
}

// StageRequest is one request in full.
type StageRequest struct {
	AtSeconds  float64     `json:"at_seconds"`      // when it was due, from the start of the window
	Topic      string      `json:"topic,omitempty"` // where there are several
	Partition  int32       `json:"partition"`
	Offset     int64       `json:"offset"`
	ResponseUS float64     `json:"response_us"`
	SumUS      float64     `json:"sum_us"`
	Stages     []StageTime `json:"stages"`
}

// enoughJoined is the share of the acknowledged requests that must be joined for their stages to speak for all.
const enoughJoined = 0.95

// NewStages puts t into figures. acked is how many requests it could have; from is when the window began; where tells a stream's partition, and its topic where there are several.
func NewStages(t *stages.Table, acked, from int64, where func(stream uint32) (topic string, partition int32)) *Stages {
	s := &Stages{Acked: acked}
	if s.Joined, s.NotAddingUp = t.Joined(); acked > 0 {
		s.JoinedShare = float64(s.Joined) / float64(acked)
	}
	if s.Joined == 0 {
		s.Why = "the system does not tell"
		return s
	}
	s.Median, s.Slowest, s.All = stageMeans(t.Between(0.4, 0.6)), stageMeans(t.Between(0.99, 1)), stageMeans(t.Between(0, 1))
	for i := range stages.Stage(stages.Count) {
		x := StageSpread{Stage: i.String(), MaxUS: float64(t.Max(i)) / 1e3}
		for p, to := range map[float64]*float64{50: &x.P50US, 99: &x.P99US} {
			if s.Joined >= hist.Needed(p) {
				*to = float64(t.Percentile(i, p)) / 1e3
			}
		}
		s.ByStage = append(s.ByStage, x)
	}
	for _, r := range t.Worst() {
		topic, partition := where(r.Stream)
		x := StageRequest{AtSeconds: float64(r.Intended-from) / 1e9, Topic: topic, Partition: partition, Offset: r.Base,
			ResponseUS: float64(r.Response) / 1e3, SumUS: float64(r.Times.Sum()) / 1e3}
		for i, ns := range r.Times {
			x.Stages = append(x.Stages, StageTime{stages.Names[i], float64(ns) / 1e3})
		}
		s.Worst = append(s.Worst, x)
	}
	s.Why = s.wrong()
	s.Usable = s.Why == ""
	return s
}

func stageMeans(m stages.Means) *StageMeans {
	out := &StageMeans{Requests: m.Requests, FromUS: float64(m.From) / 1e3, ToUS: float64(m.To) / 1e3, ResponseUS: m.Response / 1e3, SumUS: m.Sum() / 1e3}
	for i, ns := range m.Times {
		out.Stages = append(out.Stages, StageTime{stages.Names[i], ns / 1e3})
	}
	return out
}

// wrong says why the stages are of no use, "" when they are.
func (s *Stages) wrong() string {
	if s.JoinedShare < enoughJoined {
		return fmt.Sprintf("only %.1f%% of the acknowledged requests were told, want %g%%", 100*s.JoinedShare, 100*enoughJoined)
	}
	for _, x := range []struct {
		of string
		m  *StageMeans
	}{{"all requests", s.All}, {"those around the median", s.Median}, {"the slowest 1%", s.Slowest}} {
		if !stages.AddsUp(x.m.SumUS, x.m.ResponseUS) {
			return fmt.Sprintf("the stages of %s add up to %v, their response time is %v, and %g%% is what they may differ by: the system tells of time that there was not",
				x.of, usValue(x.m.SumUS), usValue(x.m.ResponseUS), 100*stages.Tolerance)
		}
	}
	return ""
}

func usValue(us float64) hist.Value { return hist.Value{NS: int64(us * 1e3)} }

// print writes the stages for people. failed is how many requests have none.
func (s *Stages) print(b *strings.Builder, failed int64) {
	fmt.Fprintf(b, "\nstages: %d of %d acknowledged requests joined (%.1f%%)", s.Joined, s.Acked, 100*s.JoinedShare)
	if failed > 0 {
		fmt.Fprintf(b, ", without the %d that failed", failed)
	}
	if !s.Usable {
		fmt.Fprintf(b, ": %s\n", s.Why)
		return
	}
	off := fmt.Sprintf("; %d of them do not add up to their response time within %g%%", s.NotAddingUp, 100*stages.Tolerance)
	fmt.Fprintf(b, "%s\n%-14s%12s%6s%14s%6s%12s%12s%12s\n", off, "", "p40 to p60", "", "slowest 1%", "", "p50", "p99", "max")
	for i, by := range s.ByStage {
		fmt.Fprintf(b, "%-14s%s%s", by.Stage, s.Median.cell(s.Median.Stages[i].US, 12), s.Slowest.cell(s.Slowest.Stages[i].US, 14))
		for _, us := range []float64{by.P50US, by.P99US} {
			text := "–" // too few samples
			if us > 0 || s.Joined >= hist.Needed(99) {
				text = usValue(us).String()
			}
			fmt.Fprintf(b, "%12s", text)
		}
		fmt.Fprintf(b, "%12s\n", usValue(by.MaxUS))
	}
	fmt.Fprintf(b, "%-14s%s%s\n", "sum", s.Median.cell(s.Median.SumUS, 12), s.Slowest.cell(s.Slowest.SumUS, 14))
	fmt.Fprintf(b, "%-14s%12s%6s%14s%6s   means of %.0f and of %.0f requests\n", "response", usValue(s.Median.ResponseUS), "", usValue(s.Slowest.ResponseUS), "",
		s.Median.Requests, s.Slowest.Requests)
	b.WriteString("  network is what is left between sent and acknowledged: the wire, both kernels, and the wait there for a busy reader or for answers to earlier requests;\n" +
		"  reply ends when the response is encoded. p50, p99 and max are of each stage by itself and do not add up.\n")
	s.worst(b)
}

// cell is a time and what share of the response it is.
func (m *StageMeans) cell(us float64, width int) string {
	return fmt.Sprintf("%*s%5.0f%%", width, usValue(us), 100*us/m.ResponseUS)
}

func (s *Stages) worst(b *strings.Builder) {
	fmt.Fprintf(b, "the %s:\n%10s%10s%11s%11s", plural(len(s.Worst), "slowest request", "s"), "at", "partition", "offset", "response")
	for _, name := range stages.Names {
		fmt.Fprintf(b, "%13s", name)
	}
	b.WriteString("\n")
	for _, r := range s.Worst {
		fmt.Fprintf(b, "%8.3f s%10d%11d%11s", r.AtSeconds, r.Partition, r.Offset, usValue(r.ResponseUS))
		for _, t := range r.Stages {
			fmt.Fprintf(b, "%13s", usValue(t.US))
		}
		if r.Topic != "" {
			b.WriteString("  " + r.Topic)
		}
		b.WriteString("\n")
	}
}
