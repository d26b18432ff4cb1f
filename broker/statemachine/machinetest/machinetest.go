// Package machinetest is the conformance suite of statemachine.StateMachine.
//
// A state machine's mistakes do not show where they are made: replicas that drifted apart look healthy until one of
// them leads. The suite looks for the causes instead: bytes kept that belong to the caller, a replayed entry that
// counts twice, state that a snapshot forgets, a snapshot half restored, order taken from a map.
package machinetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"ackline/broker/id"
	"ackline/broker/statemachine"
)

const (
	commands = 48   // entries that "many" means
	damages  = 4096 // positions of a snapshot that are damaged, at most
)

// Test runs the suite. newMachine returns an empty machine. gen returns the data of command i, from 0, always the same
// for the same i, and accepted by a machine that applied commands 0 to i-1; each must leave a trace in the state.
func Test(t *testing.T, newMachine func() statemachine.StateMachine, gen func(i int) []byte) {
	s := suite{newMachine: newMachine, gen: gen}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"apply one", s.applyOne},
		{"apply many", s.applyMany},
		{"apply without data", s.applyWithoutData},
		{"idempotent apply", s.idempotentApply},
		{"gap in the index", s.gap},
		{"no reference kept to data", s.noReference},
		{"empty machine", s.emptyMachine},
		{"snapshot and restore", s.snapshotAndRestore},
		{"restore replaces", s.restoreReplaces},
		{"restore of a truncated snapshot", s.restoreTruncated},
		{"restore of a corrupted snapshot", s.restoreCorrupted},
		{"restore from a failing reader", s.restoreFailingReader},
		{"snapshot to a failing writer", s.snapshotFailingWriter},
		{"snapshot while applying", s.snapshotWhileApplying},
	} {
		t.Run(test.name, test.run)
	}
}

type suite struct {
	newMachine func() statemachine.StateMachine
	gen        func(i int) []byte
}

func (s suite) applyOne(t *testing.T) {
	m := s.newMachine()
	apply(t, m, 1, s.gen(0))
	if got := m.LastApplied(); got != 1 {
		t.Fatalf("LastApplied is %d after entry 1", got)
	}
	idle := s.newMachine()
	apply(t, idle, 1, nil)
	if bytes.Equal(snapshot(t, m), snapshot(t, idle)) {
		t.Fatal("the state does not show that command 0 was applied")
	}
}

func (s suite) applyMany(t *testing.T) {
	m, twin := s.newMachine(), s.newMachine()
	for i := range commands {
		idle := s.filled(t, i)
		apply(t, idle, id.Index(i+1), nil)
		apply(t, m, id.Index(i+1), s.gen(i))
		apply(t, twin, id.Index(i+1), s.gen(i))
		state := snapshot(t, m)
		if bytes.Equal(state, snapshot(t, idle)) {
			t.Fatalf("the state does not show that command %d was applied", i)
		}
		if !bytes.Equal(state, snapshot(t, twin)) {
			t.Fatalf("two machines differ after the same %d commands", i+1)
		}
		if !bytes.Equal(state, snapshot(t, m)) {
			t.Fatalf("two snapshots of one state differ after %d commands", i+1)
		}
	}
}

func (s suite) applyWithoutData(t *testing.T) {
	m := s.filled(t, 3)
	for _, data := range [][]byte{nil, {}} {
		want := m.LastApplied() + 1
		if result := apply(t, m, want, data); result != nil {
			t.Fatalf("an entry without data gave the result %v, want nil", result)
		}
		if got := m.LastApplied(); got != want {
			t.Fatalf("LastApplied is %d after entry %d", got, want)
		}
	}
	apply(t, m, m.LastApplied()+1, s.gen(3))
}

func (s suite) idempotentApply(t *testing.T) {
	m := s.filled(t, commands)
	want := snapshot(t, m)
	for index := range id.Index(commands + 1) {
		// The index alone decides: what the entry holds must not matter.
		for _, data := range [][]byte{s.gen(max(int(index)-1, 0)), s.gen(commands), nil} {
			result, err := m.Apply(statemachine.Entry{Index: index, Term: 1, Data: data})
			if err != nil || result != nil {
				t.Fatalf("entry %d again, with %d applied: result %v, error %v; want none", index, commands, result, err)
			}
			if !bytes.Equal(snapshot(t, m), want) {
				t.Fatalf("entry %d again, with %d applied, changed the state", index, commands)
			}
		}
	}
	apply(t, m, commands+1, s.gen(commands))
}

