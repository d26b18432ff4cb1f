package node_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/broker/id"
	"ackline/broker/node/admin"
	"ackline/broker/node/config"
)

// hinted is a version of Produce whose answers name another leader.
const hinted = 10

// written reads the reply to a valueFrame of that version.
func (w *wire) written() (kmsg.ProduceResponseTopicPartition, []kmsg.ProduceResponseBroker) {
	w.t.Helper()
	resp := kmsg.NewProduceResponse()
	resp.Version = hinted
	if err := resp.ReadFrom(w.body()[1:]); err != nil { // behind the header's tags
		w.t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0], resp.Brokers
}

// leader returns who leads partition 0 of a topic, once every node knows it.
func (c *cluster) leader(topic string) (leader id.NodeID) {
	c.t.Helper()
	until(c.t, "all nodes to know who leads", func() bool {
		leader = 0
		for i := range c.nodes {
			for _, p := range c.leaders(i).Partitions {
				if p.Topic != topic || p.Partition != 0 {
					continue
				}
				if p.Leader == 0 || leader != 0 && p.Leader != leader {
					return false
				}
				leader = p.Leader
			}
		}
		return leader != 0
	})
	return leader
}

func (c *cluster) transfer(topic string, to id.NodeID) error {
	var got admin.TransferAnswer
	err := c.ask(int(to)-1, "/admin/transfer", admin.TransferRequest{Topic: topic, To: to}, &got)
	if err == nil && len(got.Moved) != 1 {
		err = fmt.Errorf("%+v", got)
	}
	return err
}

// TestProduceIsHeldDuringAHandOver: what comes while the leadership moves is answered with who leads then, never with an error that
// leaves its producer to look for that.
func TestProduceIsHeldDuringAHandOver(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 1, 3)
	for round := range 10 {
		from := c.leader("events")
		to := from%3 + 1
		w := dial(t, c.nodes[from-1])
		moved := make(chan error, 1)
		go func() { moved <- c.transfer("events", to) }()
		for away := false; !away; {
			const burst = 8
			for range burst {
				w.send(valueFrame(hinted, "events", make([]byte, 100)))
			}
			for range burst {
				part, brokers := w.written()
				switch {
				case part.ErrorCode == 0:
				case part.ErrorCode == kerr.RequestTimedOut.Code: // proposed just before, and not known to be committed
				case part.ErrorCode != kerr.NotLeaderForPartition.Code || part.CurrentLeader.LeaderID != int32(to) || len(brokers) == 0:
					t.Fatalf("round %d: code %d, leader %d of epoch %d, want node %d", round, part.ErrorCode, part.CurrentLeader.LeaderID, part.CurrentLeader.LeaderEpoch, to)
				default:
					away = true
				}
			}
		}
		if err := <-moved; err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoppingNodeSendsItsProducersOn: a producer whose leader is told to stop hears from it who leads next, before its connection ends.
func TestStoppingNodeSendsItsProducersOn(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 1, 3)
	for range 3 {
		from := c.leader("events")
		w := dial(t, c.nodes[from-1])
		w.send(valueFrame(hinted, "events", make([]byte, 100)))
		if part, _ := w.written(); part.ErrorCode != 0 { // and the connection has been accepted
			t.Fatalf("code %d", part.ErrorCode)
		}
		stopped := make(chan struct{})
		go func() {
			c.stop(int(from - 1))
			close(stopped)
		}()
		for {
			w.send(valueFrame(hinted, "events", make([]byte, 100)))
			part, brokers := w.written()
			if part.ErrorCode == 0 || part.ErrorCode == kerr.RequestTimedOut.Code {
				continue
			}
			if to := part.CurrentLeader.LeaderID; part.ErrorCode != kerr.NotLeaderForPartition.Code || to <= 0 || to == int32(from) || len(brokers) == 0 {
				t.Fatalf("code %d, leader %d instead of node %d", part.ErrorCode, to, from)
			}
			break
		}
		<-stopped
		c.start(int(from - 1))
		c.ready()
	}
}

