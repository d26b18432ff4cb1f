package geo

import (
	"fmt"
	"math"

	"ackline/tools/bench/record"
)

// finish notes what the host took of this machine's CPUs, and whether that is all that speaks against the launch.
func (l *trip) finish(stolen float64) {
	l.figure(record.Host, record.StolenFraction, "1", stolen)
	if l.rec.Verdict == record.Invalid && l.others == 0 {
		l.rec.HostOnly = true
		l.rec.Reasons = append(l.rec.Reasons, fmt.Sprintf("nothing but the host speaks against this launch: it took %.1f%% of this machine's CPU time meanwhile", 100*stolen))
	}
	if l.rec.Verdict != record.OK {
		l.rec.Pairs = nil // figures stay for diagnosis, comparisons do not
	}
}

// fail notes that the launch has no figures.
func (l *trip) fail(format string, args ...any) {
	l.others++
	l.rec.Verdict = record.Failed
	l.rec.Reasons = append(l.rec.Reasons, fmt.Sprintf(format, args...))
}

// invalid notes that the launch's figures mean nothing.
func (l *trip) invalid(format string, args ...any) {
	l.others++
	l.invalidByHost(format, args...)
}

// invalidByHost is invalid for a reason that a host brings about which takes CPU time away.
func (l *trip) invalidByHost(format string, args ...any) {
	if l.rec.Verdict == record.OK {
		l.rec.Verdict = record.Invalid
	}
	l.rec.Reasons = append(l.rec.Reasons, fmt.Sprintf(format, args...))
}

// figure records a number of the launch; one that could not be computed is an invalid launch, not a figure.
func (l *trip) figure(s side, name, unit string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		l.invalid("%s of the %s could not be computed: there was nothing to compute it from", name, s)
		return
	}
	l.rec.Figures = append(l.rec.Figures, record.Figure{Name: name, Unit: unit, Side: s, Value: v})
}
