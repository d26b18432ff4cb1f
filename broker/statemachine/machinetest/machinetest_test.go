package machinetest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"ackline/broker/statemachine"
	"ackline/broker/statemachine/machinetest"
)

// broken is a machine with one mistake. Fields that are nil behave.
type broken struct {
	*statemachine.Map
	apply    func(*broken, statemachine.Entry) (statemachine.Result, error)
	snapshot func(*broken, io.Writer) error
	restore  func(*broken, io.Reader) error
	kept     []byte
	count    int
}

func (b *broken) Apply(e statemachine.Entry) (statemachine.Result, error) {
	if b.apply != nil {
		return b.apply(b, e)
	}
	return b.Map.Apply(e)
}

func (b *broken) Snapshot(w io.Writer) error {
	if b.snapshot != nil {
		return b.snapshot(b, w)
	}
	return b.Map.Snapshot(w)
}

func (b *broken) Restore(r io.Reader) error {
	if b.restore != nil {
		return b.restore(b, r)
	}
	return b.Map.Restore(r)
}

var magic = statemachine.Magic{'b', 'r', 'o', 'k', 'e', 'n'}

// mistakes are the machines that the suite must refuse, each with a subtest that must do so.
var mistakes = []struct {
	name, caughtBy string
	machine        broken
}{
	{"ignores commands", "apply_one", broken{apply: func(b *broken, e statemachine.Entry) (statemachine.Result, error) {
		e.Data = nil
		return b.Map.Apply(e)
	}}},
	{"ignores every tenth command", "apply_many", broken{apply: func(b *broken, e statemachine.Entry) (statemachine.Result, error) {
		if e.Index%10 == 0 {
			e.Data = nil
		}
		return b.Map.Apply(e)
	}}},
	{"does not count empty entries", "apply_without_data", broken{apply: func(b *broken, e statemachine.Entry) (statemachine.Result, error) {
		if len(e.Data) == 0 && e.Index > 3 {
			return nil, nil
		}
		return b.Map.Apply(e)
	}}},
	{"refuses a replay", "idempotent_apply", broken{apply: func(b *broken, e statemachine.Entry) (statemachine.Result, error) {
		if e.Index <= b.LastApplied() {
			return nil, errors.New("seen before")
		}
		return b.Map.Apply(e)
	}}},
	{"skips over a gap", "gap_in_the_index", broken{apply: func(b *broken, e statemachine.Entry) (statemachine.Result, error) {
		for b.LastApplied()+1 < e.Index {
			if _, err := b.Map.Apply(statemachine.Entry{Index: b.LastApplied() + 1}); err != nil {
				return nil, err
			}
		}
		return b.Map.Apply(e)
	}}},
	{"keeps the caller's bytes", "no_reference_kept_to_data", broken{
		apply: func(b *broken, e statemachine.Entry) (statemachine.Result, error) {
			b.kept = e.Data
			return b.Map.Apply(e)
		},
		snapshot: func(b *broken, w io.Writer) error {
			var image bytes.Buffer
			if err := b.Map.Snapshot(&image); err != nil {
				return err
			}
			return statemachine.WriteFrame(w, magic, 1, append(image.Bytes(), b.kept...))
		},
	}},
	{"starts at one", "empty_machine", broken{snapshot: func(b *broken, w io.Writer) error {
		if b.LastApplied() == 0 {
			if _, err := b.Map.Apply(statemachine.Entry{Index: 1}); err != nil {
				return err
			}
		}
		return b.Map.Snapshot(w)
	}}},
	{"forgets half of the state in a snapshot", "snapshot_and_restore", broken{restore: func(b *broken, r io.Reader) error {
		if err := b.Map.Restore(r); err != nil {
			return err
		}
		fresh := statemachine.NewMap()
		for fresh.LastApplied() < b.LastApplied() {
			if _, err := fresh.Apply(statemachine.Entry{Index: fresh.LastApplied() + 1}); err != nil {
				return err
			}
		}
		b.Map = fresh
		return nil
	}}},
	{"ignores a truncated snapshot", "restore_of_a_truncated_snapshot", broken{restore: func(b *broken, r io.Reader) error {
		err := b.Map.Restore(r)
		if errors.Is(err, statemachine.ErrCorrupt) && strings.Contains(err.Error(), "ends early") {
			return nil
		}
		return err
	}}},
	{"clears before it checks", "restore_of_a_corrupted_snapshot", broken{restore: func(b *broken, r io.Reader) error {
		b.Map = statemachine.NewMap()
		return b.Map.Restore(r)
	}}},
	{"calls a failed read corrupt", "restore_from_a_failing_reader", broken{restore: func(b *broken, r io.Reader) error {
		if err := b.Map.Restore(r); err != nil {
			return fmt.Errorf("%w: %w", err, statemachine.ErrCorrupt)
		}
		return nil
	}}},
	{"drops the writer's error", "snapshot_to_a_failing_writer", broken{snapshot: func(b *broken, w io.Writer) error {
		_ = b.Map.Snapshot(w)
		return nil
	}}},
	{"writes a counter of its own", "apply_many", broken{snapshot: func(b *broken, w io.Writer) error {
		b.count++
		return statemachine.WriteFrame(w, magic, 1, fmt.Appendf(nil, "%d", b.count))
	}}},
	{"snapshots an index with a later state", "snapshot_while_applying", broken{snapshot: func(b *broken, w io.Writer) error {
		index := b.LastApplied()
		for i := 0; i < 200 && b.LastApplied() == index; i++ {
			runtime.Gosched()
		}
		var image bytes.Buffer
		if err := b.Map.Snapshot(&image); err != nil {
			return err
		}
		// The payload of a Map's snapshot begins with the index.
		payload := image.Bytes()[24 : image.Len()-4]
		binary.LittleEndian.PutUint64(payload, uint64(index))
		return statemachine.WriteFrame(w, statemachine.Magic(image.Bytes()[:8]), 1, payload)
	}}},
}

func gen(i int) []byte {
	return statemachine.Put(fmt.Sprintf("key-%d", i%7), fmt.Sprintf("value-%d", i))
}

// TestMistake runs the suite on one of the mistaken machines; TestSuiteCanFail calls it in a process of its own.
func TestMistake(t *testing.T) {
	name := os.Getenv("MACHINETEST_MISTAKE")
	for _, m := range mistakes {
		if m.name == name {
			machinetest.Test(t, func() statemachine.StateMachine {
				b := m.machine
				b.Map = statemachine.NewMap()
				return &b
			}, gen)
		}
	}
}

func TestSuiteCanFail(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMistake$", "-test.timeout=10m")
			cmd.Env = append(os.Environ(), "MACHINETEST_MISTAKE="+m.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite accepts a machine that %s", m.name)
			}
			if !strings.Contains(string(out), "--- FAIL: TestMistake/"+m.caughtBy) {
				t.Fatalf("a machine that %s is not caught by %q:\n%s", m.name, m.caughtBy, out)
			}
		})
	}
}
