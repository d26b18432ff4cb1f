// Package fleet makes one load from several machines.
//
// The problem: one generator may be too small for a cluster, or stand too close to one of its nodes. Agents run where the user's own
// tools start them; a lead gives each its share of the load, has all of them begin together, and makes one result of what they say. An
// agent that is lost is named in that result, whose figures then lack what it did; the others' are kept.
//
// Lead and agent hold one connection. Nothing is compared that two machines' clocks say: every agent times its own operations, and
// begins when it is told to.
package fleet

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"ackline/loadgen/result"
	"ackline/loadgen/run"
)

// A message is a length, 4 bytes big-endian, and as many bytes of JSON:
//
//	lead  ─ hello ─▶ agent    what to do
//	lead  ◀─ event ─ agent    Beat, every second, until the end
//	lead  ◀─ event ─ agent    Ready: it has reached the system
//	lead  ─ order ─▶ agent    Go
//	lead  ◀─ event ─ agent    Second, every second of the load
//	lead  ─ order ─▶ agent    Stop, when the load is to end before its time
//	lead  ◀─ event ─ agent    Result, with what went wrong beside it in Error; or Error alone
//
// A connection that ends is a Stop to the agent, and the loss of the agent to the lead.

// format is the version of the messages. Lead and agent must have the same.
const format = 2

// maxMessage bounds a message: a result has a few histograms.
const maxMessage = 64 << 20

// hello is the lead's first message.
type hello struct {
	Format int        `json:"format"`
	Token  string     `json:"token,omitempty"`
	Config run.Config `json:"config"`
	Spec   run.Spec   `json:"spec"`
}

// order is what the lead says later.
type order struct {
	Go   bool `json:"go,omitempty"`
	Stop bool `json:"stop,omitempty"`
}

// event is what the agent says.
type event struct {
	Beat   bool           `json:"beat,omitempty"`
	Ready  bool           `json:"ready,omitempty"`
	Second *result.Second `json:"second,omitempty"`
	Result *result.Result `json:"result,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// How long either side is silent at most, and how often it speaks.
const (
	beatEvery = time.Second
	silence   = 10 * time.Second
)

// peer is one end of a connection.
type peer struct {
	nc net.Conn
	mu sync.Mutex // held while a message is written
}

func (p *peer) send(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("fleet: a message of %d bytes, at most %d are taken", len(body), maxMessage)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.nc.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	_, err = p.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

// receive reads the next message into v. wait bounds how long it may take; 0 does not.
func (p *peer) receive(v any, wait time.Duration) error {
	deadline := time.Time{}
	if wait > 0 {
		deadline = time.Now().Add(wait)
	}
	if err := p.nc.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	var size [4]byte
	if _, err := io.ReadFull(p.nc, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMessage {
		return fmt.Errorf("fleet: a message of %d bytes, at most %d are taken: is that a lead or an agent of loadgen?", n, maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.nc, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("fleet: a message that is none: %w", err)
	}
	return nil
}

// gone says in words why a connection is of no use any more.
func gone(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("nothing came from it for %v", silence)
	}
	return err.Error()
}
