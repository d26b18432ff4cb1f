package hist

import (
	"fmt"
	"io"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Log writes a run as an HdrHistogram interval log (version 1.3, V2 compressed), which the Java tools, hdr-plot and
// HistogramLogProcessor read. Response is written without a tag, because that is what those tools show when they are not
// told otherwise; the others are tagged. Failures are not part of the format and stand in comments.
type Log struct {
	w *hdr.HistogramLogWriter
}

// NewLog writes the head of a log. comment lines say what was run.
func NewLog(out io.Writer, start time.Time, comment ...string) (*Log, error) {
	l := &Log{w: hdr.NewHistogramLogWriter(out)}
	for _, c := range comment {
		if err := l.w.OutputComment(" " + c); err != nil {
			return nil, fmt.Errorf("hlog: %w", err)
		}
	}
	// Whole seconds: the format's start line carries no more, and the intervals are relative to it.
	base := start.Truncate(time.Second).UnixMilli()
	l.w.SetBaseTime(base)
	for _, f := range []func() error{
		l.w.OutputLogFormatVersion,
		func() error { return l.w.OutputBaseTime(base) },
		func() error { return l.w.OutputStartTime(base) },
		l.w.OutputLegend,
	} {
		if err := f(); err != nil {
			return nil, fmt.Errorf("hlog: %w", err)
		}
	}
	return l, nil
}

// Interval writes one interval.
func (l *Log) Interval(start, end time.Time, s *Set) error {
	for _, t := range []struct {
		tag string
		h   *Hist
	}{{"", s.Response}, {"service", s.Service}, {"lag", s.Lag}, {"backlog", s.Backlog}} {
		t.h.h.SetTag(t.tag)
		t.h.h.SetStartTimeMs(start.UnixMilli())
		t.h.h.SetEndTimeMs(end.UnixMilli())
		if err := l.w.OutputIntervalHistogram(t.h.h); err != nil {
			return fmt.Errorf("hlog: %w", err)
		}
	}
	if n := s.Response.Failed(); n > 0 {
		if err := l.w.OutputComment(fmt.Sprintf(" %d operations failed in the interval above", n)); err != nil {
			return fmt.Errorf("hlog: %w", err)
		}
	}
	return nil
}
