package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"ackline/broker/id"
	"ackline/broker/node/admin"
)

// ask sends node i a request, GET without a body, and returns the error that it answers.
func (c *cluster) ask(i int, path string, body, answer any) error {
	c.t.Helper()
	method, content := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		var err error
		if content, err = json.Marshal(body); err != nil {
			c.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, "http://"+c.nodes[i].HTTPAddr()+path, bytes.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var failure struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&failure); err != nil {
			c.t.Fatal(resp.Status, err)
		}
		return fmt.Errorf("%d: %s", resp.StatusCode, failure.Error)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

func (c *cluster) status(i int) (s admin.Status) {
	c.t.Helper()
	if err := c.ask(i, "/admin/status", nil, &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cluster) leaders(i int) (l admin.Leaders) {
	c.t.Helper()
	if err := c.ask(i, "/admin/leaders", nil, &l); err != nil {
		c.t.Fatal(err)
	}
	return l
}

// well tells whether a status has nothing to complain of.
func well(s admin.Status) bool {
	return s.Current && s.Metadata.Leader != 0 && s.Counts.Leaderless == 0 && s.Counts.UnderReplicated == 0 && len(s.Warnings) == 0 &&
		!slices.ContainsFunc(s.Nodes, func(n admin.Node) bool { return n.State != admin.Alive })
}

func TestAdminStatus(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 4, 3)
	for i := range c.nodes {
		var s admin.Status
		until(t, fmt.Sprintf("node %d to see a cluster that is well", i+1), func() bool { s = c.status(i); return well(s) })
		if s.Asked != id.NodeID(i+1) || len(s.Nodes) != 3 || s.Counts.Partitions != 4 || !slices.Equal(s.Metadata.Voters, []id.NodeID{1, 2, 3}) {
			t.Fatalf("%+v", s)
		}
		until(t, "each node to have measured the way to each other", func() bool { return len(c.status(i).RoundTrips) == 6 })
		for k, r := range c.status(i).RoundTrips {
			if r.From == r.To || r.From != id.NodeID(k/2+1) || r.SmoothedUs <= 0 || r.LeastUs > r.SmoothedUs+4*r.DeviationUs {
				t.Errorf("%+v", r)
			}
		}
		for _, n := range s.Nodes {
			if n.Since.IsZero() || n.Replicas != 4 || len(n.Incarnation) != 16 {
				t.Errorf("%+v", n)
			}
		}
	}
	c.stop(2)
	until(t, "one node to be missed", func() bool {
		s := c.status(0)
		return s.Nodes[2].State == admin.Dead && len(s.RoundTrips) == 2 && s.Counts.UnderReplicated == 4 && s.Counts.Leaderless == 0 && s.UnderReplicated[0].Lacks[0].Node == 3
	})
	c.stop(1) // no majority: what is left says what it knows
	until(t, "the last node to say that it is alone", func() bool {
		s := c.status(0)
		return s.Metadata.Leader == 0 && s.Counts.Leaderless == 4 && len(s.Nodes) == 3 && len(s.Warnings) > 0 && strings.Contains(s.Warnings[0], "majority")
	})
}

func TestAdminTransfer(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 4, 3)
	c.create("thin", 1, 1)
	until(t, "leaders of all", func() bool { return c.leaders(0).Leaderless == 0 })
	var got admin.TransferAnswer
	for _, to := range []id.NodeID{1, 2, 3} {
		for i := range c.nodes { // whichever is asked
			if err := c.ask(i, "/admin/transfer", admin.TransferRequest{Topic: "events", Partition: 1, To: to}, &got); err != nil || len(got.Moved) != 1 {
				t.Fatalf("to node %d: %+v, %v", to, got, err)
			}
			l := c.leaders(i)
			at := slices.IndexFunc(l.Partitions, func(p admin.Partition) bool { return p.Topic == "events" && p.Partition == 1 })
			if l.Partitions[at].Leader != to || l.Partitions[at].Epoch != got.Moved[0].Epoch {
				t.Fatalf("node %d says %+v after %+v", i+1, l.Partitions[at], got)
			}
		}
	}
	if err := c.ask(0, "/admin/transfer", admin.TransferRequest{AllFrom: 3}, &got); err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Failed {
		if f.Topic != "thin" {
			t.Errorf("%+v", f)
		}
	}
	for _, p := range c.leaders(0).Partitions {
		if p.Leader == 3 && p.Topic == "events" {
			t.Errorf("node 3 still leads %+v", p)
		}
	}
	thin := c.leaders(0).Partitions[4].Replicas[0]
	for _, x := range []struct {
		r    admin.TransferRequest
		want string
	}{
		{admin.TransferRequest{Topic: "nothing", To: 1}, `404: there is no topic "nothing"`},
		{admin.TransferRequest{Topic: "events", Partition: 4, To: 1}, "404: topic \"events\" has partitions 0 to 3"},
		{admin.TransferRequest{Topic: "events", To: 9}, "404: there is no node 9: the cluster has [1 2 3]"},
		{admin.TransferRequest{Topic: "thin", To: thin%3 + 1}, "409: node"},
		{admin.TransferRequest{Topic: "events"}, "400: to which node?"},
		{admin.TransferRequest{AllFrom: 1, To: 1}, "400: from node 1 to node 1"},
	} {
		if err := c.ask(1, "/admin/transfer", x.r, &got); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %q", x.r, err, x.want)
		}
	}
}

