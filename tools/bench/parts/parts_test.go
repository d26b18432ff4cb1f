package parts

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ackline/broker/syncmethod"
)

func TestRatio(t *testing.T) {
	for _, c := range []struct{ floor, sync, echo, paused, pause, want float64 }{
		{66, 40, 15, 61, 41, 1.1},
		{60, 40, 15, 61, 41, 1},
		{90, 40, 15, 61, 41, 1.5},   // whatever the floor does beyond its parts counts
		{60, 40, 15, 91, 71, 1},     // how long the pauses were does not
		{105, 40, 15, 191, 41, 1.5}, // nor do answers that idling does not explain
	} {
		if got := Ratio(c.floor, c.sync, c.echo, c.paused, c.pause); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if got := Ratio(60, 40, 15, 41, 41); !math.IsNaN(got) {
		t.Errorf("an echo as fast as its pauses: %v, want no figure", got)
	}
}

// Sync writes for as long as it was told to, on the CPU it was told, and leaves the thread as it was.
func TestSync(t *testing.T) {
	_, one, _, err := Split()
	if err != nil {
		t.Fatal(err)
	}
	lane, err := Lane(filepath.Join(t.TempDir(), "raw"), string(syncmethod.BufferedDsync), 1024)
	if err != nil {
		t.Fatal(err)
	}
	defer lane.Close()
	for _, on := range []*unix.CPUSet{nil, &one} {
		const length = 5 * time.Millisecond
		start := time.Now()
		us, err := Sync(lane, 10*time.Microsecond, length, on)
		if took := time.Since(start); err != nil || us <= 0 || took < length {
			t.Errorf("%v µs after %v, %v; want a time after at least %v", us, took, err, length)
		}
	}
	if err := lane.Verify(); err != nil {
		t.Error(err)
	}
}
