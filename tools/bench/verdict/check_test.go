package verdict

import (
	"context"
	"errors"
	"testing"

	"ackline/tools/bench/record"
)

// answer is what reading back finds.
type answer struct {
	found *record.DataCheck
	err   error
}

func (a answer) Verify(context.Context) (*record.DataCheck, error) { return a.found, a.err }

// What was read back adds up, a loss fails the launch whatever else is found, and data that cannot be read is an error.
func TestCheck(t *testing.T) {
	b := Book{Rec: &record.Launch{Verdict: record.OK}}
	for _, a := range []answer{{found: &record.DataCheck{OK: true, Acknowledged: 3}}, {found: &record.DataCheck{Acknowledged: 4, Detail: "one is gone"}},
		{found: &record.DataCheck{OK: true, Acknowledged: 5}}} {
		if err := b.Check(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if c := b.Rec.Check; c.OK || c.Acknowledged != 12 || b.Rec.Verdict != record.Failed || len(b.Rec.Reasons) != 1 {
		t.Errorf("%s %q, %+v, want a failure, and 12 records", b.Rec.Verdict, b.Rec.Reasons, c)
	}
	gone := errors.New("nobody answers")
	if err := b.Check(t.Context(), answer{err: gone}); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
}
