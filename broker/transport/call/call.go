// Package call lets one node ask another for something and wait for the answer: a metadata command for whoever leads that
// group, a read index, a produce for a partition's leader. The problem is what a caller may believe when no answer comes.
// A request that never left may be sent to somebody else; one that left may have been carried out, and sending it again
// may do it twice. So an error always says which of the two it is.
//
// Calls have a connection of their own, apart from raft's, so that a large or slow one never delays an election or an
// acknowledgement. Any number of requests are on their way at once, answered in any order, each matched by its number.
// What waits is bounded on both sides: the caller's by requests and bytes, the callee's by how many it works on for one
// peer; beyond that it declines, which costs nothing and says so. When the connection ends, every call on it ends.
//
// A Client is the calling side of one peer, across reconnects; a Server is the called side, for one peer as well.
package call

import (
	"errors"
	"fmt"
	"time"

	"ackline/broker/id"
	"ackline/broker/transport/frame"
)

// Kind is what is asked for. The numbers are part of what nodes of different versions say to each other: they are given
// out by who puts a node together, and never used again for anything else.
type Kind uint16

// Errors that an Error wraps.
var (
	// ErrNoLink: there is no connection to the node, and none is being made at the moment.
	ErrNoLink = errors.New("there is no connection")
	// ErrLost: the connection ended.
	ErrLost = errors.New("the connection ended")
	// ErrBusy: too many requests, or too many bytes, wait for the node already.
	ErrBusy = errors.New("too much waits for the node already")
	// ErrTooLarge: the payload exceeds the bound.
	ErrTooLarge = errors.New("the payload is too large")
	// ErrClosed: the transport is closed, or the node is no peer.
	ErrClosed = errors.New("closed, or no such peer")
	// ErrDeclined: the node did nothing, because it does too much already or the time was over. Another try may do better.
	ErrDeclined = errors.New("declined")
	// ErrNoSuch: the node does not know what was asked for. It runs another version.
	ErrNoSuch = errors.New("no such call")
)

// Error is a call that has no answer.
type Error struct {
	Peer id.NodeID
	Kind Kind
	// Unknown: the request may have been carried out, or may still be. If it is false nothing was done, and nothing will be.
	Unknown bool
	Err     error
}

func (e *Error) Error() string {
	what := "nothing was done there"
	if e.Unknown {
		what = "it may have been done"
	}
	return fmt.Sprintf("call: asking node %d (kind %d): %v; %s", e.Peer, e.Kind, e.Err, what)
}

func (e *Error) Unwrap() error { return e.Err }

// NotDone tells callers that do not know this package what Unknown says.
func (e *Error) NotDone() bool { return !e.Unknown }

// RemoteError is what a node's Handler returned. Whether it did something before is for the words to say.
type RemoteError struct {
	Peer id.NodeID
	Text string
}

func (e *RemoteError) Error() string { return fmt.Sprintf("node %d: %s", e.Peer, e.Text) }

// Config bounds what one peer can take. Every field is required.
type Config struct {
	Peer         id.NodeID
	MaxPayload   int           // of a request or an answer
	MaxCalls     int           // Client: requests without an answer; Server: that are worked on
	QueueBytes   int           // Client: of requests that wait to be sent; Server: of those that are worked on; one may exceed it
	ReadBytes    int           // taken by one read
	WriteTimeout time.Duration // for each 256 KiB that the peer does not take
}

// maxBody is the largest body of a frame: a payload's, or that of words.
func (c *Config) maxBody() int { return max(c.MaxPayload, frame.MaxText) + frame.CallHead }
