package meta

import (
	"bytes"
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta/ticket"
	"ackline/broker/statemachine"
)

// ticketed applies a command behind a ticket.
func (c *cluster) ticketed(t ticket.Ticket, command Command) Result {
	c.t.Helper()
	data, err := Encode(command)
	if err != nil {
		c.t.Fatal(err)
	}
	data = t.Attach(data)
	c.log = append(c.log, data)
	result, err := c.machine.Apply(statemachine.Entry{Index: id.Index(len(c.log)), Term: 1, Data: data})
	if err != nil {
		c.t.Fatal(err)
	}
	if got := result.(Result); got.Ticket != t {
		c.t.Fatalf("ticket %+v, want %+v", got.Ticket, t)
	}
	return result.(Result)
}

// TestCommandIsDecidedOnce: one that comes a second time, since its first sending might have been lost, changes nothing, whatever
// others did in between, and whether this replica saw the first time or was told by a snapshot.
func TestCommandIsDecidedOnce(t *testing.T) {
	for _, restored := range []bool{false, true} {
		c := founded(t, 3)
		again := func() {
			if restored {
				c.restart()
			}
		}
		number := func(n uint64) ticket.Ticket { return ticket.Ticket{Node: 2, Boot: 9, Number: n} }
		create, refused := c.catalog().PlanCreateTopic(TopicRequest{Name: "orders", Partitions: 1, ReplicationFactor: 1}, Limits{}, c.topicID())
		if refused != nil {
			t.Fatal(refused)
		}
		made := c.ticketed(number(1), create)
		if made.Refused != nil || made.Repeated {
			t.Fatalf("%+v", made)
		}
		other := create
		other.ID = c.topicID()
		if r := c.ticketed(number(2), other); r.Refused == nil {
			t.Fatal("two topics have one name")
		}
		c.do(DeleteTopic{ID: made.Topic.ID})
		again()
		if r := c.ticketed(number(1), create); !r.Repeated || r.Topic != nil || c.catalog().TopicNamed("orders") != nil {
			t.Errorf("a deleted topic came back: %+v", r)
		}
		if r := c.ticketed(number(2), other); !r.Repeated || c.catalog().TopicNamed("orders") != nil {
			t.Errorf("a create that was refused came true: %+v", r)
		}
		again()
		before := c.catalog().nextProducer
		block := c.ticketed(number(3), IssueProducerIDs{Count: 10})
		if r := c.ticketed(number(3), IssueProducerIDs{Count: 10}); !r.Repeated || c.catalog().nextProducer != before+10 {
			t.Errorf("%+v after %+v", r, block)
		}
		if r := c.ticketed(ticket.Ticket{Node: 2, Boot: 10, Number: 3}, IssueProducerIDs{Count: 10}); r.Repeated {
			t.Errorf("another process's command counts as a repetition: %+v", r)
		}
	}
}

// TestSnapshotWithoutTickets is of the version before there were any.
func TestSnapshotWithoutTickets(t *testing.T) {
	c := founded(t, 1)
	c.create("orders", 1, 1)
	now := image(t, c.machine)
	payload, _, err := statemachine.ReadFrame(bytes.NewReader(now), snapshotMagic, snapshotVersion, snapshotLimit)
	if err != nil {
		t.Fatal(err)
	}
	var old bytes.Buffer
	if err := statemachine.WriteFrame(&old, snapshotMagic, snapshotOldest, payload[:len(payload)-4]); err != nil {
		t.Fatal(err)
	}
	m := New(nil)
	if err := m.Restore(&old); err != nil || !bytes.Equal(image(t, m), now) {
		t.Errorf("%v; it encodes to %d bytes, want %d", err, len(image(t, m)), len(now))
	}
	var older bytes.Buffer
	if err := statemachine.WriteFrame(&older, snapshotMagic, snapshotOldest-1, payload); err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(&older); err == nil {
		t.Error("a snapshot of version 1 is read")
	}
}
