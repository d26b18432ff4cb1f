package founding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/node/datadir"
	"ackline/broker/statemachine"
)

// site is nodes with their disks.
type site struct {
	t     testing.TB
	nodes []id.NodeID
	disks map[id.NodeID]*disk
	next  id.Incarnation
}

type disk struct {
	Config
	f *Founder
}

func newSite(t testing.TB, n int) *site {
	s := &site{t: t, disks: map[id.NodeID]*disk{}}
	for i := range n {
		s.nodes = append(s.nodes, id.NodeID(i+1))
	}
	for _, n := range s.nodes {
		s.empty(n)
	}
	return s
}

// empty gives a node a new disk.
func (s *site) empty(n id.NodeID) {
	s.next++
	d := &disk{Config: Config{Name: "c", Self: n, Incarnation: s.next, Nodes: s.nodes}}
	d.Agree = func(r datadir.Roster) error {
		if d.Config.Roster != nil {
			s.t.Errorf("node %d agrees to [%v], and had agreed to [%v]", n, r, d.Config.Roster)
		}
		d.Config.Roster = r
		return nil
	}
	s.disks[n] = d
	s.restart(n)
}

func (s *site) restart(n id.NodeID) { s.disks[n].f = New(s.disks[n].Config) }

// say sends a node's message to another, and the answer back unless it is lost.
func (s *site) say(from, to id.NodeID, lost bool) error {
	answer, err := s.disks[to].f.Answer(from, s.disks[from].f.Message())
	if err != nil || lost {
		return nil
	}
	err = s.disks[from].f.Hear(to, answer)
	s.save(from)
	s.save(to)
	return err
}

// save keeps a cluster's id on the disk, as a node does when it is formed.
func (s *site) save(n id.NodeID) {
	if cluster, _, ok := s.disks[n].f.Formed(); ok {
		s.disks[n].Config.Cluster = cluster
	}
}

func (s *site) round() (errs []error) {
	for _, a := range s.nodes {
		for _, b := range s.disks[a].f.Waiting() {
			if err := s.say(a, b, false); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

func (s *site) formed() (ids []string) {
	for _, n := range s.nodes {
		if c, _, ok := s.disks[n].f.Formed(); ok {
			ids = append(ids, c)
		}
	}
	return ids
}

func TestForms(t *testing.T) {
	s := newSite(t, 3)
	for range 3 {
		if errs := s.round(); errs != nil {
			t.Fatal(errs)
		}
	}
	ids := s.formed()
	if len(ids) != 3 || len(slices.Compact(ids)) != 1 || ids[0] != s.disks[1].Config.Roster.ClusterID("c") {
		t.Fatalf("the nodes have formed %v", ids)
	}
	s.restart(2)
	if c, r, ok := s.disks[2].f.Formed(); !ok || c != ids[0] || len(r) != 3 || s.disks[2].f.Waiting() != nil {
		t.Errorf("after a restart: %q [%v]", c, r)
	}
}

// Whatever is lost, restarted and emptied, in any order: never two clusters, and never one with a node that was emptied.
func TestAnyOrder(t *testing.T) {
	whole := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newSite(t, 2+r.IntN(4))
		original := map[id.NodeID]id.Incarnation{}
		for n, d := range s.disks {
			original[n] = d.Incarnation
		}
		ever, emptied := map[string]bool{}, 0
		for range 80 {
			a, b := s.nodes[r.IntN(len(s.nodes))], s.nodes[r.IntN(len(s.nodes))]
			switch k := r.IntN(40); {
			case k == 0 && emptied < len(s.nodes)-1: // one disk remains
				var left []id.NodeID
				for _, n := range s.nodes {
					if s.disks[n].Incarnation == original[n] {
						left = append(left, n)
					}
				}
				if n := left[r.IntN(len(left))]; len(left) > 1 {
					s.empty(n)
					emptied++
				}
			case k < 4:
				s.restart(a)
			case a != b:
				s.say(a, b, r.IntN(4) == 0)
			}
			for _, n := range s.nodes {
				if c, roster, ok := s.disks[n].f.Formed(); ok {
					ever[c] = true
					if roster.Incarnation(n) != s.disks[n].Incarnation {
						t.Fatalf("seed %d: node %d is in [%v] with an emptied disk", seed, n, roster)
					}
				}
			}
			if len(ever) > 1 {
				t.Fatalf("seed %d: formed twice", seed)
			}
		}
		if emptied > 0 {
			continue
		}
		for range 3 {
			s.round()
		}
		if ids := s.formed(); len(ids) != len(s.nodes) {
			t.Fatalf("seed %d: %d of %d nodes have formed a cluster", seed, len(ids), len(s.nodes))
		}
		whole++
	}
	if whole < 20 {
		t.Fatalf("only %d of the seeds form a whole cluster", whole)
	}
}

// An emptied disk is recognized by whoever is left, at every step of forming and after it.
func TestEmptied(t *testing.T) {
	s := newSite(t, 3)
	for range 3 {
		s.round()
	}
	s.empty(3)
	err := s.say(3, 1, false)
	if !errors.Is(err, ErrEmptied) || !strings.Contains(err.Error(), "start it on the directory that it had") {
		t.Errorf("after it was formed: %v", err)
	}
	s = newSite(t, 3)
	s.say(1, 2, false)
	s.say(1, 3, false) // 1 has heard all, and agreed
	s.empty(3)
	if err := s.say(3, 1, false); !errors.Is(err, ErrEmptied) {
		t.Errorf("while it is formed: %v", err)
	}
	if err := s.say(2, 1, false); err != nil || s.disks[2].f.Roster() == nil {
		t.Errorf("another node: %v", err)
	}
	// Two that agreed to different rosters: the one heard node 3 before its disk was emptied, the other after.
	s = newSite(t, 3)
	one, three := s.disks[1].f, s.disks[3].f
	answer, err := three.Answer(1, one.Message())
	if err != nil || one.Hear(3, answer) != nil {
		t.Fatal(err)
	}
	s.empty(3)
	s.say(2, 3, false)
	early := s.disks[2].f.Message()
	s.disks[2].f.Answer(1, one.Message())
	one.Hear(2, early)
	if a, b := s.disks[1].Config.Roster, s.disks[2].Config.Roster; len(a) == 0 || len(b) == 0 || a.Equal(b) {
		t.Fatalf("the test proves nothing: [%v], [%v]", a, b)
	}
	if err := s.say(2, 1, false); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "empty those of all nodes") {
		t.Errorf("two rosters: %v", err)
	}
	if s.round(); s.formed() != nil {
		t.Error("formed without the agreement of all")
	}
}

func TestSetUpDifferently(t *testing.T) {
	s := newSite(t, 3)
	s.disks[2].Name = "d"
	s.restart(2)
	if err := s.say(1, 2, false); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), `node 2 is of cluster "d"`) {
		t.Errorf("another name: %v", err)
	}
	s.disks[3].Nodes = []id.NodeID{1, 3}
	s.restart(3)
	if err := s.say(1, 3, false); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "[1 3]") {
		t.Errorf("another list: %v", err)
	}
}