// add makes the cluster expect a node, starts it, and waits until it is one of them.
func (c *cluster) add() int {
	c.t.Helper()
	i := c.another()
	var a admin.AddAnswer
	if err := c.ask(0, "/admin/add", admin.AddRequest{Node: id.NodeID(i + 1), RaftAddr: c.raft[i]}, &a); err != nil {
		c.t.Fatal(err)
	}
	c.start(i)
	why := ""
	defer func() {
		if c.t.Failed() {
			c.t.Logf("node %d: %s; node 1 says %+v", i+1, why, c.status(0))
		}
	}()
	until(c.t, fmt.Sprintf("node %d to be ready", i+1), func() (ok bool) { ok, why = c.nodes[i].Ready(); return ok })
	return i
}

// remove asks node i again and again, until the removal is done.
func (c *cluster) remove(i int, r admin.RemoveRequest) {
	c.t.Helper()
	var last admin.RemoveAnswer
	until(c.t, fmt.Sprintf("node %d to be removed", r.Node), func() bool {
		last = admin.RemoveAnswer{}
		err := c.ask(i, "/admin/remove", r, &last)
		if err != nil && !strings.HasPrefix(err.Error(), "503") {
			c.t.Fatalf("%v; last %+v", err, last)
		}
		return err == nil && last.Gone
	})
}

