package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"ackline/loadgen/client"
	"ackline/loadgen/hist"
	"ackline/loadgen/place"
	"ackline/loadgen/result"
	loadrun "ackline/loadgen/run"
	"ackline/loadgen/view"
	"ackline/tools/version"
)

// progress tells a person once a second how it goes: on a terminal in a view, or in one line that is overwritten; elsewhere in plain
// lines.
type progress struct {
	out      io.Writer
	terminal bool
	spec     loadrun.Spec
	dirty    bool // the terminal's line is not ended
	mute     bool // operations have no answers, so no latencies
	quiet    bool // nothing is told
	lively   bool // a terminal gets a view of its own instead of the line
	live     *view.View
	kept     string // a topic that the run made and leaves
}

func newProgress(out io.Writer, spec loadrun.Spec) *progress {
	p := &progress{out: out, spec: spec}
	if f, ok := out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

func (p *progress) line(format string, args ...any) {
	if p.quiet {
		return
	}
	s := fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", s)
		p.dirty = true
		return
	}
	fmt.Fprintln(p.out, s)
}

func (p *progress) warn(about []string) {
	for _, w := range about {
		fmt.Fprintf(p.out, "warning: %s\n", w)
	}
}

func (p *progress) opened(s *loadrun.Session) {
	if p.quiet {
		return
	}
	e := s.Effective()
	p.mute = s.Config().Client.Acks == client.AcksNone
	if f, ok := p.out.(*os.File); ok && p.lively && p.terminal && os.Getenv("TERM") != "dumb" {
		p.live = view.Start(f, view.Model{Title: s.Target().String() + ", " + e.Driver + " driver", For: p.spec.For, WarmUp: p.spec.WarmUp})
		return
	}
	phase := fmt.Sprintf("measuring for %v", p.spec.For)
	if p.spec.WarmUp > 0 {
		phase = fmt.Sprintf("warming up for at most %v, then measuring for %v", p.spec.WarmUp, p.spec.For)
	}
	fmt.Fprintf(p.out, "connected with the %s driver; %s\n", e.Driver, phase)
	p.made(s.Made(), s.Config().Keep)
}

// made says which topics are the run's own, and what becomes of them.
func (p *progress) made(topics string, keep bool) {
	names := place.Parse(topics)
	what, fate := "topic "+topics+", which is", "deleted at the end"
	if names.Several() {
		what = fmt.Sprintf("%d topics, %s, which are", len(names), names.Listed())
	}
	if keep {
		p.kept, fate = topics, "kept"
	}
	if topics != "" {
		fmt.Fprintf(p.out, "made %s %s\n", what, fate)
	}
}

func (p *progress) second(s result.Second) {
	if p.live != nil {
		p.live.Second(s)
		return
	}
	what := "measure"
	if s.WarmUp {
		what = "warm-up"
	}
	us := func(v float64) hist.Value { return hist.Value{NS: int64(v * 1e3)} }
	failed := ""
	if s.Failed > 0 {
		failed = fmt.Sprintf("  failed %d", s.Failed)
	}
	if s.Acked == 0 {
		p.line("%4d s %s  nothing was answered%s", s.Second+1, what, failed)
		return
	}
	if p.mute {
		p.line("%4d s %s  %d/s sent%s", s.Second+1, what, s.Acked, failed)
		return
	}
	p.line("%4d s %s  %d/s  p50 %v  p99 %v  lag p99 %v  backlog p99 %v%s", s.Second+1, what, s.Acked, us(s.P50US), us(s.P99US), us(s.LagP99US), us(s.BacklogUS), failed)
}

func (p *progress) checking(read, acked int64) {
	if p.live != nil {
		p.live.Checking(read, acked)
		return
	}
	p.line("reading back: %d of %d records", read, acked)
}

func (p *progress) end() {
	if p.live != nil {
		p.live.Stop()
	}
	if p.dirty {
		fmt.Fprintln(p.out)
	}
	if p.kept != "" {
		is, it := "is", "it"
		if place.Parse(p.kept).Several() {
			is, it = "are", "them"
		}
		fmt.Fprintf(p.out, "topic %s %s kept; --topic %s --existing uses %s again\n", p.kept, is, p.kept, it)
	}
}

// hlog writes the interval log while the run goes on. A nil file does nothing.
type hlog struct {
	path string
	file *os.File
	buf  *bufio.Writer
	log  *hist.Log
	what string
	err  error
}

func openLog(path, what string) (*hlog, error) {
	if path == "" {
		return &hlog{}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("hlog: %w", err)
	}
	return &hlog{path: path, file: f, buf: bufio.NewWriter(f), what: what}, nil
}

// second is called from the goroutine that gathers a slice's seconds.
func (h *hlog) second(start, end time.Time, warm bool, set *hist.Set) {
	if h.file == nil || warm || h.err != nil {
		return
	}
	if h.log == nil {
		h.log, h.err = hist.NewLog(h.buf, start, "loadgen "+h.what, version.String(), "response has no tag; service, lag and backlog do; nanoseconds; measured operations by the second of their answer")
	}
	if h.err == nil {
		h.err = h.log.Interval(start, end, set)
	}
}

// finish closes the file, or removes it when the run has no latency to publish.
func (h *hlog) finish(publish bool) error {
	if h.file == nil {
		return nil
	}
	err := errors.Join(h.err, h.buf.Flush(), h.file.Close())
	if !publish {
		err = errors.Join(err, os.Remove(h.path))
	}
	if err != nil {
		return fmt.Errorf("hlog %s: %w", h.path, err)
	}
	return nil
}
