// Package barrier makes reads of the metadata linearizable: whoever has passed it finds in this node's catalog everything that was
// acknowledged anywhere before, and finds nothing there any more that was deleted before.
//
// A node's catalog is as new as what it has applied, which may be older than what another node has told its client. So a
// reader asks whoever leads the metadata group up to which index it has to have read. The leader knows once a majority has
// confirmed that it still leads (raft's ReadIndex); the reader then waits until its own node has applied as much. Nothing is
// written for it.
package barrier

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"ackline/broker/id"
)

// Config is what a Barrier asks. All fields are required.
type Config struct {
	Self id.NodeID
	// Leader is the node that leads the group; false if none is known to.
	Leader func() (id.NodeID, bool)
	// ReadIndex begins a read of this node's replica, which ends with Readable; an error if it does not lead.
	ReadIndex func(read uint64) error
	// Call asks another node's Answer.
	Call func(ctx context.Context, to id.NodeID, question []byte) ([]byte, error)
}

// Barrier is a node's.
type Barrier struct {
	cfg Config

	mu      sync.Mutex // guards the rest
	reads   uint64
	asked   map[uint64]chan answer // capacity 1 each
	applied id.Index
	more    chan struct{} // closed and replaced when applied rises, if somebody waits; else nil
}

type answer struct {
	index id.Index
	err   error
}

// New returns a barrier of a node that has applied nothing.
func New(cfg Config) *Barrier { return &Barrier{cfg: cfg, asked: map[uint64]chan answer{}} }

// Applied notes that the node has applied everything up to i.
func (b *Barrier) Applied(i id.Index) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i <= b.applied {
		return
	}
	b.applied = i
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// Readable takes the end of a read: see replica.Reader.
func (b *Barrier) Readable(read uint64, index id.Index, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if reply := b.asked[read]; reply != nil {
		delete(b.asked, read)
		reply <- answer{index, err}
	}
}

// Pauses between two questions, while nobody can answer.
const (
	pauseMin = 2 * time.Millisecond
	pauseMax = 100 * time.Millisecond
)

// CatchUp returns once this node's catalog is as new as anything that was acknowledged before the call. It goes on until ctx ends.
func (b *Barrier) CatchUp(ctx context.Context) error {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		index, err := b.ask(ctx)
		if err == nil {
			return b.await(ctx, index)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("metadata: %w: how new it is cannot be told without a majority of the nodes that hold it: %w", ctx.Err(), err)
		}
	}
}

var errNoLeader = errors.New("no node is known to lead it")

// ask returns the index that the leader names.
func (b *Barrier) ask(ctx context.Context) (id.Index, error) {
	leader, ok := b.cfg.Leader()
	if !ok {
		return 0, errNoLeader
	}
	if leader == b.cfg.Self {
		return b.index(ctx)
	}
	reply, err := b.cfg.Call(ctx, leader, []byte{version})
	if err != nil {
		return 0, err
	}
	if len(reply) != 8 {
		return 0, fmt.Errorf("node %d answers %d bytes where an index has 8", leader, len(reply))
	}
	return id.Index(binary.LittleEndian.Uint64(reply)), nil
}

// A question is its version. An answer is the index, little-endian, in eight bytes.
const version = 1

// Answer answers another node's question.
func (b *Barrier) Answer(ctx context.Context, _ id.NodeID, question []byte) ([]byte, error) {
	if len(question) != 1 || question[0] != version {
		return nil, fmt.Errorf("metadata: a question of %d bytes that this node does not know", len(question))
	}
	index, err := b.index(ctx)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(index)), nil
}

// index asks this node's replica.
func (b *Barrier) index(ctx context.Context) (id.Index, error) {
	reply := make(chan answer, 1)
	b.mu.Lock()
	b.reads++
	read := b.reads
	b.asked[read] = reply
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.asked, read)
		b.mu.Unlock()
	}()
	if err := b.cfg.ReadIndex(read); err != nil {
		return 0, err
	}
	select {
	case a := <-reply:
		return a.index, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// await returns once the node has applied everything up to index.
func (b *Barrier) await(ctx context.Context, index id.Index) error {
	for {
		b.mu.Lock()
		done := b.applied >= index
		if !done && b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("metadata: %w: this node has not applied entry %d yet", ctx.Err(), index)
		}
	}
}
