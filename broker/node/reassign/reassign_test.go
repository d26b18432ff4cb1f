package reassign

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/replica/membership"
)

type ids = []id.ReplicaID

func to(r id.ReplicaID, role membership.Role) membership.Change {
	return membership.Change{Replica: r, To: role}
}

func TestNext(t *testing.T) {
	const learner, voter, none = membership.Learner, membership.Voter, membership.None
	for _, c := range []struct {
		what       string
		self       id.ReplicaID
		want, v, l ids
		dead, far  ids // not alive; not caught up
		votes      int
		step       Step
		done       bool
	}{
		{what: "as it should be", self: 1, want: ids{1, 2, 3}, v: ids{1, 2, 3}, done: true},
		{what: "one is missing", self: 1, want: ids{1, 2, 9}, v: ids{1, 2, 3}, step: change(to(9, learner))},
		{what: "it learns", self: 1, want: ids{1, 2, 9}, v: ids{1, 2, 3}, l: ids{9}, far: ids{9}},
		{what: "it has learnt", self: 1, want: ids{1, 2, 9}, v: ids{1, 2, 3}, l: ids{9}, step: change(to(9, voter), to(3, none))},
		{what: "two are replaced, the dead one first", self: 1, want: ids{1, 8, 9}, v: ids{1, 2, 3}, l: ids{8, 9}, far: ids{8}, dead: ids{3},
			step: change(to(9, voter), to(3, none))},
		{what: "the leader is to go", self: 3, want: ids{1, 2, 9}, v: ids{1, 2, 3}, l: ids{9}, step: Step{Transfer: 1}},
		{what: "and the first that could lead is dead", self: 3, want: ids{1, 2, 9}, v: ids{1, 2, 3}, dead: ids{1}, l: ids{9}, step: Step{Transfer: 2}},
		{what: "the only one is to go", self: 1, want: ids{9}, v: ids{1}, l: ids{9}, step: change(to(9, voter))},
		{what: "and lets the other lead", self: 1, want: ids{9}, v: ids{1, 9}, step: Step{Transfer: 9}},
		{what: "which removes it", self: 9, want: ids{9}, v: ids{1, 9}, step: change(to(1, none))},
		{what: "the only one is to go and nobody has learnt", self: 1, want: ids{9}, v: ids{1}, l: ids{9}, far: ids{9}},
		{what: "a learner of an older intent", self: 1, want: ids{1, 2, 9}, v: ids{1, 2, 3}, l: ids{7, 9}, step: change(to(7, none))},
		{what: "a learner that is enough", self: 1, want: ids{1, 2, 3, 4}, votes: 3, v: ids{1, 2, 3}, l: ids{4}, done: true},
		{what: "a learner takes the place of a voter that goes", self: 1, want: ids{1, 2, 4}, votes: 3, v: ids{1, 2, 3}, l: ids{4},
			step: change(to(4, voter), to(3, none))},
		{what: "one too many goes alone", self: 1, want: ids{1, 2}, votes: 1, v: ids{1, 2, 3}, step: change(to(3, none))},
		{what: "but not if the rest could not decide", self: 1, want: ids{1, 2}, votes: 1, v: ids{1, 2, 3}, dead: ids{2}},
		{what: "a dead one goes when the rest can", self: 1, want: ids{1, 2}, votes: 1, v: ids{1, 2, 3}, dead: ids{3}, step: change(to(3, none))},
	} {
		g := Group{Self: c.self, Want: c.want, Voters: c.votes, Members: membership.Members{Voters: c.v, Learners: c.l}, Peers: map[id.ReplicaID]Peer{}}
		if g.Voters == 0 {
			g.Voters = len(c.want)
		}
		for _, r := range slices.Concat(c.want, c.v, c.l) {
			dead := slices.Contains(c.dead, r)
			g.Peers[r] = Peer{Alive: !dead, CaughtUp: !dead && !slices.Contains(c.far, r)}
		}
		if s, done := Next(g); !reflect.DeepEqual(s, c.step) || done != c.done {
			t.Errorf("%s: %+v, done %v; want %+v, %v", c.what, s, done, c.step, c.done)
		}
		g.Members.Outgoing = ids{1, 2}
		if s, done := Next(g); s.Change != nil || s.Transfer != 0 || done {
			t.Errorf("%s, and a change is half done: %+v, done %v", c.what, s, done)
		}
	}
}

