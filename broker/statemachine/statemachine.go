// Package statemachine says what a raft group applies its committed entries to.
//
// A group's log is the truth and a state machine is what the log adds up to. That holds only when every replica, from
// any snapshot and any number of replays, arrives at the same bytes. So the contract is narrow: entries come in index
// order, an entry that was applied before is ignored, a hole is an error, and nothing but the entries has a say (no
// clock, no randomness, no map order). Package machinetest checks an implementation against it; Map is the smallest
// implementation, for tests of the code that drives one.
//
// Two kinds of "no" must not be confused. A command that the state forbids (a topic of that name exists) is an
// ordinary outcome: it is the same on every replica, so Apply returns it as the result. An error from Apply means that
// this replica cannot tell what the entry does (a command of a newer version, damaged bytes, a hole): going on would
// make replicas differ, so the group stops.
package statemachine

import (
	"fmt"
	"io"

	"ackline/broker/id"
)

// Entry is a committed raft entry. An entry without Data (raft's own no-op, a configuration change) only moves
// LastApplied, so that indexes have no holes.
type Entry struct {
	Index id.Index
	Term  id.Term
	Data  []byte // the caller's: a machine copies what it keeps
}

// Result is what a command led to, for whoever proposed it; each machine says which type it returns. It is nil for an
// entry without Data and for one that was ignored because it was applied before.
type Result any

// StateMachine is what a group applies to. Apply and Restore are called by one goroutine at a time. Snapshot and
// LastApplied may be called while they run, because a large snapshot is streamed while entries go on committing.
type StateMachine interface {
	// Apply applies the entry after LastApplied. An entry at or below LastApplied is ignored: it changes nothing and
	// returns nil, nil. After an error the machine is as it was before the call. A hole is a *GapError.
	Apply(e Entry) (Result, error)
	// Snapshot writes the state as of one index, that index included. Equal states give equal bytes.
	Snapshot(w io.Writer) error
	// Restore replaces the state with a snapshot's, read to the end of r. When it fails, for bytes that are damaged
	// (errors.Is ErrCorrupt) or of a newer format (*VersionError), the machine is as it was before the call.
	Restore(r io.Reader) error
	// LastApplied is the index of the last entry that the state includes; 0 for none.
	LastApplied() id.Index
}

// GapError is an entry that does not follow the one applied last: something between them was lost.
type GapError struct {
	Applied id.Index // the last one applied
	Got     id.Index
}

func (e *GapError) Error() string {
	return fmt.Sprintf("statemachine: entry %d does not follow %d, the last one applied; entry %d is missing",
		e.Got, e.Applied, e.Applied+1)
}

// Next decides what to do with an entry of index got when the last one applied is applied: skip says that it was
// applied before, err that entries are missing. It is the first line of an Apply.
func Next(applied, got id.Index) (skip bool, err error) {
	if got <= applied {
		return true, nil
	}
	if got != applied+1 {
		return false, &GapError{Applied: applied, Got: got}
	}
	return false, nil
}
