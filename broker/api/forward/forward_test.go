package forward_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"ackline/broker/api/forward"
)

func TestCallAndAnswerAreReadAsWritten(t *testing.T) {
	batches := []forward.Batch{{WaitMs: 1, Records: []byte("one")}, {WaitMs: 1<<31 - 1, Records: []byte{}}}
	g, got, err := forward.ParseCall(forward.Call(7, batches))
	if err != nil || g != 7 || !reflect.DeepEqual(got, batches) {
		t.Errorf("%+v of group %d, %v", got, g, err)
	}
	want := []forward.Reply{{Base: 1 << 40, LogStart: 3}, {Code: 6, Base: -1, LogStart: -1}, {Code: 3, Base: -1, LogStart: -1, Message: "moved"}}
	answer := append(want[0].Append(nil), forward.Refused(1, 6)...)
	answer = want[2].Append(answer)
	replies := make([]forward.Reply, 3)
	if err := forward.ParseReplies(answer, replies); err != nil || !reflect.DeepEqual(replies, want) {
		t.Errorf("%+v, %v", replies, err)
	}
	for n := range answer {
		if err := forward.ParseReplies(answer[:n], replies); !errors.Is(err, forward.ErrMalformed) {
			t.Errorf("%d bytes of %d: %v", n, len(answer), err)
		}
	}
	long := forward.Reply{Message: strings.Repeat("x", 1<<11)}
	if err := forward.ParseReplies(long.Append(nil), replies[:1]); err != nil || len(replies[0].Message) != 1<<10 {
		t.Errorf("a message of %d bytes, %v", len(replies[0].Message), err)
	}
}

// FuzzForward reads calls and answers as another node might send them. What can be read encodes to the same bytes.
func FuzzForward(f *testing.F) {
	f.Add(forward.Call(7, []forward.Batch{{WaitMs: 60_000, Records: []byte("a batch")}, {WaitMs: 1}}))
	f.Add((&forward.Reply{Base: 1 << 40, LogStart: 3}).Append(forward.Refused(2, 6)))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, batches, err := forward.ParseCall(b); err == nil {
			again := forward.Call(g, batches)
			if g2, batches2, err := forward.ParseCall(again); len(again) != len(b) || err != nil || g2 != g || !reflect.DeepEqual(batches, batches2) {
				t.Errorf("%x is read, and encodes to %x", b, again)
			}
		}
		for n := range 4 {
			replies := make([]forward.Reply, n)
			if forward.ParseReplies(b, replies) != nil {
				continue
			}
			var again []byte
			for i := range replies {
				again = replies[i].Append(again)
			}
			if len(b) < 1<<10 && !bytes.Equal(again, b) {
				t.Errorf("%d replies %x encode to %x", n, b, again)
			}
		}
	})
}