func (s suite) gap(t *testing.T) {
	for _, applied := range []int{0, 1, commands} {
		m := s.filled(t, applied)
		want := snapshot(t, m)
		for _, index := range []id.Index{id.Index(applied) + 2, id.Index(applied) + 1000} {
			_, err := m.Apply(statemachine.Entry{Index: index, Term: 1, Data: s.gen(applied)})
			var gap *statemachine.GapError
			if !errors.As(err, &gap) {
				t.Fatalf("entry %d with %d applied: error %v, want a *GapError", index, applied, err)
			}
			if gap.Applied != id.Index(applied) || gap.Got != index {
				t.Fatalf("entry %d with %d applied: %+v", index, applied, *gap)
			}
			unchanged(t, m, want, "after a gap")
		}
		apply(t, m, id.Index(applied+1), s.gen(applied))
	}
}

func (s suite) noReference(t *testing.T) {
	m := s.newMachine()
	for i := range commands {
		data := bytes.Clone(s.gen(i))
		apply(t, m, id.Index(i+1), data)
		for j := range data {
			data[j] ^= 0xff
		}
	}
	if !bytes.Equal(snapshot(t, m), snapshot(t, s.filled(t, commands))) {
		t.Fatal("overwriting Data after Apply changed the state: the machine keeps a reference to it")
	}
}

func (s suite) emptyMachine(t *testing.T) {
	empty := s.newMachine()
	if got := empty.LastApplied(); got != 0 {
		t.Fatalf("LastApplied of an empty machine is %d", got)
	}
	image := snapshot(t, empty)
	m := s.newMachine()
	restore(t, m, image)
	unchanged(t, m, image, "after the snapshot of an empty machine was restored")
	apply(t, m, 1, s.gen(0))
	if !bytes.Equal(snapshot(t, m), snapshot(t, s.filled(t, 1))) {
		t.Fatal("an empty machine that was restored differs from a new one after one command")
	}
}

func (s suite) snapshotAndRestore(t *testing.T) {
	for _, at := range []int{1, commands / 2, commands} {
		original := s.filled(t, at)
		image := snapshot(t, original)
		m := s.newMachine()
		// One byte at a time: a snapshot streamed in chunks must not depend on where they end.
		if err := m.Restore(iotest.OneByteReader(bytes.NewReader(image))); err != nil {
			t.Fatalf("restore at %d: %v", at, err)
		}
		unchanged(t, m, image, fmt.Sprintf("after restore at %d", at))
		if got := m.LastApplied(); got != id.Index(at) {
			t.Fatalf("LastApplied is %d after restoring a snapshot taken at %d", got, at)
		}
		for i := at; i < at+commands; i++ {
			want := apply(t, original, id.Index(i+1), s.gen(i))
			got := apply(t, m, id.Index(i+1), s.gen(i))
			if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
				t.Fatalf("command %d gives a %T after a restore and a %T without", i, got, want)
			}
			if !bytes.Equal(snapshot(t, m), snapshot(t, original)) {
				t.Fatalf("restored at %d, the machine differs from the original after command %d", at, i)
			}
		}
	}
}

func (s suite) restoreReplaces(t *testing.T) {
	for _, from := range []int{0, 1, commands} {
		for _, to := range []int{0, 1, commands} {
			m := s.filled(t, from)
			image := snapshot(t, s.filled(t, to))
			restore(t, m, image)
			unchanged(t, m, image, fmt.Sprintf("with %d commands, after the snapshot of %d was restored", from, to))
		}
	}
}

func (s suite) restoreTruncated(t *testing.T) {
	image := snapshot(t, s.filled(t, commands))
	m := s.filled(t, 3)
	want := snapshot(t, m)
	for _, n := range positions(len(image)) {
		s.refuses(t, m, want, image[:n], fmt.Sprintf("%d of %d bytes", n, len(image)))
	}
	s.refuses(t, m, want, append(slices.Clone(image), 0), "one byte too many")
	apply(t, m, 4, s.gen(3))
}

func (s suite) restoreCorrupted(t *testing.T) {
	image := snapshot(t, s.filled(t, commands))
	m := s.filled(t, 3)
	want := snapshot(t, m)
	for _, n := range positions(len(image)) {
		damaged := slices.Clone(image)
		damaged[n] ^= 1 << (n % 8)
		s.refuses(t, m, want, damaged, fmt.Sprintf("a flipped bit in byte %d of %d", n, len(image)))
	}
	// A block that was never written reads as zeros.
	zeroed := slices.Clone(image)
	clear(zeroed[len(zeroed)/2:])
	s.refuses(t, m, want, zeroed, "zeros in the second half")
	apply(t, m, 4, s.gen(3))
}

