package loss

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"ackline/profiles"
	"ackline/tools/bench/acrosstest"
	"ackline/tools/bench/record"
	"ackline/tools/netlab/lab"
)

// ^C while a region is away ends the launch, and nothing is left behind.
func TestInterruptedWhileAway(t *testing.T) {
	t.Parallel()
	w := profiles.DefaultWorkload()
	w.Kind, w.RecordBytes, w.RingBytes, w.TimeoutMs = profiles.Return, 1000, acrosstest.Ring, 60_000
	w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs, w.PreloadBytes = 500, 60_000, 100, 1<<30
	p := acrosstest.Plan(t, lab.Relay, w)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	p.Progress = func(step string) {
		if strings.Contains(step, "without the region") {
			cancel(enough)
		}
	}
	if _, err := RunReturn(ctx, p); !errors.Is(err, enough) {
		t.Fatalf("ended with %v", err)
	}
	if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A region that was cut off comes to have what was written meanwhile, and both who wrote that and the users find all of theirs.
func TestRegionReturns(t *testing.T) {
	acrosstest.Modes(t, func(t *testing.T, mode lab.Mode) {
		w := profiles.DefaultWorkload()
		w.Kind, w.RecordBytes, w.RingBytes, w.TimeoutMs = profiles.Return, 1000, acrosstest.Ring, 60_000
		w.ProbeRatePerSecond, w.ProbeLimitMs, w.QuietMs, w.PreloadBytes = 500, 60_000, 300, 4<<20
		l, err := RunReturn(t.Context(), acrosstest.Plan(t, mode, w))
		if err != nil || l.Verdict == record.Failed || l.Check == nil || !l.Check.OK {
			t.Fatalf("%v, %s %q, check %+v", err, l.Verdict, l.Reasons, l.Check)
		}
		// The least that was written is the preload, in batches of 16, and the users' records.
		if l.Check.Acknowledged < w.PreloadBytes/1000+150 || l.Network == nil || l.Network.Mode != string(mode) {
			t.Errorf("%d records are there, on %+v", l.Check.Acknowledged, l.Network)
		}
		for name, least := range map[string]float64{"catch_up_ms": 4, "entries_behind": float64(w.PreloadBytes) / 1000 / 16, "users_us_p99_before": 12_000, "users_us_p99_during": 12_000} {
			if v, ok := l.Get(record.System, name); !ok || v < least {
				t.Errorf("%s is %v, want at least %v", name, v, least)
			}
		}
	})
}