// TestThreeNodesFourNodesThreeNodes changes a cluster's nodes under load: one comes, one that is dead is replaced by it, another
// comes, and one that leads is removed. Nothing that was acknowledged is lost.
func TestThreeNodesFourNodesThreeNodes(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 4, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	p, acked := c.client(kgo.ProducerBatchMaxBytes(8<<10)), newLedger()
	var wg sync.WaitGroup
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	written := make(chan struct{}, 1<<16)
	wg.Add(1)
	go func() {
		defer wg.Done()
		for k := 0; loaded.Err() == nil; k++ {
			r := &kgo.Record{Topic: "events", Partition: int32(k % 4), Value: fmt.Appendf(nil, "record %d", k)}
			if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Errorf("record %d: %v", k, err)
				return
			}
			acked.ack(r)
			select {
			case written <- struct{}{}:
			default:
			}
		}
	}()
	goesOn := func() {
		t.Helper()
		for len(written) > 0 {
			<-written
		}
		for range 40 {
			select {
			case <-written:
			case <-ctx.Done():
				t.Fatal("the load does not go on")
			}
		}
	}
	goesOn()
	four := c.add()
	until(t, "the fourth to follow the metadata", func() bool {
		s := c.status(four)
		return well(s) && len(s.Nodes) == 4 && slices.Equal(s.Metadata.Learners, []id.NodeID{4})
	})
	c.stop(2)
	goesOn()
	c.remove(0, admin.RemoveRequest{Node: 3, To: 4})
	goesOn()
	until(t, "the fourth to have the third's replicas", func() bool {
		s := c.status(1)
		return well(s) && len(s.Nodes) == 3 && s.Nodes[2].ID == 4 && s.Nodes[2].Replicas == 4 && slices.Equal(s.Metadata.Voters, []id.NodeID{1, 2, 4}) &&
			s.Counts.Going == 0
	})
	c.create("thin", 6, 1) // each on one node, which alone has it
	thin := newLedger()
	for k := range 60 {
		r := &kgo.Record{Topic: "thin", Partition: int32(k % 6), Value: fmt.Appendf(nil, "thin %d", k)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		thin.ack(r)
	}
	five := c.add()
	c.remove(1, admin.RemoveRequest{Node: 1})
	goesOn()
	until(t, "what is left to be well", func() bool {
		s := c.status(five)
		return well(s) && len(s.Nodes) == 3 && s.Nodes[0].ID == 2 && s.Nodes[2].Replicas >= 4 && len(s.Metadata.Voters) == 3
	})
	<-c.nodes[0].Ended() // it is told that it is not part of it any more
	if err := c.nodes[0].Err(); err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("the removed node ended with %v", err)
	}
	c.stop(0)
	stop()
	wg.Wait()
	for i := range c.nodes { // what they know of the cluster's nodes survives them
		if i != 0 && i != 2 {
			c.stop(i)
			c.start(i)
		}
	}
	c.ready()
	acked.check(t, c.nodes[1], "events", 4)
	acked.check(t, c.nodes[five], "events", 4)
	thin.check(t, c.nodes[five], "thin", 6)
	c.start(2) // one that was removed, with what it had
	<-c.nodes[2].Ended()
	if err := c.nodes[2].Err(); err == nil || !strings.Contains(err.Error(), "removed") {
		t.Errorf("a removed node that comes back ended with %v", err)
	}
}

// TestRemovalSaidTwiceAtOnce: somebody who has the same node removed at another node, before the first has answered, is not told that
// something is wrong because the first got there before him.
func TestRemovalSaidTwiceAtOnce(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 40, 3)
	four := c.add()
	for _, at := range []int{0, 1, four} { // those that are asked have to reach the one that takes the replicas
		until(t, "the fourth to be part of it", func() bool { s := c.status(at); return well(s) && len(s.Nodes) == 4 })
	}
	said := make(chan error, 2)
	for at := range 2 {
		go func() { said <- c.ask(at, "/admin/remove", admin.RemoveRequest{Node: 3}, new(admin.RemoveAnswer)) }()
	}
	for range 2 {
		if err := <-said; err != nil && !strings.HasPrefix(err.Error(), "404: there is no node 3") {
			t.Error(err)
		}
	}
	until(t, "the third to be gone", func() bool {
		var a admin.RemoveAnswer
		err := c.ask(0, "/admin/remove", admin.RemoveRequest{Node: 3}, &a)
		return a.Gone || err != nil && strings.HasPrefix(err.Error(), "404: there is no node 3")
	})
	<-c.nodes[2].Ended()
	c.stop(2)
}