func (s suite) refuses(t *testing.T, m statemachine.StateMachine, want, image []byte, what string) {
	t.Helper()
	err := m.Restore(bytes.NewReader(image))
	if err == nil {
		t.Fatalf("a snapshot with %s was restored", what)
	}
	if !errors.Is(err, statemachine.ErrCorrupt) {
		t.Fatalf("a snapshot with %s: error %q does not wrap ErrCorrupt", what, err)
	}
	unchanged(t, m, want, "after a snapshot with "+what+" was refused")
}

func (s suite) restoreFailingReader(t *testing.T) {
	image := snapshot(t, s.filled(t, commands))
	m := s.filled(t, 3)
	want := snapshot(t, m)
	broken := errors.New("link went down")
	for _, n := range []int{0, 1, len(image) / 2, len(image) - 1} {
		err := m.Restore(io.MultiReader(bytes.NewReader(image[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Fatalf("the reader failed after %d bytes: error %v does not wrap the reader's", n, err)
		}
		if errors.Is(err, statemachine.ErrCorrupt) {
			t.Fatalf("the reader failed after %d bytes: %v calls that corrupt", n, err)
		}
		unchanged(t, m, want, "after a failed read")
	}
}

func (s suite) snapshotFailingWriter(t *testing.T) {
	m := s.filled(t, commands)
	size := len(snapshot(t, m))
	for _, n := range []int{0, 1, size / 2, size - 1} {
		if err := m.Snapshot(&shortWriter{left: n}); !errors.Is(err, errShort) {
			t.Fatalf("the writer failed after %d of %d bytes: error %v does not wrap the writer's", n, size, err)
		}
	}
}

// snapshotWhileApplying finds torn snapshots: one that claims an index must be the state of exactly that index. With
// the race detector it finds unguarded fields as well. Each Apply runs beside one Snapshot.
func (s suite) snapshotWhileApplying(t *testing.T) {
	m := s.newMachine()
	entries, applied := make(chan statemachine.Entry), make(chan error)
	defer close(entries)
	go func() {
		for e := range entries {
			_, err := m.Apply(e)
			applied <- err
		}
	}()
	for i := range commands {
		entries <- statemachine.Entry{Index: id.Index(i + 1), Term: 1, Data: s.gen(i)}
		var image bytes.Buffer
		snapshotErr := m.Snapshot(&image)
		if err := <-applied; err != nil {
			t.Fatalf("apply entry %d beside a snapshot: %v", i+1, err)
		}
		if snapshotErr != nil {
			t.Fatalf("snapshot while entry %d was applied: %v", i+1, snapshotErr)
		}
		copied := s.newMachine()
		restore(t, copied, image.Bytes())
		at := int(copied.LastApplied())
		if at != i && at != i+1 {
			t.Fatalf("a snapshot taken while entry %d was applied says that it includes %d", i+1, at)
		}
		if !bytes.Equal(image.Bytes(), snapshot(t, s.filled(t, at))) {
			t.Fatalf("a snapshot taken while entry %d was applied is not the state of its index %d", i+1, at)
		}
	}
}

// filled returns a machine that applied the first n commands.
func (s suite) filled(t *testing.T, n int) statemachine.StateMachine {
	t.Helper()
	m := s.newMachine()
	for i := range n {
		apply(t, m, id.Index(i+1), s.gen(i))
	}
	return m
}

func apply(t *testing.T, m statemachine.StateMachine, index id.Index, data []byte) statemachine.Result {
	t.Helper()
	result, err := m.Apply(statemachine.Entry{Index: index, Term: 1, Data: data})
	if err != nil {
		t.Fatalf("apply entry %d: %v", index, err)
	}
	return result
}

func snapshot(t *testing.T, m statemachine.StateMachine) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatalf("snapshot at %d: %v", m.LastApplied(), err)
	}
	return b.Bytes()
}

func restore(t *testing.T, m statemachine.StateMachine, image []byte) {
	t.Helper()
	if err := m.Restore(bytes.NewReader(image)); err != nil {
		t.Fatalf("restore: %v", err)
	}
}

func unchanged(t *testing.T, m statemachine.StateMachine, want []byte, when string) {
	t.Helper()
	if got := snapshot(t, m); !bytes.Equal(got, want) {
		t.Fatalf("%s the state is not what it should be:\n got %q\nwant %q", when, got, want)
	}
}

// positions returns every offset below size, or damages of them evenly spread.
func positions(size int) []int {
	n := min(size, damages)
	list := make([]int, n)
	for i := range list {
		list[i] = i * size / n
	}
	return list
}

var errShort = errors.New("no space left")

// shortWriter fails once left bytes were written.
type shortWriter struct{ left int }

func (w *shortWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	if n < len(p) {
		return n, errShort
	}
	return n, nil
}
