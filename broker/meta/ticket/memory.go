package ticket

import (
	"encoding/binary"
	"slices"

	"ackline/broker/id"
	"ackline/broker/meta/fields"
)

// Remembered is how many tickets a Memory keeps. A command is sent again for as long as somebody waits for it, half a minute;
// the nodes of a cluster together would have to propose a hundred and more a second for one to be forgotten by then.
const Remembered = 4096

// Memory is the newest tickets of a log. It is part of the state, which is never modified: Add returns another, which shares
// what did not change. The zero value is empty.
type Memory struct {
	full [][]Ticket // chunkSize each, the oldest first
	last []Ticket
}

const chunkSize = 64

// Has tells whether a ticket is one of the newest Remembered. Commands without a ticket are never remembered.
func (m Memory) Has(t Ticket) bool {
	if slices.Contains(m.last, t) {
		return t != Ticket{}
	}
	left := Remembered - len(m.last)
	for i := len(m.full) - 1; i >= 0 && left > 0; i-- {
		c := m.full[i]
		if slices.Contains(c[max(0, len(c)-left):], t) {
			return true
		}
		left -= len(c)
	}
	return false
}

// Add returns the memory with a ticket behind the others, if it is one.
func (m Memory) Add(t Ticket) Memory {
	if t == (Ticket{}) {
		return m
	}
	last := append(make([]Ticket, 0, len(m.last)+1), m.last...)
	last = append(last, t)
	if len(last) < chunkSize {
		return Memory{m.full, last}
	}
	full := m.full
	if n := len(full) + 1 - Remembered/chunkSize; n > 0 {
		full = full[n:]
	}
	return Memory{append(slices.Clip(full), last), nil}
}

// Newest lists the newest Remembered, the oldest first.
func (m Memory) Newest() []Ticket {
	all := append(slices.Concat(m.full...), m.last...)
	return all[max(0, len(all)-Remembered):]
}

// Append encodes what Newest lists: their count in four bytes, then each as node 4, boot 8, number 8. Memories that remember the
// same give the same bytes.
func (m Memory) Append(b []byte) []byte {
	list := m.Newest()
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(list)))
	for _, t := range list {
		b = le.AppendUint32(b, uint32(t.Node))
		b = le.AppendUint64(b, t.Boot)
		b = le.AppendUint64(b, t.Number)
	}
	return b
}

// Read decodes what Append encoded.
func Read(r *fields.Reader) (m Memory) {
	for n := r.Count("tickets", uint64(r.U32()), Remembered, 20); n > 0; n-- {
		t := Ticket{Node: id.NodeID(r.U32()), Boot: r.U64(), Number: r.U64()}
		if t == (Ticket{}) {
			r.Fail("a ticket of nobody's")
		}
		m = m.Add(t)
	}
	return m
}