func TestJoin(t *testing.T) {
	s := newSite(t, 3)
	for range 3 {
		s.round()
	}
	expected := map[id.NodeID]id.Incarnation{5: 0, 2: s.disks[2].Incarnation}
	for _, d := range s.disks {
		d.Expected = func(n id.NodeID) (bool, id.Incarnation) { with, known := expected[n]; return known, with }
		d.f = New(d.Config)
	}
	join := func(n id.NodeID, yes bool) (string, error) {
		f := New(Config{Name: "c", Self: n, Incarnation: 99, Nodes: s.nodes, Join: yes})
		answer, err := s.disks[1].f.Answer(n, f.Message())
		if err != nil {
			t.Fatal(err)
		}
		err = f.Hear(1, answer)
		c, _, _ := f.Formed()
		return c, err
	}
	if c, err := join(5, true); err != nil || c != s.formed()[0] {
		t.Errorf("an expected node: %q, %v", c, err)
	}
	for _, x := range []struct {
		n    id.NodeID
		join bool
		want string
	}{{6, true, "does not expect a node 6"}, {2, true, "another data directory"}, {2, false, "another data directory"}, {5, false, "as a new node once the cluster expects it"}} {
		if c, err := join(x.n, x.join); !errors.Is(err, ErrEmptied) || c != "" || !strings.Contains(err.Error(), x.want) {
			t.Errorf("node %d, join %v: %q, %v", x.n, x.join, c, err)
		}
	}
	// One that joined answers too, and does not make a roster of its own believed.
	j := New(Config{Name: "c", Self: 5, Incarnation: 99, Nodes: s.nodes, Join: true, Cluster: s.formed()[0]})
	fresh := New(Config{Name: "c", Self: 1, Incarnation: 77, Nodes: []id.NodeID{1, 5}, Agree: func(datadir.Roster) error { t.Error("agreed"); return nil }})
	answer, err := j.Answer(1, fresh.Message())
	if err == nil {
		err = fresh.Hear(5, answer)
	}
	if _, _, ok := fresh.Formed(); ok || err == nil {
		t.Errorf("an empty node believes one that joined: %v", err)
	}
}

// metadata is a metadata group's state machine, and what runs a command through it.
func metadata(t *testing.T) (m *meta.Machine, do func(c meta.Command)) {
	m = meta.New(nil)
	index := id.Index(0)
	return m, func(c meta.Command) {
		t.Helper()
		data, err := meta.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if r, err := m.Apply(statemachine.Entry{Index: index, Term: 1, Data: data}); err != nil || r.(meta.Result).Refused != nil {
			t.Fatal(r, err)
		}
	}
}

func reg(n id.NodeID, inc id.Incarnation) meta.RegisterNode {
	return meta.RegisterNode{Node: meta.Node{ID: n, Incarnation: inc, KafkaAddr: fmt.Sprintf("n%d:1", n), RaftAddr: fmt.Sprintf("n%d:2", n)}}
}