// TestMetadataNamesALeaderDuringAnElection: who asks for a topic while its leadership moves is told of a leader, the old one or
// the new, and never that there is none.
func TestMetadataNamesALeaderDuringAnElection(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 1, 3)
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for i := range c.nodes {
		w := dial(t, c.nodes[i])
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.send(metadataFrame("events"))
				if part := w.metadata(); part.ErrorCode != 0 || part.Leader <= 0 {
					t.Errorf("node %d says code %d, leader %d", i+1, part.ErrorCode, part.Leader)
					return
				}
			}
		})
	}
	for range 10 {
		if err := c.transfer("events", c.leader("events")%3+1); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	asking.Wait()

	// No election can be won now, so there is nothing to wait for.
	c.stop(1)
	c.stop(2)
	until(t, "the last node to lead nothing", func() bool { return c.leaders(0).Leaderless > 0 })
	before := c.held(0)
	w := dial(t, c.nodes[0])
	w.send(metadataFrame("events"))
	if part := w.metadata(); part.ErrorCode != kerr.LeaderNotAvailable.Code {
		t.Errorf("code %d without a majority", part.ErrorCode)
	}
	if before == 0 || c.held(0) != before {
		t.Errorf("%v requests were held during elections, then %v", before, c.held(0)-before)
	}
}

// metadata reads the reply to a metadataFrame.
func (w *wire) metadata() kmsg.MetadataResponseTopicPartition {
	w.t.Helper()
	resp := kmsg.NewMetadataResponse()
	resp.Version = metadataVersion
	if err := resp.ReadFrom(w.body()); err != nil {
		w.t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0]
}

// held is how many Metadata requests a node has held.
func (c *cluster) held(i int) float64 { return c.metric(i, "ackline_metadata_held_total") }

const metadataVersion = 7

func metadataFrame(topic string) []byte {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = metadataVersion
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
}

// TestForwardedProduceIsAsGoodAsADirectOne: a producer that reaches one node only, which does not lead, has its batches acknowledged in the
// order in which it sent them, also while others take the leadership from one another, and each is in the log once. As with a direct
// connection, what was under way when the leadership moved may have to be sent again.
func TestForwardedProduceIsAsGoodAsADirectOne(t *testing.T) {
	c := prepareCluster(t, 3)
	c.change = func(cfg *config.Config) { cfg.Cluster.ForwardProduce = true }
	for i := range c.nodes {
		c.start(i)
	}
	c.ready()
	c.create("events", 1, 3)
	from := c.leader("events")
	at, other := from%3+1, (from+1)%3+1
	w, acked, sent, next, refused := dial(t, c.nodes[at-1]), newLedger(), 0, int64(0), 0
	burst := func(n int) {
		t.Helper()
		first := sent
		for range n {
			w.send(valueFrame(hinted, "events", fmt.Appendf(nil, "record %d", sent)))
			sent++
		}
		for i := range n {
			part, _ := w.written()
			switch part.ErrorCode {
			case 0:
			case kerr.RequestTimedOut.Code, kerr.NotLeaderForPartition.Code: // its leader was about to go; what followed it is not sent on
				refused++
				continue
			default:
				t.Fatalf("record %d: %v", first+i, kerr.ErrorForCode(part.ErrorCode))
			}
			if part.BaseOffset < next {
				t.Fatalf("record %d is at offset %d, and the one before it at %d", first+i, part.BaseOffset, next-1)
			}
			next = part.BaseOffset + 1
			acked.ack(&kgo.Record{Topic: "events", Value: fmt.Appendf(nil, "record %d", first+i), Offset: part.BaseOffset})
		}
	}
	burst(50)
	for range 6 {
		if now := c.leader("events"); now != from {
			t.Fatalf("node %d leads, want %d", now, from)
		}
		from, other = other, from
		moved := make(chan error, 1)
		go func() { moved <- c.transfer("events", from) }()
		for moving := true; moving; {
			burst(5)
			select {
			case err := <-moved:
				if moving = false; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
	}
	before := refused
	burst(50)
	if refused > before || refused > sent/4 {
		t.Errorf("of %d records %d were refused, %d of them while nothing happened", sent, refused, refused-before)
	}
	acked.check(t, c.nodes[at-1], "events", 1)
}
