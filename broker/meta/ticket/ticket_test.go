package ticket

import (
	"bytes"
	"testing"
)

func TestTicket(t *testing.T) {
	command := []byte{1, 3, 7, 0, 0, 0} // as package meta encodes one
	want := Ticket{Node: 3, Boot: 1<<63 + 5, Number: 42}
	got, rest := Detach(want.Attach(command))
	if got != want || !bytes.Equal(rest, command) {
		t.Errorf("%+v and % x, attached were %+v and % x", got, rest, want, command)
	}
	if got, rest := Detach(command); got != (Ticket{}) || !bytes.Equal(rest, command) {
		t.Errorf("a command without a ticket gives %+v and % x", got, rest)
	}
	for n := range size { // what is too short for a ticket is left to Decode to refuse
		short := want.Attach(nil)[:n]
		if got, rest := Detach(short); got != (Ticket{}) || !bytes.Equal(rest, short) {
			t.Errorf("%d bytes give %+v and % x", n, got, rest)
		}
	}
}

func FuzzDetach(f *testing.F) {
	f.Add([]byte{})
	f.Add(Ticket{1, 2, 3}.Attach([]byte{1, 3, 0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		ticket, rest := Detach(data)
		if ticket != (Ticket{}) && !bytes.Equal(ticket.Attach(rest), data) {
			t.Errorf("% x is ticket %+v and % x", data, ticket, rest)
		}
	})
}