// TestUnregistered: a node is missing from when the cluster is to have it until it has registered.
func TestUnregistered(t *testing.T) {
	m, do := metadata(t)
	first := []id.NodeID{1, 2, 3}
	want := func(when string, want ...id.NodeID) {
		t.Helper()
		if got := Unregistered(m.Catalog(), first); !slices.Equal(got, want) {
			t.Errorf("%s: %d, want %d", when, got, want)
		}
	}
	want("not founded", 1, 2, 3)
	do(meta.Bootstrap{Level: 1, ClusterID: "x", Replicas: []meta.Replica{{Node: 1, ID: 1}, {Node: 2, ID: 2}}})
	want("founded by two", 1, 2)
	do(reg(2, 12))
	want("one is there", 1)
	do(reg(3, 0)) // announced
	do(reg(3, 13))
	want("one that joined is nobody who is waited for", 1)
	do(reg(1, 11))
	want("all are there")
}

func TestAdmit(t *testing.T) {
	m, do := metadata(t)
	roster := datadir.Roster{{Node: 1, Incarnation: 11}, {Node: 2, Incarnation: 12}, {Node: 3, Incarnation: 13}}
	check := func(when string, n id.NodeID, inc id.Incarnation, want string) {
		t.Helper()
		err := Admit(m.Catalog(), true, roster, n, inc)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s, node %d with %d: %s; want %q", when, n, inc, got, want)
		}
	}
	if err := Admit(m.Catalog(), true, nil, 9, 1); err != nil {
		t.Errorf("while gathering: %v", err)
	}
	check("agreed", 2, 12, "")
	check("agreed", 2, 99, "another data directory")
	do(meta.Bootstrap{Level: 1, ClusterID: "x", Replicas: []meta.Replica{{Node: 1, ID: 1}, {Node: 2, ID: 2}}})
	check("not registered yet", 2, 12, "")
	check("not registered yet", 2, 99, "another data directory")
	check("no voter and not registered", 3, 13, "removed")
	check("never added", 7, 1, "never added")
	do(reg(2, 12))
	do(reg(3, 0)) // it was announced again
	do(reg(3, 77))
	check("registered", 2, 12, "")
	check("registered", 2, 99, "another data directory")
	check("registered anew", 3, 77, "")
	check("registered anew", 3, 13, "another data directory")
}

// Run goes on until all have answered, says whom it waits for, and ends with what is final.
func TestRun(t *testing.T) {
	s := newSite(t, 3)
	rounds, lines := 0, []string{}
	var rest []*Founder
	for _, n := range s.nodes[1:] {
		rest = append(rest, s.disks[n].f)
	}
	call := func(_ context.Context, to id.NodeID, b []byte) ([]byte, error) {
		if rounds < 3 && to == 3 {
			return nil, errors.New("no connection")
		}
		return s.disks[to].f.Answer(1, b)
	}
	pause := func(context.Context, int) {
		rounds++
		for _, f := range rest { // they ask too
			if rounds >= 3 {
				for _, to := range f.Waiting() {
					b, _ := s.disks[to].f.Answer(f.cfg.Self, f.Message())
					f.Hear(to, b)
				}
			}
		}
	}
	tell := func(w []id.NodeID, err error) { lines = append(lines, fmt.Sprint(w, err != nil)) }
	if err := s.disks[1].f.Run(context.Background(), call, pause, tell); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines, " "); !strings.HasPrefix(got, "[2 3] true") || len(lines) > 3 {
		t.Errorf("told %s", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := newSite(t, 2).disks[1].f
	nobody := func(context.Context, id.NodeID, []byte) ([]byte, error) { return nil, errors.New("no connection") }
	err := f.Run(ctx, nobody, func(context.Context, int) { cancel() }, tell)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "nodes [2]") {
		t.Errorf("nobody answers: %v", err)
	}
	f.Refused(1, "by this node itself")
	f.Refused(2, "another data directory")
	if err := f.Run(context.Background(), nobody, Pause, tell); !errors.Is(err, ErrEmptied) || !strings.Contains(err.Error(), "node 2 refuses it") {
		t.Errorf("refused: %v", err)
	}
}

// An agreement that does not reach the disk is none.
func TestDiskFails(t *testing.T) {
	s := newSite(t, 2)
	s.disks[1].Agree = func(datadir.Roster) error { return errors.New("no space") }
	s.restart(1)
	if err := s.say(1, 2, false); err == nil || s.disks[1].f.Roster() != nil {
		t.Errorf("%v, [%v]", err, s.disks[1].f.Roster())
	}
	s.say(2, 1, false)
	s.say(2, 1, false)
	if s.formed() != nil {
		t.Error("formed without the agreement of all")
	}
}

func FuzzMessage(f *testing.F) {
	s := newSite(f, 3)
	f.Add(s.disks[1].f.Message())
	s.round()
	s.round()
	f.Add(s.disks[1].f.Message())
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		json.Unmarshal(b, &m)
		s := newSite(t, 3)
		s.round()
		before := s.disks[1].Config.Roster
		s.disks[1].f.Answer(m.Node, b)
		s.disks[1].f.Hear(m.Node, b)
		if after := s.disks[1].Config.Roster; before != nil && !after.Equal(before) {
			t.Errorf("another roster: [%v]", after)
		}
	})
}
