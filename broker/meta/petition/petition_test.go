package petition

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ackline/broker/meta"
	"ackline/broker/meta/ticket"
)

// desk is a Desk whose entries go where a test says.
func desk(submit func(data []byte) error) *Desk { return New(3, 77, submit) }

// settle does what applying an entry does.
func settle(d *Desk, data []byte, r meta.Result) {
	r.Ticket, _ = ticket.Detach(data)
	d.Settle(r)
}

func TestResultComesWithTheEntry(t *testing.T) {
	want := meta.ProducerIDs{First: 40, Count: 2}
	var d *Desk
	d = desk(func(data []byte) error {
		settle(d, data, meta.Result{Producers: want})
		settle(d, data, meta.Result{}) // it was sent twice and is in the log twice: the first counts
		return nil
	})
	r, err := d.Propose(t.Context(), meta.IssueProducerIDs{Count: 2})
	if err != nil || r.Producers != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if len(d.waiting) != 0 {
		t.Errorf("%d commands still wait", len(d.waiting))
	}
}

func TestLostEntryIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent, began := 0, time.Now()
		var d *Desk
		d = desk(func(data []byte) error {
			switch sent++; sent {
			case 1: // lost, and nothing says so
			case 2:
				go d.Resend() // its leader died
			default:
				settle(d, data, meta.Result{})
			}
			return nil
		})
		if _, err := d.Propose(t.Context(), meta.IssueProducerIDs{Count: 1}); err != nil || sent != 3 {
			t.Errorf("sent %d times, want 3; %v", sent, err)
		}
		if took := time.Since(began); took != resendAfter {
			t.Errorf("it took %v, want %v: a change of the leader is no reason to wait", took, resendAfter)
		}
	})
}

func TestNoLeaderIsLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		none, tries := errors.New("nobody leads"), 0
		d := desk(func([]byte) error { tries++; return none })
		_, err := d.Propose(ctx, meta.IssueProducerIDs{Count: 1})
		if !errors.Is(err, none) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "majority") {
			t.Errorf("%v", err)
		}
		if tries < 40 || tries > 60 {
			t.Errorf("%d tries in ten seconds", tries)
		}
	})
}

func TestAnotherProcessesEntryIsNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var d *Desk
		d = desk(func(data []byte) error {
			own, _ := ticket.Detach(data)
			for _, other := range []ticket.Ticket{{}, {Node: own.Node, Boot: own.Boot + 1, Number: own.Number},
				{Node: own.Node + 1, Boot: own.Boot, Number: own.Number}, {Node: own.Node, Boot: own.Boot, Number: own.Number + 1}} {
				d.Settle(meta.Result{Ticket: other})
			}
			return nil
		})
		if r, err := d.Propose(ctx, meta.IssueProducerIDs{Count: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestRepetitionIsNoResult: what was decided before, while this node had no part in it, is not said to have been done, nor refused.
func TestRepetitionIsNoResult(t *testing.T) {
	var d *Desk
	d = desk(func(data []byte) error {
		settle(d, data, meta.Result{Repeated: true})
		return nil
	})
	if r, err := d.Propose(t.Context(), meta.IssueProducerIDs{Count: 2}); !errors.Is(err, ErrRepeated) {
		t.Errorf("%+v, %v", r, err)
	}
}
