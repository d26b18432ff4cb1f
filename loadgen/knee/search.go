// Package knee finds the highest rate at which a system keeps an objective.
//
// The problem: the rate at which a latency breaks is what a system is bought for, and one trial at one rate says little about it.
// A trial may be spoilt by the generator, which is not the system's fault; a system near its knee keeps the objective in one
// trial and misses it in the next; and a bisection that believes a single trial ends up somewhere else every time. So each rate is
// tried until a majority of trials agrees, a spoilt one has no vote, and what comes out is an interval: the highest rate that kept the
// objective, and the lowest that did not.
//
// Search does no I/O and reads no clock: it is fed with the outcomes of trials and says what to try next.
package knee

import (
	"errors"
	"fmt"
	"iter"
	"math"
)

// Outcome is what one trial says.
type Outcome string

// The outcomes. Spoilt is a trial whose generator does not vouch for it: it counts neither for the system nor against it.
const (
	Kept   Outcome = "kept"
	Missed Outcome = "missed"
	Spoilt Outcome = "spoilt"
)

// Limits bound a search. Rates are per second.
type Limits struct {
	// From is the first rate, and the lowest. To is the highest. Both are tried if the search gets there.
	From float64 `json:"from_per_second"`
	To   float64 `json:"to_per_second"`
	// Trials is of how many a majority decides about a rate. Odd. 0 means 3.
	Trials int `json:"trials"`
	// Resolution ends the search when the interval's ends are so close: 0.05 for 5%. 0 means 0.05.
	Resolution float64 `json:"resolution"`
}

const (
	defaultTrials     = 3
	defaultResolution = 0.05
	maxTrials         = 99
	leastResolution   = 0.001
)

// Normal returns l with every zero replaced by what it means.
func (l Limits) Normal() Limits {
	if l.Trials == 0 {
		l.Trials = defaultTrials
	}
	if l.Resolution == 0 {
		l.Resolution = defaultResolution
	}
	return l
}

// Validate says what is wrong with l.
func (l Limits) Validate() error {
	l = l.Normal()
	switch {
	case !(l.From > 0) || !(l.To >= l.From) || math.IsInf(l.To, 1):
		return fmt.Errorf("rates from %g to %g per second: want more than 0, and no less at the end than at the beginning", l.From, l.To)
	case l.Trials < 1 || l.Trials > maxTrials || l.Trials%2 == 0:
		return fmt.Errorf("%d trials: want an odd number up to %d, so that there is a majority", l.Trials, maxTrials)
	case !(l.Resolution >= leastResolution && l.Resolution <= 1):
		return fmt.Errorf("resolution %g: want %g to 1", l.Resolution, leastResolution)
	}
	return nil
}

// Search looks for a knee: it doubles the rate from From on until a rate is not kept, and then halves the interval, on a scale of
// ratios. Used by one goroutine.
type Search struct {
	limits Limits
	rate   float64 // is being tried
	votes  votes   // of rate
	done   bool
	answer Answer
}

// votes are the trials of one rate.
type votes struct{ kept, missed, spoilt int }

// Answer is what a search has found so far. Rates are per second.
type Answer struct {
	// Kept is the highest rate that kept the objective; 0: none did.
	Kept float64 `json:"kept_per_second"`
	// Missed is the lowest rate that missed it; 0: none did.
	Missed float64 `json:"missed_per_second,omitempty"`
	// Unproven is the lowest rate above Kept at which too many trials were spoilt; 0: there is none below Missed. The knee is not
	// established above Kept then, and the reason is the generator.
	Unproven float64 `json:"unproven_per_second,omitempty"`
	// Capped: the objective was kept at the highest rate that was allowed. The knee lies there or beyond.
	Capped bool `json:"capped,omitempty"`
	// Done: the search has come to its end.
	Done bool `json:"done"`
}

// New begins a search.
func New(l Limits) (*Search, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	l = l.Normal()
	return &Search{limits: l, rate: l.From}, nil
}

// Next is the rate to try next. ok is false when the search is over.
func (s *Search) Next() (rate float64, ok bool) { return s.rate, !s.done }

// Trial is the number of the next trial of its rate, from 1 on, for those who watch.
func (s *Search) Trial() int { return s.votes.kept + s.votes.missed + s.votes.spoilt + 1 }

// Answer is what is known now.
func (s *Search) Answer() Answer {
	a := s.answer
	a.Done = s.done
	return a
}

// Add takes the outcome of a trial of the rate that Next said. decided tells that this was the rate's last one, and what of.
func (s *Search) Add(o Outcome) (verdict Outcome, decided bool) {
	if s.done {
		panic("knee: a trial after the end of the search")
	}
	v, majority := &s.votes, s.limits.Trials/2+1
	switch o {
	case Kept:
		v.kept++
	case Missed:
		v.missed++
	case Spoilt:
		v.spoilt++
	default:
		panic(fmt.Sprintf("knee: outcome %q", o))
	}
	switch {
	case v.kept == majority:
		verdict = Kept
	case v.missed == majority:
		verdict = Missed
	case v.spoilt == s.limits.Trials:
		verdict = Spoilt
	default:
		return "", false
	}
	s.decide(verdict)
	return verdict, true
}

// decide narrows the interval and chooses the next rate.
func (s *Search) decide(verdict Outcome) {
	a, at := &s.answer, s.rate
	s.votes = votes{}
	switch verdict {
	case Kept:
		a.Kept = at
		if at == s.limits.To {
			a.Capped, s.done = true, true
			return
		}
	case Missed:
		a.Missed = at
		a.Unproven = 0 // it lay above, or the search would not have come here; what is missed below it says more
	case Spoilt:
		a.Unproven = at
	}
	high := a.Missed
	if a.Unproven > 0 {
		high = a.Unproven
	}
	switch {
	case high == 0:
		s.rate = min(2*at, s.limits.To)
	case a.Kept == 0:
		s.done = true // the lowest rate was not kept
	case high <= a.Kept*(1+s.limits.Resolution):
		s.done = true
	default:
		s.rate = math.Sqrt(a.Kept * high)
		if r := math.Round(s.rate); r > a.Kept && r < high {
			s.rate = r // a rate that can be said
		}
	}
}

// ErrNoTrial says that no trial counts.
var ErrNoTrial = errors.New("no trial counts")

// Interval is where a knee lies. Rates are per second.
type Interval struct {
	Kept   float64 // 0: the objective was missed at the lowest rate already
	Missed float64 // the lowest rate that did not keep it, 0: there is none, so that the knee is Kept at least
}

// Between walks up trials, the lowest rate first, until one does not keep the objective. What is kept above that is luck.
// ErrNoTrial when there are none.
func Between(trials iter.Seq2[float64, bool]) (i Interval, err error) {
	err = ErrNoTrial
	for rate, kept := range trials {
		err = nil
		if !kept {
			i.Missed = rate
			break
		}
		i.Kept = rate
	}
	return i, err
}
