package ticket

import (
	"bytes"
	"slices"
	"testing"

	"ackline/broker/meta/fields"
)

func number(n uint64) Ticket { return Ticket{Node: 3, Boot: 77, Number: n} }

// TestNewestAreRemembered: so many, whatever is added, and what was forgotten once may come again.
func TestNewestAreRemembered(t *testing.T) {
	var m Memory
	for n := range uint64(3 * Remembered) {
		if m.Has(number(n + 1)) {
			t.Fatalf("ticket %d is remembered before it came", n+1)
		}
		m = m.Add(number(n + 1))
		if oldest := int64(n) + 2 - Remembered; oldest > 0 && n%61 == 0 {
			if !m.Has(number(uint64(oldest))) || m.Has(number(uint64(oldest-1))) {
				t.Fatalf("after %d tickets: of the oldest two of %d one is remembered", n+1, Remembered+1)
			}
		}
		if !m.Has(number(n + 1)) {
			t.Fatalf("ticket %d is forgotten at once", n+1)
		}
	}
	if kept := chunkSize * len(m.full); kept > Remembered {
		t.Errorf("%d tickets are kept, for %d that count", kept, Remembered)
	}
}

// TestMemoryIsNeverModified: of one memory two others can be made, and none sees what the other has.
func TestMemoryIsNeverModified(t *testing.T) {
	var m Memory
	for n := range uint64(chunkSize*2 + chunkSize/2) {
		m = m.Add(number(n + 1))
		a, b := m.Add(number(1_000_001)), m.Add(number(1_000_002))
		if a.Has(number(1_000_002)) || b.Has(number(1_000_001)) || m.Has(number(1_000_001)) || m.Has(number(1_000_002)) {
			t.Fatalf("with %d tickets: memories share what is new", n+1)
		}
	}
}

func TestNobodysTicketIsNotRemembered(t *testing.T) {
	var m Memory
	if m = m.Add(Ticket{}); m.Has(Ticket{}) || len(m.Newest()) != 0 {
		t.Error("a command without a ticket counts as a repetition of another")
	}
}

// TestMemoryIsEncodedAlike: whatever path led to it, and it decides alike when it was read.
func TestMemoryIsEncodedAlike(t *testing.T) {
	var m Memory
	for n := range uint64(2*Remembered + 10) {
		m = m.Add(number(n + 1))
	}
	b := m.Append(nil)
	r := fields.NewReader(b)
	again := Read(&r)
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(300) {
		if !slices.Equal(m.Newest(), again.Newest()) || !bytes.Equal(m.Append(nil), again.Append(nil)) {
			t.Fatalf("after %d more: another memory than what it was read from", n)
		}
		m, again = m.Add(number(n+1_000_000)), again.Add(number(n+1_000_000))
	}
	for cut := range b[:200] {
		r := fields.NewReader(b[:cut])
		Read(&r)
		if r.Finish() == nil {
			t.Fatalf("%d bytes of %d are read as a memory", cut, len(b))
		}
	}
	r = fields.NewReader(make([]byte, 24)[:])
	r.U32() // a count of 0, and then 20 bytes
	if Read(&r); r.Finish() == nil {
		t.Error("bytes behind no tickets are read")
	}
}