func TestAdminRefuses(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 2, 3)
	until(t, "all to be well", func() bool { return well(c.status(0)) })
	for _, x := range []struct {
		path string
		r    any
		want string
	}{
		{"add", admin.AddRequest{Node: 2, RaftAddr: "a:1"}, "409: node 2 is a node of the cluster already"},
		{"add", admin.AddRequest{Node: 4, RaftAddr: c.raft[0]}, "409: node 1 has the addresses"},
		{"add", admin.AddRequest{Node: 4, RaftAddr: "nowhere"}, "400: where do the others reach node 4?"},
		{"add", admin.AddRequest{RaftAddr: "a:1"}, "400: node 0"},
		{"remove", admin.RemoveRequest{Node: 9}, "404: there is no node 9"},
		{"remove", admin.RemoveRequest{Node: 3}, "409: events/0 has 3 replicas, on nodes"},
		{"remove", admin.RemoveRequest{Node: 3, To: 2}, "holds one of them already"},
		{"remove", admin.RemoveRequest{Node: 3, To: 3}, "400: node 3 cannot take its own place"},
		{"remove", admin.RemoveRequest{Node: 3, To: 8}, "404: there is no node 8"},
		{"remove", admin.RemoveRequest{Node: 1}, "ask another node"},
		{"remove", []int{}, "400: the request is not what is asked for"},
	} {
		var got struct{}
		if err := c.ask(0, "/admin/"+x.path, x.r, &got); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s %+v: %v, want %q", x.path, x.r, err, x.want)
		}
	}
	i := c.another()
	c.start(i) // nobody expects it
	<-c.nodes[i].Ended()
	if err := c.nodes[i].Err(); err == nil || !strings.Contains(err.Error(), "never added") {
		t.Errorf("a node that nobody expects ended with %v", err)
	}
	c.stop(i)
	var a admin.AddAnswer
	for range 2 { // the same again is no mistake
		if err := c.ask(1, "/admin/add", admin.AddRequest{Node: 4, RaftAddr: c.raft[i]}, &a); err != nil || !strings.Contains(a.Next, "--join --node-id 4") {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	var got admin.RemoveAnswer
	if err := c.ask(0, "/admin/remove", admin.RemoveRequest{Node: 3, To: 4}, &got); err == nil || !strings.Contains(err.Error(), "has not come yet") {
		t.Errorf("a node that has not come takes another's place: %v", err)
	}
	if s := c.status(2); len(s.Nodes) != 4 || s.Nodes[3].State != admin.Expected {
		t.Errorf("%+v", s.Nodes)
	}
	if err := c.ask(0, "/admin/remove", admin.RemoveRequest{Node: 4}, &got); err != nil || !got.Gone {
		t.Errorf("a node that has not come is expected no more: %+v, %v", got, err)
	}
}

// TestMetadataReplicaGoesLast: it is from the metadata that a node hears what becomes of its other replicas. One that was dead while
// the metadata's was taken from it came back as the leader of some, and never gave them up.
func TestMetadataReplicaGoesLast(t *testing.T) {
	c := newCluster(t, 3)
	c.ready()
	c.create("events", 40, 3)
	four := c.add()
	until(t, "the fourth to be part of it", func() bool { s := c.status(0); return well(s) && len(s.Nodes) == 4 })
	seen := 0
	until(t, "the third to be gone", func() bool {
		var a admin.RemoveAnswer
		if err := c.ask(0, "/admin/remove", admin.RemoveRequest{Node: 3, To: id.NodeID(four + 1)}, &a); err != nil {
			if !strings.HasPrefix(err.Error(), "503") {
				t.Fatal(err)
			}
			return false
		}
		if slices.ContainsFunc(a.Waiting, func(what string) bool { return strings.HasPrefix(what, "events/") }) {
			seen++
			if m := c.status(0).Metadata; !slices.Contains(slices.Concat(m.Voters, m.Learners), 3) {
				t.Fatalf("%+v, and the metadata's replica is gone already: %+v", a, m)
			}
		}
		return a.Gone
	})
	if seen == 0 {
		t.Error("all was gone at once: nothing is shown")
	}
	<-c.nodes[2].Ended()
	c.stop(2)
}
