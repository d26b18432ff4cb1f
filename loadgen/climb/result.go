package climb

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ackline/loadgen/check"
	"ackline/loadgen/client"
	"ackline/loadgen/hist"
	"ackline/loadgen/knee"
	"ackline/loadgen/result"
)

// Format is the version of Result's JSON. It changes when a field changes its meaning.
const Format = 1

// Result is a climb.
type Result struct {
	Format  int            `json:"format"` // of this structure; see Format
	Version string         `json:"version"`
	Started time.Time      `json:"started"`
	Verdict result.Verdict `json:"verdict"`

	// Config is as it was used, with every default filled in. Session, Effective and Target are of what the trials were put on; the
	// caller fills them in.
	Config    Config           `json:"config"`
	Session   any              `json:"session,omitempty"`
	Effective client.Effective `json:"effective"`
	Target    result.Target    `json:"target"`

	WarmUp *result.WarmUp `json:"warm_up,omitempty"` // nil when it was not measured
	// Answer is empty when the check failed: such a system has no knee.
	Answer knee.Answer `json:"knee"`
	Trials []*Trial    `json:"trials"`
	// Acked and Failed count operations over all trials, warm-up and what was discarded included.
	Acked     int64         `json:"all_acked"`
	Failed    int64         `json:"all_failed"`
	Ended     string        `json:"ended,omitempty"` // why the climb ended before the search did
	TimeoutNS int64         `json:"timeout_ns"`
	Check     *check.Report `json:"check,omitempty"`
}

// Trial is one rate, once.
type Trial struct {
	RatePerSecond float64 `json:"rate_per_second"`
	Number        int     `json:"number"` // of this rate's, from 1 on
	Seed          uint64  `json:"seed"`
	// Outcome is this trial's vote; "" when the check failed. Decided is what its rate's votes came to, with the last of them.
	Outcome knee.Outcome    `json:"outcome,omitempty"`
	Decided knee.Outcome    `json:"decided,omitempty"`
	Reasons []result.Reason `json:"reasons,omitempty"` // why it is spoilt

	Counts    result.Counts    `json:"counts"`
	Generator result.Generator `json:"generator"`

	P50        *result.Percentile `json:"p50,omitempty"`
	P99        *result.Percentile `json:"p99,omitempty"`
	Objective  *result.Percentile `json:"objective,omitempty"` // the percentile that is judged
	LagP99US   float64            `json:"lag_p99_us,omitempty"`
	Histograms *hist.Set          `json:"histograms,omitempty"`
}

func percentile(h *hist.Hist, p float64, timeoutNS int64) *result.Percentile {
	v := h.Percentile(p, timeoutNS)
	return &result.Percentile{P: p, US: float64(v.NS) / 1e3, AtLeast: v.AtLeast}
}

// figures fills in the percentiles.
func (t *Trial) figures(objective float64, timeoutNS int64) {
	h := t.Histograms
	t.P50, t.P99, t.Objective = percentile(h.Response, 50, timeoutNS), percentile(h.Response, 99, timeoutNS), percentile(h.Response, objective, timeoutNS)
	t.LagP99US = float64(h.Lag.Percentile(99, timeoutNS).NS) / 1e3
}

// strip takes everything from t that is a latency or follows from one.
func (t *Trial) strip() {
	t.Outcome, t.Decided, t.Reasons = "", "", nil
	t.P50, t.P99, t.Objective, t.LagP99US, t.Histograms = nil, nil, nil, 0, nil
}

// NoKnee is the code of the reason that no rate's trials could be believed.
const NoKnee result.Code = "no-knee"

// conclude gives r its verdict. Lag and the like do not stand in it: they cost trials, not the climb.
func (r *Result) conclude() {
	v := result.Judge(result.Evidence{Set: hist.NewSet(), TimeoutNS: r.TimeoutNS, WarmUp: r.WarmUp, Ended: r.Ended, Check: r.Check})
	if v.Status == result.Valid && r.Answer.Kept == 0 && r.Answer.Missed == 0 {
		v.Status = result.Invalid
		v.Reasons = append(v.Reasons, result.Reason{Code: NoKnee, Text: "not established at any rate: " + r.why(r.Answer.Unproven)})
	}
	r.Verdict = v
	if v.Status != result.Failed {
		return
	}
	r.Answer, r.WarmUp = knee.Answer{}, nil
	for _, t := range r.Trials {
		t.strip()
	}
}

// why says for what reason the trials at a rate were spoilt: the most frequent one that stands first, in the words of the trial that
// met it first.
func (r *Result) why(rate float64) string {
	best, count := "no trial counts", map[result.Code]int{}
	text, most := map[result.Code]string{}, 0
	for _, t := range r.Trials {
		if t.RatePerSecond != rate || t.Outcome != knee.Spoilt || len(t.Reasons) == 0 {
			continue
		}
		first := t.Reasons[0]
		if count[first.Code]++; count[first.Code] == 1 {
			text[first.Code] = first.Text
		}
		if count[first.Code] > most {
			most, best = count[first.Code], text[first.Code]
		}
	}
	return best
}

// Rate is what all trials of one rate that have a vote come to.
type Rate struct {
	PerSecond float64
	Trials    int
	Set       *hist.Set // pooled
}

// Rates are the rates with at least one trial that has a vote, the lowest first.
func (r *Result) Rates() []Rate {
	at := map[float64]*Rate{}
	for _, t := range r.Trials {
		if t.Histograms == nil || t.Outcome == knee.Spoilt {
			continue
		}
		x := at[t.RatePerSecond]
		if x == nil {
			x = &Rate{PerSecond: t.RatePerSecond, Set: hist.NewSet()}
			at[t.RatePerSecond] = x
		}
		x.Trials++
		x.Set.Merge(t.Histograms)
	}
	var out []Rate
	for _, x := range at {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b Rate) int {
		if a.PerSecond < b.PerSecond {
			return -1
		}
		return 1
	})
	return out
}

// Sentence says where the knee is.
func (r *Result) Sentence() string {
	a, o := r.Answer, r.Config.Objective
	switch {
	case r.Verdict.Status == result.Failed:
		return "no knee is published"
	case !a.Done && a.Kept == 0:
		return fmt.Sprintf("%v: not established; the search did not get that far", o)
	case !a.Done:
		return fmt.Sprintf("%v: kept at %s/s; the search did not come to its end", o, per(a.Kept))
	case a.Capped:
		return fmt.Sprintf("%v: kept at %s/s, the highest rate that was allowed; the knee lies there or beyond", o, per(a.Kept))
	case a.Kept == 0 && a.Missed > 0:
		return fmt.Sprintf("%v: missed at %s/s, the lowest rate tried; the knee, if there is one, lies below", o, per(a.Missed))
	case a.Kept == 0:
		return fmt.Sprintf("%v: not established at %s/s or above: %s", o, per(a.Unproven), r.why(a.Unproven))
	case a.Unproven > 0 && a.Missed > 0:
		return fmt.Sprintf("%v: the knee lies between %s/s, which kept it, and %s/s, which missed it; from %s/s on it is not established: %s",
			o, per(a.Kept), per(a.Missed), per(a.Unproven), r.why(a.Unproven))
	case a.Unproven > 0:
		return fmt.Sprintf("%v: kept at %s/s; not established above: at %s/s %s", o, per(a.Kept), per(a.Unproven), r.why(a.Unproven))
	}
	return fmt.Sprintf("%v: the knee lies between %s/s, which kept it, and %s/s, which missed it", o, per(a.Kept), per(a.Missed))
}

// JSON returns r as indented JSON with a newline at its end.
func (r *Result) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	return append(b, '\n'), err
}