// TestAnyIntentIsReached draws groups, intents that change on the way, and deaths: as long as a majority lives, the steps lead to the
// intent; none is ever refused by the rules of membership, takes a vote from a group that could not go on then, or removes the leader.
func TestAnyIntentIsReached(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		n := 1 + r.IntN(5)
		s := site{r: r, next: 1, what: fmt.Sprintf("seed %d", seed)}
		s.g.Voters = n
		for range n {
			s.g.Want = append(s.g.Want, s.fresh())
		}
		s.g.Members.Voters = slices.Clone(s.g.Want)
		s.g.Self = s.g.Want[r.IntN(n)]
		for range 1 + r.IntN(4) {
			for range r.IntN(3) { // and it is not reached before it changes again
				s.step(t)
			}
			s.g.Want = slices.Clone(s.g.Want)
			s.g.Want[r.IntN(n)] = s.fresh()
		}
		steps := 0
		for done := false; !done; steps++ {
			if done = s.step(t); steps > 200 {
				t.Fatalf("%s: %+v is not there after %d steps", s.what, s.g, steps)
			}
		}
		slices.Sort(s.g.Members.Voters)
		want := slices.Sorted(slices.Values(s.g.Want))
		if !slices.Equal(s.g.Members.Voters, want) || len(s.g.Members.Learners) > 0 {
			t.Fatalf("%s: done at %+v", s.what, s.g)
		}
	}
}

// site is a group that does what its leader says.
type site struct {
	r    *rand.Rand
	g    Group
	next id.ReplicaID
	what string
}

func (s *site) fresh() id.ReplicaID {
	s.next++
	return s.next - 1
}

func (s *site) step(t *testing.T) (done bool) {
	t.Helper()
	g := &s.g
	g.Peers = map[id.ReplicaID]Peer{}
	for _, r := range slices.Concat(g.Want, g.Members.Voters, g.Members.Learners) {
		g.Peers[r] = Peer{Alive: true, CaughtUp: s.r.IntN(3) > 0 || r == g.Self}
	}
	if v := g.Members.Voters[s.r.IntN(len(g.Members.Voters))]; v != g.Self && len(g.Members.Voters) > 2 {
		g.Peers[v] = Peer{} // dead, this time
	}
	now, done := Next(*g)
	if now.Transfer != 0 {
		if !slices.Contains(g.Members.Voters, now.Transfer) || !g.Peers[now.Transfer].Alive {
			t.Fatalf("%s: %d is to lead in %+v", s.what, now.Transfer, g)
		}
		g.Self = now.Transfer
	}
	m := &g.Members
	for _, c := range now.Change {
		was := slices.Contains(m.Voters, c.Replica)
		learnt := slices.Contains(m.Learners, c.Replica) && g.Peers[c.Replica].CaughtUp
		if c.Replica == g.Self || c.To == membership.Voter && !learnt || c.To == membership.Learner && was {
			t.Fatalf("%s: %+v in %+v", s.what, c, g)
		}
		gone := func(x id.ReplicaID) bool { return x == c.Replica }
		m.Voters, m.Learners = slices.DeleteFunc(slices.Clone(m.Voters), gone), slices.DeleteFunc(slices.Clone(m.Learners), gone)
		switch c.To {
		case membership.Voter:
			m.Voters = append(m.Voters, c.Replica)
		case membership.Learner:
			m.Learners = append(m.Learners, c.Replica)
		}
	}
	alive := 0
	for _, v := range m.Voters {
		if g.Peers[v].Alive {
			alive++
		}
	}
	if len(now.Change) > 0 && alive <= len(m.Voters)/2 {
		t.Fatalf("%s: after %+v %d of %v live", s.what, now.Change, alive, m.Voters)
	}
	return done
}

func TestMetadataVoters(t *testing.T) {
	for n, want := range []int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 9: 5} {
		if got := MetadataVoters(n); want > 0 && got != want {
			t.Errorf("%d of %d replicas vote, want %d", got, n, want)
		}
	}
}
