package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"ackline/tools/netlab/lab"
)

// plan is what will happen to a network while programs run on it, in the order of time.
type plan []step

// step is one fault or its end.
type step struct {
	after time.Duration
	text  string
	do    func(*lab.Lab) error
}

const stepForm = "want a time and what happens then, such as '10s cut n1 n2', '10s part n1 n2', '10s isolate REGION', " +
	"'10s worsen n1 n2 delay=50ms jitter=5ms loss=1% limit=100mbit', '20s heal n1 n2' or '20s heal'"

// parsePlan reads every step, so that a mistake is found before anything starts.
func parsePlan(l *lab.Lab, texts []string) (plan, error) {
	var p plan
	var errs []error
	for _, text := range texts {
		s, err := parseStep(l, strings.Fields(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("--fault %q: %w", text, err))
		}
		p = append(p, s)
	}
	slices.SortStableFunc(p, func(a, b step) int { return int(a.after - b.after) })
	return p, errors.Join(errs...)
}

func parseStep(l *lab.Lab, words []string) (s step, err error) {
	if len(words) < 2 {
		return s, errors.New(stepForm)
	}
	if s.after, err = time.ParseDuration(words[0]); err != nil || s.after < 0 {
		return s, fmt.Errorf("time %q: %s", words[0], stepForm)
	}
	s.text = strings.Join(words[1:], " ")
	action, args := words[1], words[2:]
	switch {
	case action == "isolate" && len(args) == 1:
		s.do = func(l *lab.Lab) error { return l.Isolate(args[0]) }
		if len(l.Topology().HostsOf(args[0])) == 0 {
			return s, fmt.Errorf("no host is in a region %q", args[0])
		}
		return s, nil
	case action == "heal" && len(args) == 0:
		s.do = (*lab.Lab).HealAll
		return s, nil
	case len(args) < 2 || len(args) > 2 && action != "worsen":
		return s, errors.New(stepForm)
	}
	a, b := args[0], args[1]
	_, errA := l.Host(a)
	_, errB := l.Host(b)
	if err := errors.Join(errA, errB); err != nil {
		return s, err
	}
	switch action {
	case "cut":
		s.do = func(l *lab.Lab) error { return l.Cut(a, b) }
	case "part":
		s.do = func(l *lab.Lab) error { return l.Part(a, b) }
	case "heal":
		s.do = func(l *lab.Lab) error { return errors.Join(l.Heal(a, b), l.Heal(b, a)) }
	case "worsen":
		w, err := parseWorse(args[2:])
		if err != nil {
			return s, err
		}
		s.do = func(l *lab.Lab) error { return l.Worsen(a, b, w) }
	default:
		return s, fmt.Errorf("%q: %s", action, stepForm)
	}
	return s, nil
}

// parseWorse reads delay=50ms jitter=5ms loss=1% limit=100mbit.
func parseWorse(words []string) (w lab.Worse, err error) {
	if len(words) == 0 {
		return w, errors.New("worse in what? want delay=50ms, jitter=5ms, loss=1% or limit=100mbit")
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		number := func(unit string, scale float64) (x float64) {
			text, ok := strings.CutSuffix(value, unit)
			if x, err = strconv.ParseFloat(text, 64); err == nil && (!ok || !(x >= 0)) {
				err = fmt.Errorf("%q has no %s behind it, or is negative", value, unit)
			}
			return x * scale
		}
		switch key {
		case "delay":
			w.Delay, err = time.ParseDuration(value)
		case "jitter":
			w.Jitter, err = time.ParseDuration(value)
		case "loss":
			w.Loss = number("%", 0.01)
		case "limit":
			w.BytesPerSecond = number("mbit", 1e6/8)
		default:
			err = errors.New("want delay, jitter, loss or limit")
		}
		if err == nil && (w.Delay < 0 || w.Jitter < 0 || w.Loss >= 1) {
			err = errors.New("want nothing negative, and a loss below 100%")
		}
		if err != nil {
			return w, fmt.Errorf("%q: %w", word, err)
		}
	}
	return w, nil
}

// start carries the plan out, says each step on out, and returns what waits until nothing more of it will happen.
func (p plan) start(ctx context.Context, l *lab.Lab, out io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		begin := time.Now()
		for _, s := range p {
			select {
			case <-time.After(time.Until(begin.Add(s.after))):
			case <-ctx.Done():
				return
			}
			if err := s.do(l); err != nil {
				fmt.Fprintf(out, "netlab: after %v: %s: %v\n", s.after, s.text, err)
				continue
			}
			fmt.Fprintf(out, "netlab: after %v: %s\n", s.after, s.text)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
